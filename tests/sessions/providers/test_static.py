"""Long-lived secrets: read by version, given to gateways alone, revoked when these have cut, never called proven."""

import json
import uuid
from collections.abc import Iterator

import httpx
import pytest

from sessions import lifecycle, revoking
from sessions.gateways import secrets
from sessions.models import AgentSession, Credential, Gateway, Revocation
from sessions.providers import registry, static
from sessions.providers.contract import CredentialError, Held, Intent
from sessions.providers.static import Static
from stack import Stack
from stack.openbao_setup import put_secret
from tests import factories, serving
from tests.factories import GITHUB, READ_ORDERS, TO_GITHUB
from tests.gateway_actor import GatewayActor
from tests.serving import Agent, server

__all__ = ["server"]
CANARY = "canary-ghp_7f3a9c"
CONTENT = {**factories.CONTENT, "authorization_details": [TO_GITHUB, GITHUB]}


@pytest.fixture(scope="session")
def kept(stack: Stack) -> None:
    """The secret is there, in its second version."""
    for value in ("an older one", CANARY):
        put_secret(stack.openbao, "github", value)


def intent(name: str = "github") -> Intent:
    labels = {"agent_session": str(uuid.uuid4())}
    return Intent("dbr_x", [{**GITHUB, "locations": [f"kv:{name}"]}], 900, labels)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "A secret object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of 1 to 20 secrets."),
        ({"locations": ["github"]}, "'github' is not a secret: write kv:name in lower case."),
        ({"locations": ["kv:../other"]}, "'kv:../other' is not a secret: write kv:name in lower case."),
        ({"locations": ["kv:github\n"]}, "'kv:github\\n' is not a secret: write kv:name in lower case."),
        ({"locations": [5]}, "5 is not a secret: write kv:name in lower case."),
        ({"locations": ["kv:github", "kv:github"]}, "locations names a secret twice."),
        ({"actions": ["read"]}, 'actions must be ["inject"]: a secret is never handed over.'),
    ],
)
def test_problem_is_said_in_a_sentence(changed: dict[str, object], problem: str) -> None:
    assert list(static.problems({**GITHUB, **changed})) == [problem]


def test_each_secret_is_a_credential_of_its_own() -> None:
    two = {**GITHUB, "locations": ["kv:github", "kv:npm"]}
    assert registry.slots_of([two]) == {
        ("static", "secret:github"): [GITHUB],
        ("static", "secret:npm"): [{**GITHUB, "locations": ["kv:npm"]}],
    }


def test_sentence_says_that_it_is_long_lived_and_never_handed_over() -> None:
    [sentence] = registry.sentences_of([GITHUB])
    assert "the team's long-lived secret github" in sentence
    assert "The agent never gets it; it was not made for this session and lives on after it." in sentence


def test_newest_version_is_read_and_named(kept: None) -> None:
    minted = registry.provider("static").mint(intent(), lambda handle: None)
    assert (minted.secret, minted.handle["version"] >= 2) == ({"type": "secret", "value": CANARY}, True)
    assert CANARY not in repr(minted)


def test_secret_that_is_not_there_is_told_by_its_name() -> None:
    with pytest.raises(CredentialError, match="OpenBao has no secret nowhere under agent-secrets") as refused:
        registry.provider("static").mint(intent("nowhere"), lambda handle: None)
    assert (refused.value.permanent, refused.value.untouched) == (True, True)


@pytest.mark.parametrize(("left", "done"), [([], True), (["gw-1", "gw-2"], False)])
def test_revoked_is_what_no_gateway_passes_on(left: list[str], done: bool) -> None:
    api = registry._api()
    [step] = Static(api, lambda session: left).steps(
        Held("dbr_x", [GITHUB], {"agent_session": str(uuid.uuid4())}, None)
    )
    assert (step.kind, step.run().done) == ("revoke", done)
    assert step.run().evidence == {"still_passing": ", ".join(left) or "no gateway"}


@pytest.fixture
def http(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server}/api/v1", timeout=70, trust_env=False) as client:
        yield client


@pytest.fixture
def begun(http: httpx.Client, kept: None, committed: None) -> Agent:
    return Agent(http, factories.world(CONTENT).key).begin()


@pytest.fixture
def gateway(http: httpx.Client, committed: None) -> GatewayActor:
    made, token = factories.gateway()
    return GatewayActor(http, made.name, token)


def test_gateway_gets_the_secret_under_its_slot(begun: Agent, gateway: GatewayActor) -> None:
    found = gateway.fetch(begun.session_id).json()
    assert found["secrets"] == {"secret:github": {"type": "secret", "value": CANARY}}
    assert found["redact"] == []


def test_no_api_of_an_agent_ever_answers_it(begun: Agent, gateway: GatewayActor) -> None:
    gateway.fetch(begun.session_id)
    [credential] = Credential.objects.filter(agent_session=begun.session_id)
    asked = [
        begun.post("/credentials"),
        begun.post("/credentials", Prefer="wait=1"),
        begun.post(f"/credentials/{credential.id}/replace"),
        begun.get(),
        begun.poll(),
        begun.http.get("/agent", headers=serving.bearer(begun.key)),
        begun.post("/end"),
    ]
    assert asked[0].json() == asked[1].json() == []
    assert asked[2].json()["code"] == "state_conflict"
    assert not any(CANARY in answer.text for answer in asked)
    assert CANARY not in json.dumps(factories.events_of(uuid.UUID(begun.session_id)))


def test_lifecycle_itself_does_not_deliver_it(begun: Agent) -> None:
    from sessions.errors import StateConflict

    [credential] = Credential.objects.filter(agent_session=begun.session_id)
    with pytest.raises(StateConflict, match="kept from agents"):
        lifecycle.deliver(credential.id)


def revoked(agent: Agent) -> Revocation:
    """Killed, and tried once."""
    serving.kill(uuid.UUID(agent.session_id))
    revocation = Revocation.objects.get(credential__agent_session=agent.session_id)
    revoking.run(revocation.id)
    return revocation


def state_of(revocation: Revocation) -> str:
    return Credential.objects.get(pk=revocation.credential_id).state


def test_killed_secret_waits_for_the_word_of_the_gateway_that_had_it(begun: Agent, gateway: GatewayActor) -> None:
    gateway.fetch(begun.session_id)
    revocation = revoked(begun)
    assert state_of(revocation) == "revoking"
    assert revocation.steps.get().evidence == {"still_passing": gateway.name}
    gateway.acknowledge(begun.session_id)
    revoking.run(revocation.id)
    revocation.refresh_from_db()
    assert (state_of(revocation), revocation.proven_at) == ("unprovable", None)
    kinds = factories.kinds_of(uuid.UUID(begun.session_id))[-3:]
    assert kinds == ["gateway.cut", "credential.revoked", "credential.unprovable"]
    assert Credential.objects.get(pk=revocation.credential_id).sealed is None


def test_killed_secret_is_out_of_reach_where_the_lease_ran_out(begun: Agent, gateway: GatewayActor) -> None:
    gateway.fetch(begun.session_id)
    Gateway.objects.filter(name=gateway.name).update(lease_until=None)
    assert state_of(revoked(begun)) == "unprovable"


def test_secret_that_no_gateway_had_is_revoked_at_once(begun: Agent) -> None:
    revocation = revoked(begun)
    assert (state_of(revocation), revoking.claims.revoke(revocation.id)) == ("unprovable", None)


@pytest.mark.usefixtures("kept")
def test_password_of_an_agents_own_credential_is_to_be_redacted(http: httpx.Client, gateway: GatewayActor) -> None:
    mixed = {**CONTENT, "authorization_details": [READ_ORDERS, *CONTENT["authorization_details"]]}
    agent = Agent(http, factories.world(mixed).key).begin()
    [delivered] = agent.post("/credentials").json()
    found = gateway.fetch(agent.session_id).json()
    assert (found["redact"], list(found["secrets"])) == ([delivered["password"]], ["secret:github"])


def test_session_waits_for_its_secret_as_for_any_credential(kept: None, committed: None) -> None:
    world = factories.world(CONTENT)
    agent_session = world.approved()
    assert AgentSession.objects.get(pk=agent_session.pk).state == "approved"
    serving.mint(agent_session.pk)
    assert AgentSession.objects.get(pk=agent_session.pk).state == "active"
    assert set(secrets.of(agent_session.pk, {"secret:github"}).added) == {"secret:github"}
