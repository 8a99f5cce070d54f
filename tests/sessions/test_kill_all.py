"""One click for many sessions: as a kill of each, in one transaction."""

import time
import uuid

import pytest
from django.db import DatabaseError

from audit import log
from audit.event import NewEvent
from audit.models import DeferredEvent
from sessions import lifecycle
from sessions.models import AgentSession, Credential, Revocation, Transition
from tests import factories
from tests.factories import World, events_of, issue, kinds_of


def live(world: World, count: int = 3) -> list[uuid.UUID]:
    return sorted(issue(world.approved()).agent_session_id for _ in range(count))


def test_all_are_killed_and_their_credentials_are_to_be_revoked(world: World) -> None:
    ids = live(world)
    assert lifecycle.kill_all(ids, world.security) == ids
    killed = AgentSession.objects.filter(pk__in=ids, state="ended", end_reason="killed", killed_by=world.security)
    assert killed.exclude(killed_at=None).count() == 3
    assert set(Credential.objects.filter(agent_session__in=ids).values_list("state", flat=True)) == {"revoking"}
    assert Revocation.objects.filter(credential__agent_session__in=ids, reason="killed").count() == 3


def test_each_has_its_event_and_its_transition(world: World) -> None:
    ids = live(world)
    lifecycle.kill_all(ids, world.lead)
    for one in ids:
        last = events_of(one)[-1]
        credential = Credential.objects.get(agent_session=one)
        assert (last["kind"], last["act"]) == ("session.killed", {"sub": world.lead.reference})
        assert (last["data"]["revoking"], last["data"]["revoking_count"]) == ([str(credential.id)], 1)
        moved = Transition.objects.filter(agent_session=one).last()
        assert (moved.from_state, moved.to_state, str(moved.event)) == ("active", "ended", last["id"])


def test_those_that_are_over_or_anothers_are_left_alone(world: World) -> None:
    [mine] = live(world, 1)
    [over] = live(world, 1)
    lifecycle.complete(over, world.agent.reference)
    [foreign] = live(factories.world(), 1)
    waiting = world.request().agent_session.pk
    assert lifecycle.kill_all([mine, over, foreign, waiting, uuid.uuid4()], world.security) == [mine]
    assert [kinds_of(one)[-1] for one in (over, foreign)] == ["session.completed", "session.active"]


@pytest.mark.parametrize("role", ["auditor", "stranger"])
def test_who_may_not_kill_kills_nothing(world: World, role: str) -> None:
    ids = live(world, 2)
    assert lifecycle.kill_all(ids, getattr(world, role)) == []
    assert AgentSession.objects.filter(pk__in=ids, state="active").count() == 2


def test_requester_kills_those_on_their_own_behalf(world: World) -> None:
    assert len(lifecycle.kill_all(live(world, 2), world.requester)) == 2


def test_kill_of_many_waits_for_no_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = live(world)

    def broken(events: object) -> None:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(log, "_append_each", broken)
        assert lifecycle.kill_all(ids, world.security) == ids
    assert DeferredEvent.objects.filter(stream__in=ids).count() == 3
    log.append_deferred()
    assert [kinds_of(one)[-1] for one in ids] == ["session.killed"] * 3


def test_none_is_no_error(world: World) -> None:
    assert lifecycle.kill_all([], world.security) == []


def test_two_events_of_one_stream_are_refused(world: World) -> None:
    stream = uuid.uuid4()
    twice = [NewEvent(kind="x.y", stream=stream, sub="service:a", act="service:a") for _ in range(2)]
    with pytest.raises((ValueError, DatabaseError)):
        log.append_each(twice)


def test_many_take_no_more_statements_than_few(world: World, django_assert_max_num_queries) -> None:  # type: ignore[no-untyped-def]
    ids = live(world, 12)
    with django_assert_max_num_queries(20):
        lifecycle.kill_all(ids, world.security)


@pytest.mark.usefixtures("committed")
def test_hundred_are_dead_within_half_a_second() -> None:
    world = factories.world(factories.egress_only())
    ids = [world.approved().pk for _ in range(100)]
    began = time.monotonic()
    assert len(lifecycle.kill_all(ids, world.security)) == 100
    assert time.monotonic() - began < 0.5
