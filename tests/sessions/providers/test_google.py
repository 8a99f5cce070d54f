"""Tokens of Google Cloud: asked for by Google's own library for what was approved, never called taken back."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sessions.models import Credential
from sessions.providers.contract import CredentialError, Held, Intent
from sessions.providers.google import DELIVERED, INJECTED, Account, Google, GoogleApi
from tests.sessions.providers.google_far_end import EMAIL, PATH, SUBJECT, WORKER, GoogleFarEnd, google

STORAGE = "https://www.googleapis.com/auth/devstorage.read_only"
BIGQUERY = "https://www.googleapis.com/auth/bigquery.readonly"
READ = {"type": "google", "locations": ["google:reports"], "actions": [STORAGE]}
SCOPES = {STORAGE: "Read objects of Cloud Storage", BIGQUERY: "Read tables of BigQuery"}
EXTERNAL_ACCOUNT = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k8s",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
}


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@pytest.fixture
def far(key: rsa.RSAPrivateKey) -> Iterator[GoogleFarEnd]:
    with google(GoogleFarEnd(key.public_key())) as running:
        yield running


@pytest.fixture
def key_file(far: GoogleFarEnd, key: rsa.RSAPrivateKey, tmp_path: Path) -> Path:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
    info = {"type": "service_account", "client_email": WORKER, "private_key": pem, "token_uri": f"{far.url}/token"}
    (tmp_path / "worker.json").write_text(json.dumps(info))
    return tmp_path / "worker.json"


@pytest.fixture
def federated_file(far: GoogleFarEnd, tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(SUBJECT)
    source = {"token_url": f"{far.url}/sts", "credential_source": {"file": str(tmp_path / "token")}}
    (tmp_path / "federated.json").write_text(json.dumps({**EXTERNAL_ACCOUNT, **source}))
    return tmp_path / "federated.json"


@pytest.fixture
def made(far: GoogleFarEnd, key_file: Path) -> Iterator[Any]:
    """Makes a provider with one service account, changed as a test wants it."""
    with ExitStack() as open_:

        def make(type_: str = DELIVERED, left: tuple[str, ...] = (), **changed: str) -> Google:
            entry = {"service_account": EMAIL, "credentials_file": str(key_file), "scopes": SCOPES, "api": far.url}
            api = open_.enter_context(closing(GoogleApi(Account.of({**entry, **changed}), 2)))
            return Google(type_, {"reports": api}, lambda session: left)

        yield make


Make = Callable[..., Google]


def minted(provider: Google, *details: Mapping[str, Any], ttl_s: int = 900) -> Held:
    intent = Intent("dbr_x", list(details or [READ]), ttl_s, {"agent_session": str(uuid.uuid4())})
    recorded: list[Mapping[str, Any]] = []
    got = provider.mint(intent, recorded.append)
    assert recorded[0]["service_account"] == EMAIL
    assert datetime.fromisoformat(recorded[0]["ends_by"]) >= got.expires_at
    return Held(intent.name, intent.details, {**got.handle, "expires_at": got.expires_at}, got.secret)


def outcomes(provider: Google, held: Held) -> dict[str, Any]:
    return {step.name: step.run() for step in provider.steps(held)}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "A google object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of one service account: scopes belong to it."),
        ({"locations": ["google:x"]}, "'google:x' is not a service account; there is google:reports."),
        ({"locations": ["google:reports\n"]}, "'google:reports\\n' is not a service account; there is google:reports."),
        ({"locations": [5]}, "5 is not a service account; there is google:reports."),
        ({"actions": []}, "actions must be a list of 1 to 30 scopes."),
        ({"actions": ["admin"]}, f"'admin' is no scope that is offered; there is {BIGQUERY} and {STORAGE}."),
        ({"actions": [STORAGE] * 2}, "actions names a scope twice."),
    ],
)
def test_problem_is_said_in_a_sentence(made: Make, changed: dict[str, object], problem: str) -> None:
    assert list(made().problems({**READ, **changed})) == [problem]


def test_without_settings_there_is_none() -> None:
    [problem] = Google(DELIVERED, {}, lambda session: ()).problems(READ)
    assert problem == "'google:reports' is not a service account; there is none."


def test_the_lead_reads_the_scopes_in_plain_words_and_how_it_dies(made: Make) -> None:
    delivered, injected = made(), made(INJECTED)
    [sentence] = delivered.sentences(READ)
    assert sentence == f"Read objects of Cloud Storage, as {EMAIL} of Google Cloud ({STORAGE})."
    assert list(injected.sentences(READ)) == [sentence, "The gateway adds the token; the agent never has it."]
    assert delivered.life([READ]).dies == "not: Google takes no such token back, it dies by itself"
    assert injected.life([READ]).dies == "at once, by the gateways' cut"
    assert delivered.life([READ]).longest_s == 3_600


def test_each_service_account_is_a_credential_of_its_own_whose_name_fits(made: Make) -> None:
    longest = {**READ, "locations": [f"google:{'a' * 51}"]}
    slots = made().slots([READ, {**READ, "actions": [BIGQUERY]}, longest])
    assert slots["google:reports"] == [READ, {**READ, "actions": [BIGQUERY]}]
    assert max(map(len, slots)) <= (Credential._meta.get_field("slot").max_length or 0)


def test_what_is_asked_is_what_was_approved(made: Make, far: GoogleFarEnd) -> None:
    held = minted(made(), READ, {**READ, "actions": [BIGQUERY]})
    assert far.asked == [{"delegates": None, "scope": [BIGQUERY, STORAGE], "lifetime": "900s"}]
    assert held.handle["scopes"] == [BIGQUERY, STORAGE]
    assert (held.secret or {})["type"] == "google"


@pytest.mark.parametrize(("ttl_s", "lifetime_s"), [(300, 300), (900, 900), (3_600, 3_600), (7_200, 3_600)])
def test_it_lives_as_long_as_was_approved_and_an_hour_at_most(
    made: Make, far: GoogleFarEnd, ttl_s: int, lifetime_s: int
) -> None:
    held = minted(made(), ttl_s=ttl_s)
    assert far.asked[0]["lifetime"] == f"{lifetime_s}s"
    left = held.handle["expires_at"] - datetime.now(UTC)
    assert timedelta(seconds=lifetime_s - 5) < left <= timedelta(seconds=lifetime_s + 1)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_its_life_is_counted_by_our_clock_whatever_google_s_says(made: Make, far: GoogleFarEnd, minutes: int) -> None:
    far.ahead = timedelta(minutes=minutes)
    left = minted(made()).handle["expires_at"] - datetime.now(UTC)
    assert timedelta(seconds=895) < left <= timedelta(seconds=901)


def test_the_worker_signs_in_with_a_token_of_its_platform(made: Make, far: GoogleFarEnd, federated_file: Path) -> None:
    minted(made(credentials_file=str(federated_file)))
    assert len(far.asked) == 1


def test_a_token_of_the_platform_that_is_not_known_or_missing_is_said(
    made: Make, federated_file: Path, tmp_path: Path
) -> None:
    provider = made(credentials_file=str(federated_file))
    (tmp_path / "token").write_text("eyJ.canary.other")
    with pytest.raises(CredentialError) as refused:
        minted(provider)
    assert str(refused.value) == "Google refused (invalid_grant): we could not sign in."
    (tmp_path / "token").unlink()
    with pytest.raises(CredentialError, match="RefreshError.: we could not sign in") as missing:
        minted(provider)
    assert (refused.value.permanent, missing.value.permanent, missing.value.untouched) == (True, False, True)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "canary",
        "[]",
        "{}",
        '{"type": "authorized_user"}',
        '{"type": "service_account", "private_key": "canary"}',
        '{"type": "external_account", "credential_source": {"executable": {"command": "canary"}}}',
        json.dumps({**EXTERNAL_ACCOUNT, "credential_source": {"executable": {"command": "canary"}}}),
    ],
)
def test_a_file_that_cannot_be_used_is_said_and_runs_nothing(made: Make, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bad.json").write_text(text)
    with pytest.raises(CredentialError, match="A credentials file of GOOGLE_ACCOUNTS cannot be used") as refused:
        minted(made(credentials_file=str(tmp_path / "bad.json")))
    assert (refused.value.permanent, refused.value.untouched) == (True, True)
    assert "canary" not in str(refused.value)


def test_one_that_was_handed_over_is_never_called_revoked(made: Make) -> None:
    provider = made()
    held = minted(provider)
    for known in (held, Held(held.name, held.details, {}, None)):
        found = outcomes(provider, known)
        assert list(found) == ["revoke"]
        assert found["revoke"].done is False
        assert found["revoke"].evidence == {"problem": "It dies by itself: Google takes no such token back."}
    assert datetime.fromisoformat(held.handle["ends_by"]) == held.handle["expires_at"]


@pytest.mark.parametrize(("left", "done"), [((), True), (("gw-1", "gw-2"), False)])
def test_one_that_only_gateways_have_ends_with_their_cut(made: Make, left: tuple[str, ...], done: bool) -> None:
    provider = made(INJECTED, left)
    found = outcomes(provider, minted(provider))
    assert {name: one.done for name, one in found.items()} == {"gateways": done}
    assert found["gateways"].evidence == {"still_passing": ", ".join(left) or "no gateway"}


@pytest.mark.parametrize(
    ("lies", "said"),
    [
        ({"expireTime": "2999-01-01T00:00:00Z"}, "lives longer than was asked for"),
        ({"expireTime": "2020-01-01T00:00:00Z"}, "no token that lives"),
        ({"accessToken": ""}, "no token that lives"),
        ({"accessToken": 5}, "no token that lives"),
    ],
)
def test_a_lie_is_not_handed_over(made: Make, far: GoogleFarEnd, lies: dict[str, Any], said: str) -> None:
    far.lies = lies
    with pytest.raises(CredentialError, match=said) as refused:
        minted(made())
    assert refused.value.permanent


@pytest.mark.parametrize("lies", [{"expireTime": None}, {"accessToken": None}, {"expireTime": "canary"}])
def test_an_answer_without_a_life_or_a_token_is_not_understood(
    made: Make, far: GoogleFarEnd, lies: dict[str, Any]
) -> None:
    far.lies = lies
    with pytest.raises(CredentialError, match="cannot be understood .RefreshError.: we could not make") as refused:
        minted(made())
    assert (refused.value.permanent, refused.value.untouched) == (False, False)
    assert "canary" not in str(refused.value)


DENIED = b'{"error": {"code": 403, "message": "canary", "status": "PERMISSION_DENIED"}}'
BUSY = b'{"error": {"code": 403, "message": "canary", "status": "RESOURCE_EXHAUSTED"}}'


@pytest.mark.parametrize(
    ("fault", "permanent", "said"),
    [
        ((503, b"canary"), False, "busy or failing (503)"),
        ((500, b"{}"), False, "busy or failing (500)"),
        ((429, b""), False, "busy or failing (429)"),
        ((403, BUSY), False, "busy or failing (403)"),
        ((403, DENIED), True, "refused (PERMISSION_DENIED)"),
        ((400, b'{"error": {"status": "<script>canary"}}'), True, "refused (400)"),
        ((404, b"[]"), True, "refused (404)"),
        ((302, b""), True, "refused (302)"),
        ((200, b"<html>canary"), False, "cannot be understood"),
        ((200, b"[]"), False, "cannot be understood"),
        ((200, b"\xff\xfe"), False, "cannot be understood"),
    ],
)
@pytest.mark.parametrize("path", [PATH, "/token"])
def test_faults_are_told_apart_and_nothing_is_repeated(
    made: Make, far: GoogleFarEnd, path: str, fault: tuple[int, bytes], permanent: bool, said: str
) -> None:
    far.faults = {path: fault}
    with pytest.raises(CredentialError) as refused:
        minted(made())
    assert said in str(refused.value)
    assert refused.value.permanent == permanent
    assert refused.value.untouched == (permanent or path == "/token")
    assert str(refused.value).endswith("make the token." if path == PATH else "sign in.")
    assert "canary" not in str(refused.value)
    assert refused.value.retry_after_s == (7 if fault[0] == 429 else 0)


def test_silence_is_said(made: Make) -> None:
    with pytest.raises(CredentialError, match="Google does not answer: we could not make the token") as away:
        minted(made(api="http://127.0.0.1:9"))
    assert (away.value.silent, away.value.untouched) == (True, False)


def test_an_account_that_was_taken_out_is_said_and_its_tokens_still_end(made: Make) -> None:
    held = minted(made(INJECTED))
    empty = Google(INJECTED, {}, lambda session: ())
    assert outcomes(empty, held)["gateways"].done
    with pytest.raises(CredentialError, match="reports is not in GOOGLE_ACCOUNTS any more"):
        empty.mint(Intent("dbr_x", [READ], 900), lambda handle: None)
