"""Events from agents: stored once, answered one by one, and never in the name of the control plane."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from audit.event import now, timestamp
from audit.uuid7 import uuid7
from sessions import tokens
from sessions.models import AgentSession
from tests import factories
from tests.serving import Agent, bearer, kill


def event(**changed: Any) -> dict[str, Any]:
    data = {"statement": "SELECT 1", "rows": 1}
    made = {"id": str(uuid7()), "kind": "db.statement", "occurred_at": timestamp(now()), "data": data}
    return {**made, **changed}


def answers(answer: httpx.Response) -> list[str]:
    return [receipt["answer"] for receipt in answer.json()["events"]]


@pytest.fixture
def begun(agent: Agent) -> Agent:
    return agent.begin()


def test_a_stored_event_names_agent_and_person(begun: Agent, world: factories.World) -> None:
    sent = event(outcome="denied")
    assert answers(begun.report(sent)) == ["stored"]

    stored = factories.events_of(uuid.UUID(begun.session_id))[-1]
    assert (stored["id"], stored["kind"], stored["outcome"]) == (sent["id"], "db.statement", "denied")
    assert stored["data"] == sent["data"]
    assert (stored["sub"], stored["act"]["sub"]) == (world.requester.reference, world.agent.reference)
    assert (stored["session"], stored["stream"]) == (begun.session_id, begun.session_id)


def test_a_batch_that_is_sent_twice_counts_once(begun: Agent) -> None:
    batch = [event() for _ in range(5)]

    assert answers(begun.report(*batch)) == ["stored"] * 5
    assert answers(begun.report(*batch)) == ["known"] * 5
    assert factories.kinds_of(uuid.UUID(begun.session_id)).count("db.statement") == 5


def test_an_event_twice_in_one_batch_counts_once(begun: Agent) -> None:
    one = event()

    assert answers(begun.report(one, one, {**one, "data": {}})) == ["stored", "known", "rejected"]


def test_an_id_with_other_content_is_rejected(begun: Agent) -> None:
    one = event()
    begun.report(one)

    assert answers(begun.report({**one, "data": {"rows": 2}})) == ["rejected"]


def test_an_id_of_another_session_is_rejected(begun: Agent, http: httpx.Client, world: factories.World) -> None:
    one = event()
    begun.report(one)
    other = Agent(http, world.key).begin()

    assert answers(other.report(one, event())) == ["rejected", "stored"]


def test_the_same_id_from_two_sessions_at_once_is_stored_for_one(
    begun: Agent, http: httpx.Client, world: factories.World
) -> None:
    other = Agent(http, world.key).begin()
    batch = [event() for _ in range(50)]
    with ThreadPoolExecutor(2) as pool:
        sent = list(pool.map(lambda one: one.report(*batch), [begun, other]))

    assert {answer.status_code for answer in sent} == {200}
    for pair in zip(*map(answers, sent), strict=True):
        assert sorted(pair) == ["rejected", "stored"]


BAD: list[dict[str, Any]] = [
    {"kind": "session.killed"},
    {"kind": "credential.proven"},
    {"kind": "team.created"},
    {"kind": "agent"},
    {"kind": "agent.key_issued.x.y.z"},
    {"kind": "db.Statement"},
    {"kind": "db.statement\n"},
    {"kind": "xdb.statement"},
    {"kind": "db." + "x" * 70},
    {"kind": 5},
    {"id": str(uuid.uuid4())},
    {"id": "nonsense"},
    {"id": 5},
    {"id": None},
    {"outcome": "fine"},
    {"outcome": ["success"]},
    {"occurred_at": "yesterday"},
    {"occurred_at": "2026-11-23"},
    {"occurred_at": "2026-11-23T08:15:52"},
    {"occurred_at": "2026-02-30T08:15:52Z"},
    {"occurred_at": "0001-01-01T00:00:00+23:59"},
    {"occurred_at": timedelta(minutes=6)},
    {"occurred_at": timedelta(hours=-1)},
    {"occurred_at": 1},
    {"data": []},
    {"data": None},
    {"data": {"text": "x" * 60_000}},
    {"data": {"number": 2**60}},
    {"data": {"text": "\ud800"}},
    {"data": {"token": tokens.new("dbs")}},
    {"data": {"note": f"export KEY={tokens.new('dbk')};"}},
    {"sub": "person:somebody"},
    {"act": {"sub": "service:revoker"}},
    {"seq": 1},
    {"stream": str(uuid.uuid4())},
]


@pytest.mark.parametrize("changed", BAD, ids=lambda changed: ascii(changed)[:50])
def test_a_bad_event_is_rejected_and_the_others_are_stored(begun: Agent, changed: dict[str, Any]) -> None:
    when = changed.get("occurred_at")
    changed = {**changed, "occurred_at": timestamp(now() + when)} if isinstance(when, timedelta) else changed
    answer = begun.report(event(), event(**changed), event())

    assert answers(answer) == ["stored", "rejected", "stored"]
    assert answer.json()["events"][1]["why"]


@pytest.mark.parametrize("raw", [None, 5, "text", [], {}])
def test_what_is_no_event_is_rejected(begun: Agent, raw: object) -> None:
    assert answers(begun.report(raw, event())) == ["rejected", "stored"]


def test_deep_nesting_is_rejected(begun: Agent) -> None:
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"in": deep}

    assert answers(begun.report(event(data=deep))) == ["rejected"]


def test_a_key_in_an_event_is_not_repeated_in_the_answer(begun: Agent) -> None:
    key = tokens.new("dbk")

    assert key not in begun.report(event(data={"note": key}), event(kind=key), event(id=key)).text.replace(key, "", 1)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[]", b"5", b'{"events": 5}', b'{"events": [], "x": 1}']
)
def test_a_batch_that_cannot_be_read_is_malformed(begun: Agent, http: httpx.Client, body: bytes) -> None:
    answer = http.post("/events", content=body, headers=bearer(begun.token))

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_too_many_events_are_refused(begun: Agent) -> None:
    assert begun.report(*[event()] * 1001).json()["code"] == "too_large"


def test_a_thousand_events_of_three_megabytes_are_stored(begun: Agent) -> None:
    batch = [event(data={"text": "x" * 3000}) for _ in range(1000)]
    assert len(json.dumps(batch)) > 2_621_440

    assert set(answers(begun.report(*batch))) == {"stored"}


def test_a_batch_over_four_mebibytes_is_refused(begun: Agent) -> None:
    assert begun.report(*[event(data={"text": "x" * 50_000}) for _ in range(90)]).json()["code"] == "too_large"


def test_late_events_of_an_ended_session_are_taken_for_ten_minutes(begun: Agent) -> None:
    before = event()
    kill(uuid.UUID(begun.session_id))
    soon_after = event(occurred_at=timestamp(now() + timedelta(seconds=20)))
    after = event(occurred_at=timestamp(now() + timedelta(seconds=40)))
    assert answers(begun.report(before, soon_after, after)) == ["stored", "stored", "rejected"]

    move_end(begun, now() - timedelta(minutes=10, seconds=1))
    assert begun.report(event()).json()["code"] == "session_killed"


def move_end(agent: Agent, ended_at: datetime) -> None:
    AgentSession.objects.filter(pk=agent.session_id).update(ended_at=ended_at)


def test_event_that_sealing_makes_too_long_is_rejected_alone(begun: Agent) -> None:
    """Each sealed text takes more room than it did."""
    answer = begun.report(event(data={"texts": [{"text": "x"}] * 900}), event())
    assert answers(answer) == ["rejected", "stored"]
    assert "at most 60000 bytes" in answer.json()["events"][0]["why"]
