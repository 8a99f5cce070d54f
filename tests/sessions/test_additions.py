"""More for a session that runs: who may ask, who decides, what gateways then let through, and until when."""

from datetime import timedelta

import pytest
import time_machine
from django.db import IntegrityError, ProgrammingError, connection, transaction

from audit.event import now
from sessions import lifecycle, sweep
from sessions.errors import Forbidden, GrantChanged, Invalid, StateConflict
from sessions.gateways import policy_document
from sessions.models import Addition, AgentSession
from tests import factories
from tests.factories import World, issue, wish


@pytest.fixture
def running(world: World) -> AgentSession:
    return issue(world.approved()).agent_session


def asked(running: AgentSession, **more: object) -> Addition:
    return lifecycle.request_addition(running.id, wish(**more))


def test_an_approved_addition_is_a_rule_with_an_end_of_its_own(world: World, running: AgentSession) -> None:
    before = policy_document.document(AgentSession.objects.get(pk=running.pk))
    addition = asked(running)
    approved = lifecycle.approve_addition(addition.id, world.lead, addition.sha256)
    after = policy_document.document(AgentSession.objects.get(pk=running.pk))
    assert after["serial"] == before["serial"] + 1
    [rule] = [one for one in after["rules"] if one not in before["rules"]]
    assert (rule["id"], rule["host"], rule["methods"]) == ("3.1", "api.example.org", ["GET"])
    assert rule["not_after"] == policy_document._moment(approved.ends_at)
    assert timedelta(minutes=9) < approved.ends_at - now() <= timedelta(minutes=10)


def test_it_never_outlives_the_session(world: World, running: AgentSession) -> None:
    addition = asked(running, duration_s=86_400)
    assert lifecycle.approve_addition(addition.id, world.lead, addition.sha256).ends_at == running.ends_at


def test_a_rule_that_has_ended_is_left_out(world: World, running: AgentSession) -> None:
    addition = asked(running, duration_s=60)
    lifecycle.approve_addition(addition.id, world.lead, addition.sha256)
    with time_machine.travel(now() + timedelta(seconds=61), tick=False):
        rules = policy_document.all_rules(AgentSession.objects.get(pk=running.pk))
    assert [one for one in rules if one["host"] == "api.example.org"] == []


def test_further_additions_count_on(world: World, running: AgentSession) -> None:
    for number in (1, 2):
        addition = asked(running, location=f"https://{number}.example.org/")
        lifecycle.approve_addition(addition.id, world.lead, addition.sha256)
    assert [one["id"] for one in policy_document.all_rules(running)][-2:] == ["3.1", "4.1"]


@pytest.mark.parametrize("who", ["requester", "security", "auditor", "admin", "stranger"])
def test_only_a_lead_approves_and_never_for_themselves(world: World, running: AgentSession, who: str) -> None:
    addition = asked(running)
    with pytest.raises(Forbidden):
        lifecycle.approve_addition(addition.id, getattr(world, who), addition.sha256)


def test_the_database_too_refuses_who_decides_for_themselves(world: World, running: AgentSession) -> None:
    addition = asked(running)
    with pytest.raises(IntegrityError), transaction.atomic():
        Addition.objects.filter(pk=addition.pk).update(state="approved", decided_by=world.requester)


@pytest.mark.parametrize("column", ["body", "sha256", "on_behalf_of_id", "number"])
def test_what_was_asked_for_never_changes(running: AgentSession, column: str) -> None:
    addition = asked(running)
    value = {"body": b"x", "number": 7, "on_behalf_of_id": None}.get(column, "x")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        Addition.objects.filter(pk=addition.pk).update(**{column: value})


def test_another_hash_than_the_one_that_was_read_decides_nothing(world: World, running: AgentSession) -> None:
    addition = asked(running)
    with pytest.raises(GrantChanged):
        lifecycle.approve_addition(addition.id, world.lead, "0" * 64)
    addition.refresh_from_db()
    assert addition.state == "requested"


def test_it_is_decided_once(world: World, running: AgentSession) -> None:
    addition = asked(running)
    lifecycle.deny_addition(addition.id, world.lead, addition.sha256, "Use the mirror")
    with pytest.raises(StateConflict):
        lifecycle.approve_addition(addition.id, world.second_lead, addition.sha256)
    addition.refresh_from_db()
    assert (addition.state, addition.denial) == ("denied", "Use the mirror")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"type": "postgresql"}, "."),
        ({"actions": ["tunnel"]}, "HTTP method"),
        ({"location": "https://169.254.169.254/"}, "no name of the Internet"),
        ({"inject": {"slot": "secret:github", "as": "bearer"}}, "no object here makes"),
        ({"duration_s": 5}, "between 60"),
    ],
)
def test_what_cannot_be_added_is_refused_with_a_sentence(running: AgentSession, changed: dict, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        lifecycle.request_addition(running.id, wish(**changed))


def test_a_secret_cannot_be_added(running: AgentSession) -> None:
    only = lifecycle.additions.Wish([factories.GITHUB], "I need it", 600)
    with pytest.raises(Invalid, match="Only egress can be added"):
        lifecycle.request_addition(running.id, only)


def test_an_agent_cannot_flood_those_who_decide(world: World, running: AgentSession) -> None:
    for number in range(3):
        last = asked(running, location=f"https://{number}.example.org/")
    with pytest.raises(Invalid, match="3 requests of this session wait"):
        asked(running)
    lifecycle.deny_addition(last.id, world.lead, last.sha256)
    with pytest.raises(Invalid, match="denied just now"):
        asked(running)
    with time_machine.travel(now() + timedelta(minutes=3), tick=False):
        assert asked(running).number == 4


def test_it_lapses_with_its_session_and_by_itself(world: World, running: AgentSession) -> None:
    first = asked(running)
    lifecycle.complete(running.id, world.agent.reference)
    sweep._lapse_additions()
    first.refresh_from_db()
    assert first.state == "lapsed"
    with pytest.raises(StateConflict):
        asked(running)


def test_one_that_nobody_decided_in_time_cannot_be_approved(world: World, running: AgentSession) -> None:
    addition = asked(running)
    with time_machine.travel(now() + timedelta(minutes=31), tick=False), pytest.raises(StateConflict):
        lifecycle.approve_addition(addition.id, world.lead, addition.sha256)


def test_the_tables_cannot_be_emptied(db: None) -> None:
    for table in ("agent_sessions_addition", "agent_sessions_verification"):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(f"DELETE FROM {table}")
