"""Tokens of a GitHub App: exactly what was approved, dead when they were revoked, and honest where that cannot be."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from githubkit_schemas.v2026_03_10 import models

from sessions.providers import github_words
from sessions.providers.contract import CredentialError, Held, Intent
from sessions.providers.github import App, GitHub, GitHubApi
from tests.sessions.providers.github_far_end import INSTALLATION, GitHubFarEnd, github

SHOP = {"type": "github", "locations": ["github:acme/shop"], "actions": ["contents:read", "pull_requests:write"]}


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@pytest.fixture
def key_file(key: rsa.RSAPrivateKey, tmp_path: Path) -> Path:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "app.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return tmp_path / "app.pem"


@pytest.fixture
def far(key: rsa.RSAPrivateKey) -> Iterator[GitHubFarEnd]:
    with github(GitHubFarEnd(key.public_key())) as running:
        yield running


@pytest.fixture
def provider(far: GitHubFarEnd, key_file: Path) -> Iterator[GitHub]:
    with closing(GitHubApi(App("123", INSTALLATION, str(key_file), far.url), 5)) as api:
        yield GitHub("github", {"acme": api})


def minted(provider: GitHub, *details: Mapping[str, Any]) -> Held:
    intent = Intent("dbr_x", list(details or [SHOP]), 900)
    recorded: list[Mapping[str, Any]] = []
    made = provider.mint(intent, recorded.append)
    assert recorded == [{"installation": INSTALLATION}]
    assert timedelta(minutes=59) < made.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    return Held(intent.name, intent.details, made.handle, made.secret)


def outcomes(provider: GitHub, held: Held) -> dict[str, Any]:
    return {step.name: step.run() for step in provider.steps(held)}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "A github object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of 1 to 50 repositories."),
        ({"locations": ["acme/shop"]}, "'acme/shop' is not a repository: write github:owner/name."),
        ({"locations": ["github:acme/.."]}, "'github:acme/..' is not a repository: write github:owner/name."),
        ({"locations": ["github:acme/a/b"]}, "'github:acme/a/b' is not a repository: write github:owner/name."),
        ({"locations": ["github:other/x"]}, "There is no GitHub App for 'other' here; there is acme."),
        ({"locations": ["github:acme/a", "github:acme/a"]}, "locations names a repository twice."),
        ({"actions": []}, "actions must be a list of permissions, such as contents:read."),
        ({"actions": ["metadata:write"]}, "metadata can only be read."),
        ({"actions": ["contents:read", "contents:write"]}, "actions names contents twice: write includes read."),
    ],
)
def test_problem_is_said_in_a_sentence(provider: GitHub, changed: dict[str, object], problem: str) -> None:
    assert list(provider.problems({**SHOP, **changed})) == [problem]


@pytest.mark.parametrize(
    "action", ["contents", "contents:admin", "administration:read", "secrets:read", "members:read", 5]
)
def test_what_reaches_beyond_the_code_cannot_be_asked_for(provider: GitHub, action: object) -> None:
    [problem] = provider.problems({**SHOP, "actions": [action]})
    assert "is not a permission" in problem


def test_each_permission_is_one_that_github_knows() -> None:
    known = set(models.AppPermissions.model_fields)
    assert set(github_words.PERMISSIONS) - known <= {"code_quality", "dependabot_alerts"} - known
    for name in set(github_words.PERMISSIONS) & known:
        level = "read" if name in github_words.READ_ONLY else "write"
        models.AppPermissions.model_validate({name: level})


def test_the_lead_reads_what_can_be_read_and_what_changed(provider: GitHub) -> None:
    two = {**SHOP, "locations": ["github:acme/shop", "github:acme/site"], "type": "github-injected"}
    assert list(provider.sentences(two)) == [
        "Read code, commits, branches and releases of acme/shop and acme/site on GitHub.",
        "Read and change pull requests of acme/shop and acme/site on GitHub.",
        "The gateway adds the token; the agent never has it.",
    ]


def test_github_is_asked_for_exactly_that(provider: GitHub, far: GitHubFarEnd) -> None:
    held = minted(provider)
    assert far.asked == [{"repositories": ["shop"], "permissions": {"contents": "read", "pull_requests": "write"}}]
    assert held.secret is not None
    assert len(held.secret["token"]) > 500
    assert held.secret["token"] not in str(held.handle)


def test_a_kill_revokes_the_token_and_tries_it(provider: GitHub, far: GitHubFarEnd) -> None:
    held, other = minted(provider), minted(provider)
    found = outcomes(provider, held)
    assert [one.done for one in found.values()] == [True, True]
    assert found["tried"].evidence == {"answer": "401: bad credentials"}
    assert list(far.alive) == [str((other.secret or {})["token"])]
    assert outcomes(provider, held)["revoke"].evidence == {"answer": "it was dead already"}


def test_a_token_that_still_works_is_not_called_dead(
    provider: GitHub, far: GitHubFarEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = minted(provider)
    monkeypatch.setattr(GitHubApi, "revoke", lambda self, token: True)
    assert outcomes(provider, held)["tried"].done is False


def test_a_token_that_was_lost_is_never_called_revoked(provider: GitHub) -> None:
    held = minted(provider)
    lost = Held(held.name, held.details, held.handle, None)
    assert [one.done for one in outcomes(provider, lost).values()] == [False, False]


@pytest.mark.parametrize(
    "lies",
    [
        {"repository_selection": "all"},
        {"repositories": [{"name": "shop"}, {"name": "site"}]},
        {"permissions": {"contents": "write", "pull_requests": "write"}},
        {"permissions": {"contents": "read", "pull_requests": "write", "issues": "read"}},
    ],
)
def test_a_token_that_can_do_more_is_revoked_at_once(provider: GitHub, far: GitHubFarEnd, lies: dict[str, Any]) -> None:
    far.lies = lies
    with pytest.raises(CredentialError, match="another token than was asked for"):
        minted(provider)
    assert far.alive == {}


def test_what_the_app_does_not_have_is_said(provider: GitHub) -> None:
    with pytest.raises(CredentialError, match="not installed for these repositories") as refused:
        minted(provider, {**SHOP, "locations": ["github:acme/elsewhere"]})
    assert (refused.value.permanent, refused.value.untouched) == (True, True)


def test_different_permissions_of_two_repositories_are_not_mixed(provider: GitHub, far: GitHubFarEnd) -> None:
    with pytest.raises(CredentialError, match="the same permissions"):
        minted(provider, SHOP, {**SHOP, "locations": ["github:acme/site"], "actions": ["issues:read"]})
    assert far.asked == []


@pytest.mark.parametrize(
    ("fault", "permanent"),
    [
        ((503, {}, b"busy"), False),
        ((429, {}, b""), False),
        ((403, {"x-ratelimit-remaining": "0"}, b"{}"), False),
        ((403, {"Retry-After": "60"}, b"{}"), False),
        ((403, {}, b"{}"), True),
        ((404, {}, b"<html>"), True),
        ((201, {}, b"<html>"), False),
        ((201, {}, b"[]"), False),
    ],
)
def test_faults_are_told_apart(provider: GitHub, far: GitHubFarEnd, fault: Any, permanent: bool) -> None:
    far.faults = [fault]
    with pytest.raises(CredentialError) as refused:
        minted(provider)
    assert refused.value.permanent == permanent


def test_who_is_away_is_silent_and_a_bad_key_is_said(key_file: Path) -> None:
    with closing(GitHubApi(App("123", INSTALLATION, str(key_file), "http://127.0.0.1:9"), 1)) as api:
        away = GitHub("github", {"acme": api})
        with pytest.raises(CredentialError, match="does not answer") as silent:
            minted(away)
        assert silent.value.silent
        key_file.write_text("no key")
        with pytest.raises(CredentialError, match="cannot be used"):
            minted(away)
