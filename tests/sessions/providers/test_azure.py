"""Tokens of Azure: asked for as Entra documents it, one for each approved resource, never called taken back."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessions.models import Credential
from sessions.providers.azure import DELIVERED, INJECTED, App, Azure, AzureApi
from sessions.providers.contract import CredentialError, Held, Intent
from sessions.providers.egress import SLOT
from tests.sessions.providers.entra_far_end import ASSERTION, CLIENT, TENANT, Entra, entra

STORAGE, VAULT = "https://storage.azure.com/.default", "https://vault.azure.net/.default"
READ = {"type": "azure", "locations": ["azure:reports"], "actions": [STORAGE]}
RESOURCES = {STORAGE: "Use Azure Storage", VAULT: "Use Key Vault"}


@pytest.fixture
def far() -> Iterator[Entra]:
    with entra() as running:
        yield running


@pytest.fixture
def assertion_file(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{ASSERTION}\n")
    return tmp_path / "token"


@pytest.fixture
def made(far: Entra, assertion_file: Path) -> Iterator[Any]:
    """Makes a provider with one app, changed as a test wants it."""
    with ExitStack() as open_:

        def make(type_: str = DELIVERED, left: tuple[str, ...] = (), **changed: Any) -> Azure:
            entry = {"tenant": TENANT, "client_id": CLIENT, "assertion_file": str(assertion_file)}
            app = App.of({**entry, "authority": far.url, "resources": RESOURCES, **changed})
            return Azure(type_, {"reports": open_.enter_context(closing(AzureApi(app, 2)))}, lambda session: left)

        yield make


Make = Callable[..., Azure]


def minted(provider: Azure, details: Mapping[str, Any] = READ) -> Held:
    intent = Intent("dbr_x", [details], 900, {"agent_session": str(uuid.uuid4())})
    recorded: list[Mapping[str, Any]] = []
    got = provider.mint(intent, recorded.append)
    assert datetime.fromisoformat(recorded[0]["ends_by"]) >= got.expires_at
    return Held(intent.name, intent.details, {**got.handle, "expires_at": got.expires_at}, got.secret)


def outcomes(provider: Azure, held: Held) -> dict[str, Any]:
    return {step.name: step.run() for step in provider.steps(held)}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "An azure object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of one app: resources belong to it."),
        ({"locations": ["azure:x"]}, "'azure:x' is not an app; there is azure:reports."),
        ({"locations": ["azure:reports\n"]}, "'azure:reports\\n' is not an app; there is azure:reports."),
        ({"locations": [5]}, "5 is not an app; there is azure:reports."),
        (
            {"actions": [STORAGE, VAULT]},
            "actions must be a list of one resource: each has a token of its own, so write an object for each.",
        ),
        ({"actions": ["admin"]}, f"'admin' is no resource that is offered; there is {STORAGE} and {VAULT}."),
        ({"actions": [5]}, f"5 is no resource that is offered; there is {STORAGE} and {VAULT}."),
    ],
)
def test_problem_is_said_in_a_sentence(made: Make, changed: dict[str, object], problem: str) -> None:
    assert list(made().problems({**READ, **changed})) == [problem]


def test_without_settings_there_is_none(made: Make) -> None:
    [problem] = Azure(DELIVERED, {}, lambda session: ()).problems(READ)
    assert problem == "'azure:reports' is not an app; there is none."
    [problem] = made(resources={}).problems(READ)
    assert problem == f"'{STORAGE}' is no resource that is offered; there is none."


def test_the_lead_reads_the_resource_in_plain_words_and_how_it_dies(made: Make) -> None:
    delivered, injected = made(), made(INJECTED)
    [sentence] = delivered.sentences(READ)
    assert sentence == f"Use Azure Storage, with all that the app reports of Azure may do there ({STORAGE})."
    assert list(injected.sentences(READ)) == [sentence, "The gateway adds the token; the agent never has it."]
    assert delivered.life([READ]).dies == "not: Entra takes no such token back, it dies by itself"
    assert injected.life([READ]).dies == "at once, by the gateways' cut"
    assert delivered.life([READ]).longest_s == 86_400


def test_each_resource_of_an_app_is_a_credential_of_its_own(made: Make) -> None:
    vault = {**READ, "actions": [VAULT]}
    assert made().slots([READ, vault, READ]) == {
        "azure:reports/storage.azure.com": [READ, READ],
        "azure:reports/vault.azure.net": [vault],
    }


@pytest.mark.parametrize(
    "resource",
    [
        "storage.azure.com",
        "https://storage.azure.com",
        "storage.azure.com/.default",
        "https://storage.azure.com/.default/.default",
        "https://storage.azure.com//.default",
        "api://5d2b9f70-3a51-4a0e-9f55-1f2b6f2b6f2b/.default",
        f"https://{'a' * 80}.example/.default",
        "https://storage.azure.com/ä/.default",
    ],
)
def test_no_other_resource_has_the_same_slot_and_each_slot_can_be_named(made: Make, resource: str) -> None:
    longest = f"azure:{'a' * 31}"
    slots = made().slots(
        [READ, {**READ, "actions": [resource]}, {**READ, "locations": [longest], "actions": [resource]}]
    )
    assert len(slots) == 3
    assert all(SLOT.fullmatch(slot) for slot in slots)
    assert max(map(len, slots)) <= (Credential._meta.get_field("slot").max_length or 0)


def test_entra_is_asked_as_it_documents(made: Make, far: Entra) -> None:
    held = minted(made())
    assert far.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "scope": STORAGE,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": ASSERTION,
        }
    ]
    left = held.handle["expires_at"] - datetime.now(UTC)
    assert timedelta(seconds=3_590) < left <= timedelta(seconds=3_599)
    assert (held.handle["client_id"], held.handle["resource"]) == (CLIENT, STORAGE)
    assert datetime.fromisoformat(held.handle["ends_by"]) == held.handle["expires_at"]


def test_each_session_has_a_token_of_its_own(made: Make) -> None:
    provider = made()
    one, other = minted(provider), minted(provider)
    assert (one.secret or {})["type"] == "azure"
    assert (one.secret or {})["token"] != (other.secret or {})["token"]


def test_the_token_of_the_platform_is_read_anew_each_time(made: Make, assertion_file: Path) -> None:
    provider = made()
    minted(provider)
    assertion_file.write_text("eyJ.canary.other")
    with pytest.raises(CredentialError) as refused:
        minted(provider)
    assert str(refused.value) == "Entra refused (invalid_client, AADSTS700024): we could not make the token."
    assert (refused.value.permanent, refused.value.untouched) == (True, True)
    assertion_file.unlink()
    with pytest.raises(CredentialError, match="AZURE_APPS cannot be read: FileNotFoundError") as missing:
        minted(provider)
    assert (missing.value.permanent, missing.value.untouched) == (True, True)


def test_a_wrong_tenant_is_said(made: Make) -> None:
    with pytest.raises(CredentialError, match=r"refused .invalid_request, AADSTS90002."):
        minted(made(tenant="nowhere"))


def test_one_that_was_handed_over_is_never_called_revoked(made: Make) -> None:
    provider = made()
    held = minted(provider)
    for known in (held, Held(held.name, held.details, {}, None)):
        found = outcomes(provider, known)
        assert list(found) == ["revoke"]
        assert found["revoke"].done is False
        assert found["revoke"].evidence == {"problem": "It dies by itself: Entra takes no such token back."}


@pytest.mark.parametrize(("left", "done"), [((), True), (("gw-1", "gw-2"), False)])
def test_one_that_only_gateways_have_ends_with_their_cut(made: Make, left: tuple[str, ...], done: bool) -> None:
    provider = made(INJECTED, left)
    found = outcomes(provider, minted(provider))
    assert {name: one.done for name, one in found.items()} == {"gateways": done}
    assert found["gateways"].evidence == {"still_passing": ", ".join(left) or "no gateway"}


@pytest.mark.parametrize(
    ("lies", "said"),
    [
        ({"scope": VAULT}, "something else than was approved"),
        ({"scope": ""}, "something else than was approved"),
        ({"expires_in": None}, "does not say that the token lives for a day at most"),
        ({"expires_in": 0}, "does not say that the token lives for a day at most"),
        ({"expires_in": True}, "does not say that the token lives for a day at most"),
        ({"expires_in": 86_401}, "does not say that the token lives for a day at most"),
        ({"token_type": "pop"}, "holds no bearer token"),
        ({"access_token": 5}, "holds no bearer token"),
        ({"access_token": ""}, "holds no bearer token"),
    ],
)
def test_a_lie_is_not_handed_over(made: Make, far: Entra, lies: dict[str, Any], said: str) -> None:
    far.lies = lies
    with pytest.raises(CredentialError, match=said) as refused:
        minted(made())
    assert refused.value.permanent


def test_a_scope_that_is_repeated_is_taken(made: Make, far: Entra) -> None:
    far.lies = {"scope": STORAGE}
    assert minted(made()).handle["resource"] == STORAGE


@pytest.mark.parametrize(
    ("fault", "permanent", "said"),
    [
        ((503, b"canary"), False, "busy or failing (503)"),
        ((500, b"{}"), False, "busy or failing (500)"),
        ((429, b""), False, "busy or failing (429)"),
        ((400, b'{"error": "temporarily_unavailable"}'), False, "busy or failing (400)"),
        ((400, b'{"error": "invalid_scope", "error_codes": "canary"}'), True, "refused (invalid_scope)"),
        ((400, b'{"error": "invalid_scope", "error_codes": ["canary"]}'), True, "refused (invalid_scope)"),
        ((400, b'{"error": "<script>canary"}'), True, "refused (400)"),
        ((404, b"[]"), True, "refused (404)"),
        ((302, b""), True, "refused (302)"),
        ((200, b"<html>canary"), False, "cannot be understood"),
        ((200, b"[]"), False, "cannot be understood"),
        ((200, b"\xff\xfe"), False, "cannot be understood"),
    ],
)
def test_faults_are_told_apart_and_nothing_is_repeated(
    made: Make, far: Entra, fault: tuple[int, bytes], permanent: bool, said: str
) -> None:
    far.faults = [fault]
    with pytest.raises(CredentialError) as refused:
        minted(made())
    assert said in str(refused.value)
    assert (refused.value.permanent, refused.value.untouched) == (permanent, permanent)
    assert "canary" not in str(refused.value)
    assert refused.value.retry_after_s == (7 if fault[0] == 429 else 0)


def test_silence_is_said(made: Make) -> None:
    with pytest.raises(CredentialError, match="Entra does not answer") as away:
        minted(made(authority="http://127.0.0.1:9"))
    assert (away.value.silent, away.value.untouched) == (True, False)


def test_an_app_that_was_taken_out_is_said_and_its_tokens_still_end(made: Make) -> None:
    held = minted(made(INJECTED))
    empty = Azure(INJECTED, {}, lambda session: ())
    assert outcomes(empty, held)["gateways"].done
    with pytest.raises(CredentialError, match="reports is not in AZURE_APPS any more"):
        empty.mint(Intent("dbr_x", [READ], 900), lambda handle: None)
