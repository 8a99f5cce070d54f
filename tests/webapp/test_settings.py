"""A setting that makes no sense stops the start, with a sentence that says which."""

import subprocess
import sys

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from webapp import checks, environment


def test_flag_that_is_neither_true_nor_false_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUG", "maybe")
    with pytest.raises(ImproperlyConfigured, match="DEBUG='maybe' is neither true nor false"):
        environment.flag("DEBUG")


def test_number_below_its_least_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBAO_TIMEOUT_S", "0")
    with pytest.raises(ImproperlyConfigured, match="at least 1"):
        environment.number("OPENBAO_TIMEOUT_S", 5, least=1)


def test_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.delenv("SECRET_KEY_FILE", raising=False)
    with pytest.raises(ImproperlyConfigured, match="Set SECRET_KEY, or SECRET_KEY_FILE"):
        environment.text("SECRET_KEY")


def test_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "key").write_text("from the file\n")
    monkeypatch.delenv("SOME_KEY", raising=False)
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "key"))
    assert environment.text("SOME_KEY") == "from the file"


def test_unreadable_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY_FILE", "/nowhere/key")
    with pytest.raises(ImproperlyConfigured, match="SOME_KEY_FILE cannot be read"):
        environment.text("SOME_KEY")


def test_document_that_is_not_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGETS", "{")
    with pytest.raises(ImproperlyConfigured, match="TARGETS is not JSON"):
        environment.mapping("TARGETS")


def test_our_own_settings_pass_every_check() -> None:
    assert [message.id for message in run_checks() if message.is_serious()] == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "no envelope key"),
        ([{"id": "k1", "key": "AAAA"}], "has 3 bytes instead of 32"),
        ([{"id": "k1", "key": "not base64!"}], "is not base64"),
        ([{"id": "k1", "key": "A" * 43 + "="}] * 2, "the same id"),
    ],
)
def test_bad_envelope_keys_are_named(settings, keys, said) -> None:  # type: ignore[no-untyped-def]
    settings.ENVELOPE_KEYS = keys
    assert any(said in message.msg for message in checks.envelope_keys(None))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "no key to sign policies with"),
        ({}, "no key to sign policies with"),
        ([{"key": "AAAA"}], "Policy key 1 is not the base64 of 32 bytes."),
        ([{"key": "A" * 43 + "="}, {"id": "k"}], "Policy key 2 is not the base64 of 32 bytes."),
    ],
)
def test_bad_policy_keys_are_named(settings, keys, said) -> None:  # type: ignore[no-untyped-def]
    settings.POLICY_KEYS = keys
    assert any(said in message.msg for message in checks.policy_keys(None))


def test_plain_http_outside_local_mode_is_refused(settings) -> None:  # type: ignore[no-untyped-def]
    settings.LOCAL_MODE = False
    assert {message.id for message in checks.transport(None)} == {"drawbridge.E003"}


def test_debug_outside_local_mode_is_refused(settings) -> None:  # type: ignore[no-untyped-def]
    settings.LOCAL_MODE, settings.DEBUG = False, True
    assert [message.id for message in checks.debug(None)] == ["drawbridge.E004"]


def test_the_start_fails_with_the_sentence() -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env={"PATH": "/usr/bin", "DJANGO_SETTINGS_MODULE": "webapp.settings"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    assert "SECRET_KEY is not set" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "entry", "said"),
    [
        ("AWS_ROLES", "arn:aws:iam::1:role/x", "AWS_ROLES: 'x' is no JSON object."),
        ("AWS_ROLES", {"arn": "a"}, "AWS_ROLES: 'x' lacks the field 'region'."),
        ("AWS_ROLES", {"arn": "a", "region": "r", "role": "x"}, "AWS_ROLES: 'x' has no field 'role'."),
        ("GITHUB_APPS", {"app_id": "1", "installation_id": 2}, "GITHUB_APPS: 'x' lacks the field 'private_key_file'."),
        ("GITLAB_SERVERS", {"api": "https://x/api/v4"}, "GITLAB_SERVERS: 'x' lacks the field 'token_file'."),
        ("OAUTH_SERVERS", {}, "OAUTH_SERVERS: 'x' lacks the field 'token_url'."),
    ],
)
def test_what_is_wrong_with_a_provider_is_said_at_the_start(settings, setting, entry, said) -> None:  # type: ignore[no-untyped-def]
    setattr(settings, setting, {"x": entry})
    assert said in [message.msg for message in checks.providers(None)]


def test_providers_that_are_not_there_are_no_problem(settings) -> None:  # type: ignore[no-untyped-def]
    settings.AWS_ROLES = {"x": {"arn": "a", "region": "r"}}
    assert checks.providers(None) == []
