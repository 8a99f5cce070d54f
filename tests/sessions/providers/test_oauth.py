"""Tokens of an authorization server: asked for as the RFCs say, for what was approved, dead when the server says so."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessions.providers.contract import CredentialError, Held, Intent
from sessions.providers.oauth import EXCHANGE, OAuth, OAuthApi, Server
from tests.sessions.providers.oauth_far_end import AuthorizationServer, authorization_server

READ = {"type": "oauth2", "locations": ["oauth:crm"], "actions": ["contacts.read"]}
SCOPES = {"contacts.read": "Read all contacts of the CRM", "contacts.write": "Change contacts of the CRM"}


@pytest.fixture
def far() -> Iterator[AuthorizationServer]:
    with authorization_server() as running:
        yield running


@pytest.fixture
def made(far: AuthorizationServer, tmp_path: Path) -> Iterator[Any]:
    """Makes a provider with one server, changed as a test wants it."""
    (tmp_path / "secret").write_text("client-secret\n")
    with ExitStack() as open_:

        def make(**changed: str) -> OAuth:
            entry = {
                "token_url": f"{far.url}/token",
                "revocation_url": f"{far.url}/revoke",
                "introspection_url": f"{far.url}/introspect",
                "client_id": "drawbridge",
                "client_secret_file": str(tmp_path / "secret"),
                "scopes": SCOPES,
                **changed,
            }
            return OAuth({"crm": open_.enter_context(closing(OAuthApi(Server.of(entry), 2)))})

        yield make


def minted(provider: OAuth, details: Mapping[str, Any] = READ) -> Held:
    intent = Intent("dbr_x", [details], 900)
    got = provider.mint(intent, lambda handle: None)
    return Held(intent.name, intent.details, {**got.handle, "expires_at": got.expires_at}, got.secret)


def outcomes(provider: OAuth, held: Held) -> dict[str, Any]:
    return {step.name: step.run() for step in provider.steps(held)}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "An oauth2 object has no field 'limits'."),
        ({"locations": ["oauth:crm", "oauth:x"]}, "locations must be a list of one server: scopes belong to it."),
        ({"locations": ["oauth:x"]}, "'oauth:x' is not a server; there is oauth:crm."),
        ({"locations": [5]}, "5 is not a server; there is oauth:crm."),
        ({"actions": []}, "actions must be a list of 1 to 30 scopes."),
        ({"actions": ["admin"]}, "'admin' is no scope that is offered; there is contacts.read and contacts.write."),
        ({"actions": ["contacts.read"] * 2}, "actions names a scope twice."),
    ],
)
def test_problem_is_said_in_a_sentence(made: Any, changed: dict[str, object], problem: str) -> None:
    assert list(made().problems({**READ, **changed})) == [problem]


def test_the_lead_reads_the_scopes_in_plain_words_and_how_it_dies(made: Any) -> None:
    provider = made()
    assert list(provider.sentences(READ)) == [
        "Read all contacts of the CRM (crm: contacts.read).",
        "The gateway adds the token; the agent never has it.",
    ]
    assert provider.life([READ]).dies == "at once"
    assert made(revocation_url="").life([READ]).dies == "not: the server takes no token back"


def test_client_credentials_are_asked_as_rfc_6749_says(made: Any, far: AuthorizationServer) -> None:
    held = minted(made(audience="https://crm.example"))
    form = {"grant_type": "client_credentials", "scope": "contacts.read", "audience": "https://crm.example"}
    assert far.forms == [form]
    left = held.handle["expires_at"] - datetime.now(UTC)
    assert timedelta(seconds=590) < left <= timedelta(seconds=600)


def test_a_token_is_exchanged_as_rfc_8693_says(made: Any, far: AuthorizationServer, tmp_path: Path) -> None:
    (tmp_path / "subject").write_text("eyJ.subject\n")
    minted(made(subject_token_file=str(tmp_path / "subject")))
    [form] = far.forms
    assert (form["grant_type"], form["subject_token"]) == (EXCHANGE, "eyJ.subject")
    assert form["subject_token_type"] == "urn:ietf:params:oauth:token-type:access_token"


def test_a_kill_revokes_it_and_the_server_says_so(made: Any, far: AuthorizationServer) -> None:
    provider = made()
    held, other = minted(provider), minted(provider)
    assert [one.done for one in outcomes(provider, held).values()] == [True, True]
    assert far.alive == {str((other.secret or {})["token"])}
    assert [one.done for one in outcomes(provider, held).values()] == [True, True]


def test_a_token_that_lives_on_is_not_called_dead(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = made()
    held = minted(provider)
    monkeypatch.setattr(OAuthApi, "revoke", lambda self, token: None)
    assert outcomes(provider, held)["inactive"].done is False


def test_what_cannot_be_taken_back_is_left_to_die(made: Any) -> None:
    provider = made(revocation_url="")
    held = minted(provider)
    assert outcomes(provider, held)["revoke"].done is False
    lost = Held(held.name, held.details, held.handle, None)
    assert [one.done for one in outcomes(made(), lost).values()] == [False, False]


def test_without_introspection_nothing_is_proven(made: Any) -> None:
    provider = made(introspection_url="")
    assert list(outcomes(provider, minted(provider))) == ["revoke"]


@pytest.mark.parametrize("scope", ["contacts.read contacts.write", "contacts.write", ""])
def test_other_scopes_than_were_approved_are_revoked_at_once(made: Any, far: AuthorizationServer, scope: str) -> None:
    far.lies = {"scope": scope}
    with pytest.raises(CredentialError, match="other scopes"):
        minted(made())
    assert far.alive == set()


def test_a_server_that_does_not_repeat_the_scopes_gave_them(made: Any, far: AuthorizationServer) -> None:
    far.lies = {"scope": None, "expires_in": None}
    held = minted(made())
    assert held.handle["scopes"] == ["contacts.read"]
    assert held.handle["expires_at"] - datetime.now(UTC) > timedelta(minutes=59)


@pytest.mark.parametrize(
    ("fault", "permanent"),
    [
        ((503, b"busy"), False),
        ((429, b""), False),
        ((400, b'{"error": "temporarily_unavailable"}'), False),
        ((400, b'{"error": "invalid_scope"}'), True),
        ((400, b'{"error": "<script>"}'), True),
        ((200, b"<html>"), False),
        ((200, b"[]"), False),
        ((200, b'{"access_token": 5, "token_type": "bearer"}'), True),
        ((200, b'{"access_token": "x", "token_type": "mac"}'), True),
    ],
)
def test_faults_are_told_apart_and_nothing_is_repeated(
    made: Any, far: AuthorizationServer, fault: tuple[int, bytes], permanent: bool
) -> None:
    far.faults = [fault]
    with pytest.raises(CredentialError) as refused:
        minted(made())
    assert refused.value.permanent == permanent
    assert "script" not in str(refused.value)


def test_a_wrong_client_and_a_missing_file_are_said(made: Any, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong")
    with pytest.raises(CredentialError, match="refused .invalid_client."):
        minted(made(client_secret_file=str(tmp_path / "wrong")))
    with pytest.raises(CredentialError, match="OAUTH_SERVERS cannot be read: No such file"):
        minted(made(client_secret_file=str(tmp_path / "nothing")))
    with pytest.raises(CredentialError, match="does not answer") as silent:
        minted(made(token_url="http://127.0.0.1:9/token"))
    assert silent.value.silent
