"""The API of gateways, each endpoint against the same list: works, wrong method, strangers, bad input, raced."""

import base64
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from django.conf import settings

from audit.event import now, timestamp
from sessions import lifecycle, tokens
from sessions.gateways import dsse, holds, policy_document
from sessions.models import AgentSession, Gateway, GatewayCut
from tests import factories
from tests.gateway_actor import GatewayActor, event
from tests.serving import Agent, bearer, kill

ENDPOINTS = [
    ("POST", "/gateways/lease"),
    ("GET", "/gateways/stream"),
    ("GET", f"/gateways/sessions/{uuid.uuid4()}"),
    ("POST", "/gateways/events"),
    ("POST", "/gateways/acks"),
]


@pytest.fixture
def world(committed: None) -> factories.World:
    return factories.world(factories.egress_only())


@pytest.fixture
def gateway(http: httpx.Client, world: factories.World) -> GatewayActor:
    made, token = factories.gateway(None)
    return GatewayActor(http, made.name, token)


@pytest.fixture
def begun(agent: Agent) -> Agent:
    return agent.begin()


def cuts_of(agent: Agent) -> list[tuple[bool, int | None]]:
    rows = GatewayCut.objects.filter(agent_session=agent.session_id)
    return [(row.acknowledged_at is not None, row.connections) for row in rows]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_nobody_but_a_gateway_gets_in(gateway: GatewayActor, begun: Agent, method: str, path: str) -> None:
    strangers = ["nonsense", begun.key, begun.token, tokens.new(tokens.GATEWAY_TOKEN)]
    for stranger in strangers:
        answer = begun.http.request(method, path, headers=bearer(stranger), json={})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_retired_gateway_does_not_get_in(gateway: GatewayActor, world: factories.World, method: str, path: str) -> None:
    lifecycle.retire_gateway(Gateway.objects.get(name=gateway.name).pk, world.security)
    answer = gateway.http.request(method, path, headers=bearer(gateway.token), json={})
    assert answer.status_code == 401


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_wrong_method_is_told(gateway: GatewayActor, method: str, path: str) -> None:
    answer = gateway.http.delete(path, headers=bearer(gateway.token))
    assert (answer.status_code, answer.headers["Allow"]) == (405, method)


@pytest.mark.parametrize("path", ["/sessions", "/agent", "/events"])
def test_gateways_token_opens_nothing_of_an_agents(gateway: GatewayActor, path: str) -> None:
    assert gateway.http.post(path, json={}, headers=bearer(gateway.token)).status_code in (401, 405)


def test_lease_lasts_ten_seconds_and_names_the_gateway(gateway: GatewayActor) -> None:
    answer = gateway.renew()
    row = Gateway.objects.get(name=gateway.name)
    assert answer.json() == {"gateway": gateway.name, "lease_s": 10, "over": [], "changed": []}
    assert 9 < (row.lease_until - now()).total_seconds() <= 10
    assert (row.version, row.address) == ("1", "127.0.0.1:18080")
    assert row in holds.live()


def test_lease_tells_what_is_over_and_what_is_newer(gateway: GatewayActor, begun: Agent) -> None:
    gone, unknown = world_session(begun), str(uuid.uuid4())
    kill(uuid.UUID(gone))
    answer = gateway.renew({begun.session_id: 0, gone: 1, unknown: 1}).json()
    assert (sorted(answer["over"]), answer["changed"]) == (sorted([gone, unknown]), [begun.session_id])
    assert gateway.renew({begun.session_id: 1}).json()["changed"] == []


def world_session(begun: Agent) -> str:
    return Agent(begun.http, begun.key).begin().session_id


@pytest.mark.parametrize(
    "changed",
    [
        {"started_at": "yesterday"},
        {"started_at": "2026-11-26T08:00:00"},
        {"version": "x" * 65},
        {"address": "a\nb"},
        {"sessions": {"nonsense": 1}},
        {"sessions": {str(uuid.uuid4()): "1"}},
        {"sessions": [1]},
        {"extra": 1},
    ],
    ids=str,
)
def test_lease_that_makes_no_sense_is_refused(gateway: GatewayActor, changed: dict[str, object]) -> None:
    assert gateway.renew(**changed).json()["code"] == "invalid"
    assert Gateway.objects.get(name=gateway.name).lease_until is None


def test_many_sessions_fit_into_one_lease(gateway: GatewayActor) -> None:
    answer = gateway.renew({str(uuid.uuid4()): 1 for _ in range(5_000)})
    assert (answer.status_code, len(answer.json()["over"])) == (200, 5_000)


def test_policy_is_signed_and_names_the_proxy_secret(gateway: GatewayActor, begun: Agent) -> None:
    found = gateway.fetch(begun.session_id).json()
    keys = [base64.b64decode(key) for key in _verifiers()]
    document = json.loads(dsse.opened(found["policy"], policy_document.PAYLOAD_TYPE, keys))
    assert (document["session"], document["serial"], found["serial"]) == (begun.session_id, 1, 1)
    assert [rule["id"] for rule in document["rules"]] == ["1.1"]
    assert (found["state"], found["secrets"], found["redact"]) == ("active", {}, [])
    assert found["proxy_sha256"] == tokens.digest(tokens.proxy_secret(begun.token))


def _verifiers() -> list[str]:
    return [base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in policy_document.signing_keys()]


def test_policy_once_fetched_is_noted_once(gateway: GatewayActor, begun: Agent) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = [one.status_code for one in pool.map(lambda _: gateway.fetch(begun.session_id), range(4))]
    assert answers == [200] * 4
    assert factories.kinds_of(uuid.UUID(begun.session_id)).count("gateway.holds") == 1
    assert cuts_of(begun) == [(False, None)]


def test_unknown_session_has_no_policy(gateway: GatewayActor) -> None:
    answer = gateway.fetch(str(uuid.uuid4()))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_session_that_is_over_has_no_policy(gateway: GatewayActor, begun: Agent) -> None:
    kill(uuid.UUID(begun.session_id))
    answer = gateway.fetch(begun.session_id)
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    assert cuts_of(begun) == []


def test_suspended_session_has_no_policy_until_it_goes_on(
    gateway: GatewayActor, begun: Agent, world: factories.World
) -> None:
    gateway.fetch(begun.session_id)
    session_id = uuid.UUID(begun.session_id)
    lifecycle.suspend(session_id, world.lead)
    assert gateway.fetch(begun.session_id).status_code == 410
    assert gateway.renew({begun.session_id: 1}).json()["over"] == [begun.session_id]
    lifecycle.resume(session_id, world.lead)
    assert gateway.fetch(begun.session_id).json()["serial"] == 2


def test_ack_is_recorded_with_its_event(gateway: GatewayActor, begun: Agent) -> None:
    gateway.fetch(begun.session_id)
    kill(uuid.UUID(begun.session_id))
    assert gateway.acknowledge(begun.session_id).status_code == 204
    last = factories.events_of(uuid.UUID(begun.session_id))[-1]
    assert (last["kind"], last["act"]) == ("gateway.cut", {"sub": f"gateway:{gateway.name}"})
    assert (last["data"]["connections"], last["data"]["elapsed_us"]) == (2, 1500)
    assert cuts_of(begun) == [(True, 2)]


def test_ack_that_is_said_again_or_of_nothing_changes_nothing(gateway: GatewayActor, begun: Agent) -> None:
    gateway.fetch(begun.session_id)
    kill(uuid.UUID(begun.session_id))
    with ThreadPoolExecutor(3) as pool:
        sent = pool.map(lambda _: gateway.acknowledge(begun.session_id, str(uuid.uuid4())), range(3))
    assert [answer.status_code for answer in sent] == [204] * 3
    assert factories.kinds_of(uuid.UUID(begun.session_id)).count("gateway.cut") == 1


@pytest.mark.parametrize(
    "changed",
    [{"connections": -1}, {"elapsed_us": -1}, {"cut_at": "now"}, {"session": "x"}, {"why": "killed"}],
    ids=str,
)
def test_ack_that_makes_no_sense_is_refused(gateway: GatewayActor, begun: Agent, changed: dict[str, object]) -> None:
    assert gateway.acknowledge(begun.session_id, **changed).json()["code"] == "invalid"


def test_gateway_that_was_restarted_holds_nothing(gateway: GatewayActor, begun: Agent) -> None:
    gateway.renew()
    gateway.fetch(begun.session_id)
    assert holds.passing(uuid.UUID(begun.session_id)) == [gateway.name]
    gateway.renew(started_at=timestamp(now()))
    assert holds.passing(uuid.UUID(begun.session_id)) == []


def test_gateway_whose_lease_ran_out_passes_nothing(gateway: GatewayActor, begun: Agent) -> None:
    gateway.renew()
    gateway.fetch(begun.session_id)
    Gateway.objects.filter(name=gateway.name).update(lease_until=now() - timedelta(seconds=1))
    assert holds.passing(uuid.UUID(begun.session_id)) == []
    gateway.renew({begun.session_id: 1})
    assert holds.passing(uuid.UUID(begun.session_id)) == [gateway.name]


def answers(answer: httpx.Response) -> list[str]:
    return [one["answer"] for one in answer.json()["events"]]


def test_events_are_stored_in_the_stream_of_their_session(gateway: GatewayActor, begun: Agent) -> None:
    other = world_session(begun)
    sent = [event(begun.session_id), event(other, "dns.denied"), event(begun.session_id, "egress.response")]
    assert answers(gateway.report(*sent)) == ["stored"] * 3
    first, second = factories.events_of(uuid.UUID(begun.session_id))[-2:]
    assert [one["kind"] for one in (first, second)] == ["egress.request", "egress.response"]
    assert (first["act"], first["agent"]) == ({"sub": f"gateway:{gateway.name}"}, second["agent"])
    assert first["agent"].startswith("agent:")
    assert factories.kinds_of(uuid.UUID(other))[-1] == "dns.denied"
    assert answers(gateway.report(*sent)) == ["known"] * 3


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"session": "nonsense"}, "session must be the id"),
        ({"session": None}, "session must be the id"),
        ({"session": str(uuid.uuid4())}, "There is no such session."),
        ({"kind": "session.killed"}, "kind must be one of egress, finding, dns"),
        ({"kind": "db.statement"}, "kind must be one of egress, finding, dns"),
        ({"kind": "gateway.cut"}, "kind must be one of egress, finding, dns"),
        ({"act": "person:x"}, "There is no field 'act'."),
        ({"data": {"token": tokens.new("dbg")}}, "holds a key or token"),
    ],
    ids=str,
)
def test_bad_event_keeps_no_other_out(
    gateway: GatewayActor, begun: Agent, changed: dict[str, object], why: str
) -> None:
    answer = gateway.report(event(begun.session_id), {**event(begun.session_id), **changed}, 5)
    assert answers(answer) == ["stored", "rejected", "rejected"]
    assert why in answer.json()["events"][1]["why"]


def test_agent_cannot_speak_as_a_gateway(begun: Agent) -> None:
    sent = {name: value for name, value in event(begun.session_id).items() if name != "session"}
    assert answers(begun.report(sent)) == ["rejected"]


def test_events_of_a_session_that_is_long_over_are_taken(gateway: GatewayActor, begun: Agent) -> None:
    kill(uuid.UUID(begun.session_id))
    AgentSession.objects.filter(pk=begun.session_id).update(ended_at=now() - timedelta(hours=1))
    assert answers(gateway.report(event(begun.session_id, "egress.closed"))) == ["stored"]


def test_too_many_batches_of_one_gateway_wait(gateway: GatewayActor) -> None:
    from sessions.api import gateway_events
    from sessions.api.problems import Refusal

    row = Gateway.objects.get(name=gateway.name)
    with pytest.raises(Refusal, match="Too many batches"):
        _nested(lambda: gateway_events.at_work(row), gateway_events.MOST_AT_ONCE + 1)
    with gateway_events.at_work(row):
        assert gateway_events._at_work[row.id] == 1


def _nested(enter, times: int) -> None:  # type: ignore[no-untyped-def]
    with enter():
        if times > 1:
            _nested(enter, times - 1)


def test_stream_beats_and_tells_of_a_kill_at_once(gateway: GatewayActor, begun: Agent) -> None:
    with gateway.listening() as heard:
        kill(uuid.UUID(begun.session_id))
        heard.when("over", begun.session_id)
    assert heard.beats[:2] == [1, 2]
    assert heard.of("over").count(begun.session_id) <= 2


def test_stream_tells_of_a_session_that_starts_or_goes_on(
    gateway: GatewayActor, agent: Agent, world: factories.World
) -> None:
    with gateway.listening() as heard:
        agent.begin()
        heard.when("changed", agent.session_id)
        lifecycle.suspend(uuid.UUID(agent.session_id), world.lead)
        heard.when("over", agent.session_id)
        lifecycle.resume(uuid.UUID(agent.session_id), world.lead)
    assert heard.of("changed")[0] == agent.session_id


def test_stream_makes_up_for_a_notice_that_was_lost(
    gateway: GatewayActor, begun: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.gateways.notices.CHANNEL", "nobody_listens_here")
    with gateway.listening() as heard:
        heard.of("over")
        kill(uuid.UUID(begun.session_id))
        heard.when("over", begun.session_id)
    assert heard.of("over") == [begun.session_id]


def test_stream_of_a_retired_gateway_ends(gateway: GatewayActor, world: factories.World) -> None:
    with gateway.listening() as heard:
        lifecycle.retire_gateway(Gateway.objects.get(name=gateway.name).pk, world.security)
        ended = threading.Event()
        for _ in range(40):
            if heard.ended:
                ended.set()
                break
            ended.wait(0.1)
    assert heard.ended


def test_kill_goes_ahead_where_gateways_cannot_be_told(begun: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.gateways.notices.CHANNEL", "x" * 100)
    kill(uuid.UUID(begun.session_id))
    assert AgentSession.objects.get(pk=begun.session_id).end_reason == "killed"


def test_finding_ends_a_session_whose_profile_says_so(http: httpx.Client, gateway: GatewayActor) -> None:
    strict = factories.world({**factories.egress_only(), "on_finding": "kill"})
    agent = Agent(http, strict.key).begin()
    gateway.report(event(agent.session_id, "finding.echo"))
    assert agent.get().json()["state"] == "active"
    gateway.report(event(agent.session_id, "finding.leak", outcome="denied"))
    assert (agent.get().json()["state"], agent.get().json()["end_reason"]) == ("ended", "finding")


def test_finding_is_only_noted_where_the_profile_says_nothing(gateway: GatewayActor, begun: Agent) -> None:
    gateway.report(event(begun.session_id, "finding.evasion", outcome="denied"))
    assert begun.get().json()["state"] == "active"


def test_address_of_control_plane_is_told_in_the_policy(gateway: GatewayActor, begun: Agent) -> None:
    payload = base64.b64decode(gateway.fetch(begun.session_id).json()["policy"]["payload"])
    assert json.loads(payload)["ask"].endswith(f"/sessions/{begun.session_id}/more")
    assert settings.POLICY_KEYS
