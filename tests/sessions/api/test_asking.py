"""Asking for a session, and taking the question back."""

import httpx
import pytest

from audit.event import now
from sessions import lifecycle, tokens
from sessions.models import Agent as AgentRow
from sessions.models import AgentKey, AgentSession
from tests import factories
from tests.serving import Agent, bearer


def test_a_request_waits_for_a_decision(agent: Agent, world: factories.World) -> None:
    asked = agent.ask(duration=600).json()

    row = AgentSession.objects.get(pk=asked["session_id"])
    assert (row.state, row.duration_s, row.purpose) == ("requested", 600, "Find late shipments")
    assert asked["grant_hash"] == row.grant_hash
    assert asked["verification_uri_complete"].endswith(f"/device?user_code={row.user_code}")
    assert tokens.well_formed(asked["device_code"], tokens.DEVICE_CODE)
    assert (asked["interval"], asked["expires_in"]) == (5, 3600)
    assert factories.kinds_of(row.id) == ["session.requested"]


def test_less_than_the_profile_offers_may_be_asked_for(agent: Agent) -> None:
    narrow = {**factories.WRITE_SHIPMENTS, "actions": ["read"]}

    assert agent.ask(authorization_details=[narrow]).json()["authorization_details"] == [narrow]


@pytest.mark.parametrize(
    "asked",
    [
        {"profile": "nothing"},
        {"profile": "no slug"},
        {"purpose": ""},
        {"purpose": "  "},
        {"purpose": "a\x00b"},
        {"purpose": "evil \u202e txt"},
        {"purpose": "x" * 501},
        {"duration": 59},
        {"duration": 86_401},
        {"duration": 7200},
        {"duration": True},
        {"duration": "600"},
        {"unknown": 1},
        {"authorization_details": []},
        {"authorization_details": [{"type": "postgresql", "locations": 5, "actions": ["read"]}]},
        {"authorization_details": [{"type": ["x"]}]},
        {"authorization_details": [{**factories.READ_ORDERS, "actions": ["delete"]}]},
        {"authorization_details": [{**factories.READ_ORDERS, "limits": {"connections": 9}}]},
        {"authorization_details": [{**factories.READ_ORDERS}] * 21},
    ],
)
def test_nonsense_is_refused_with_reasons(agent: Agent, asked: dict[str, object]) -> None:
    answer = agent.ask(**asked)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]


GARBAGE = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 30_000,
    b'"text"',
    b"null",
    b'{"purpose": "\\ud800"}',
    b'{"profile": "warehouse-orders", "purpose": "x", "duration": ' + b"9" * 5_000 + b"}",
    b'{"profile": "warehouse-orders", "purpose": "x", "duration": NaN}',
    b'{"profile": "warehouse-orders", "purpose": "a\\u0000b"}',
    b'{"profile": "warehouse-orders", "purpose": "x", "authorization_details": [{"type": '
    + b"[" * 900
    + b"]" * 900
    + b"}]}",
]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused(http: httpx.Client, world: factories.World, body: bytes) -> None:
    answer = http.post("/sessions", content=body, headers=bearer(world.key))

    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_large_body_is_refused_before_it_is_read(agent: Agent) -> None:
    assert agent.ask(purpose="x" * 70_000).json()["code"] == "too_large"


def test_a_body_of_unknown_length_is_refused(http: httpx.Client, world: factories.World) -> None:
    answer = http.post("/sessions", content=iter([b"{}"]), headers=bearer(world.key))

    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


def test_the_key_says_whose_it_is(http: httpx.Client, world: factories.World) -> None:
    me = http.get("/agent", headers=bearer(world.key)).json()

    assert (me["id"], me["name"], me["team"]) == (str(world.agent.id), "shipping-bot", world.team.slug)
    assert me["profiles"] == [{"slug": "warehouse-orders", "name": "Warehouse: orders"}]


@pytest.mark.parametrize("key", ["", "nonsense", "dbk_" + "0" * 38, tokens.new("dbk"), tokens.new("dbs")])
def test_an_unknown_key_is_refused(http: httpx.Client, world: factories.World, key: str) -> None:
    answer = http.get("/agent", headers={"Authorization": f"Bearer {key}".strip()})

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not key or key not in answer.text


def test_a_revoked_key_is_refused(http: httpx.Client, world: factories.World) -> None:
    lifecycle.revoke_agent_key(AgentKey.objects.get(agent=world.agent).id, world.requester)

    assert http.get("/agent", headers=bearer(world.key)).status_code == 401


def test_a_retired_agent_is_refused(http: httpx.Client, world: factories.World) -> None:
    AgentRow.objects.filter(pk=world.agent.pk).update(retired_at=now())

    assert http.get("/agent", headers=bearer(world.key)).status_code == 401


def test_the_use_of_a_key_is_noted_once_a_minute(http: httpx.Client, world: factories.World) -> None:
    http.get("/agent", headers=bearer(world.key))
    first = AgentKey.objects.get(agent=world.agent).last_used_at
    http.get("/agent", headers=bearer(world.key))

    assert first is not None
    assert AgentKey.objects.get(agent=world.agent).last_used_at == first


def test_a_request_can_be_withdrawn_once(agent: Agent) -> None:
    agent.ask()

    assert agent.post("/withdraw").json()["state"] == "withdrawn"
    assert agent.post("/withdraw").json()["code"] == "state_conflict"
    assert agent.poll().json()["error"] == "access_denied"


def test_another_agents_request_is_not_found(agent: Agent, http: httpx.Client) -> None:
    agent.ask()
    stranger = Agent(http, factories.world().key, session_id=agent.session_id)

    assert [stranger.get().status_code, stranger.post("/withdraw").status_code, stranger.post("/end").status_code] == [
        404,
        404,
        404,
    ]


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("GET", "/sessions/1"), ("POST", "/")])
def test_what_is_no_route_is_a_problem(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_wrong_method_is_a_problem(http: httpx.Client) -> None:
    answer = http.delete("/sessions")

    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (405, "method_not_allowed", "POST")


def test_agent_with_ten_open_requests_is_told_to_wait(agent: Agent) -> None:
    assert [agent.ask().status_code for _ in range(10)] == [201] * 10
    refused = agent.ask()
    assert (refused.status_code, refused.json()["code"]) == (409, "state_conflict")
    assert refused.json()["detail"].startswith("10 requests of this agent wait for a decision.")


def test_agent_that_withdraws_one_may_ask_again(agent: Agent) -> None:
    for _ in range(10):
        agent.ask().raise_for_status()
    agent.post("/withdraw").raise_for_status()
    assert agent.ask().status_code == 201


def test_request_that_no_event_can_hold_is_a_problem(agent: Agent) -> None:
    places = [f"postgresql://warehouse/public.{'t' * 50}{number:03}" for number in range(50)]
    wide = {"type": "postgresql", "locations": places, "actions": ["read"], "limits": {"connections": 4}}
    refused = agent.ask(authorization_details=[wide] * 12)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert "may have 20,000 bytes" in refused.json()["detail"]
