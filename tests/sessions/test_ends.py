"""A kill is a tombstone, the clock starts when the session does, and sessions do not cut each other."""

from datetime import timedelta

import pytest
import time_machine
from django.db import IntegrityError, transaction

from audit import log
from audit.event import now
from audit.models import DeferredEvent
from sessions import lifecycle, sweep
from sessions.errors import Forbidden, StateConflict
from sessions.models import AgentSession, Revocation
from tests.factories import World, events_of, issue, kinds_of, minted


def test_clock_starts_when_the_session_becomes_active(world: World) -> None:
    agent_session = world.approved(duration_s=600)
    with time_machine.travel(now() + timedelta(minutes=10), tick=False):
        issue(agent_session)
        agent_session.refresh_from_db()
        assert agent_session.ends_at == now() + timedelta(seconds=600)


def test_kill_writes_the_tombstone_and_asks_for_every_revocation(world: World) -> None:
    credential = issue(world.approved())
    killed = lifecycle.kill(credential.agent_session_id, world.security)
    credential.refresh_from_db()
    assert (killed.state, killed.end_reason, killed.killed_by) == ("ended", "killed", world.security)
    assert (credential.state, credential.revocation.reason) == ("revoking", "killed")
    assert events_of(killed.id)[-1]["data"]["revoking"] == [str(credential.id)]


def test_tombstone_is_never_lifted(world: World) -> None:
    agent_session = world.approved()
    lifecycle.kill(agent_session.id, world.lead)
    with pytest.raises(StateConflict):
        lifecycle.activate(agent_session.id)
    with pytest.raises(StateConflict):
        lifecycle.record_issued(agent_session.credentials.get().id, minted())
    with pytest.raises(IntegrityError, match="stays killed"), transaction.atomic():
        AgentSession.objects.filter(pk=agent_session.pk).update(state="active", killed_at=None, end_reason="")


def test_credential_that_comes_after_the_kill_is_killed_too(world: World) -> None:
    agent_session = world.approved()
    lifecycle.kill(agent_session.id, world.lead)
    credential = agent_session.credentials.get()
    revocation = lifecycle.record_late(credential.id, minted())
    credential.refresh_from_db()
    assert (credential.state, revocation.proven_at) == ("revoking", None)
    assert credential.handle["accessor"] == "a"


def test_late_credential_after_a_proof_takes_the_proof_back(world: World) -> None:
    agent_session = world.approved()
    lifecycle.kill(agent_session.id, world.lead)
    revocation = Revocation.objects.get(credential__agent_session=agent_session)
    lifecycle.record_revoked(revocation.id, {})
    lifecycle.record_proven(revocation.id, {})
    lifecycle.record_late(revocation.credential_id, minted())
    revocation.refresh_from_db()
    assert (revocation.revoked_at, revocation.proven_at) == (None, None)


def test_second_kill_says_that_it_is_ended(world: World) -> None:
    agent_session = world.approved()
    lifecycle.kill(agent_session.id, world.lead)
    with pytest.raises(StateConflict, match="is ended now"):
        lifecycle.kill(agent_session.id, world.security)


@pytest.mark.parametrize("role", ["auditor", "stranger"])
def test_onlookers_do_not_kill(world: World, role: str) -> None:
    agent_session = world.approved()
    with pytest.raises(Forbidden):
        lifecycle.kill(agent_session.id, getattr(world, role))


@pytest.mark.parametrize("role", ["lead", "second_lead", "security", "admin", "requester"])
def test_those_who_answer_for_it_kill(world: World, role: str) -> None:
    assert lifecycle.kill(world.approved().id, getattr(world, role)).killed_at is not None


def test_kill_goes_ahead_without_the_log_and_its_event_follows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import DatabaseError

    agent_session = world.approved()
    with monkeypatch.context() as broken:
        broken.setattr("audit.log._append_each", _raise(DatabaseError("disk full")))
        killed = lifecycle.kill(agent_session.id, world.lead)
    assert killed.killed_at is not None
    assert kinds_of(agent_session.id)[-1] == "session.approved"
    assert log.append_deferred() == 1
    assert kinds_of(agent_session.id)[-1] == "session.killed"
    assert not DeferredEvent.objects.exists()


def test_two_sessions_with_the_same_grant_do_not_cut_each_other(world: World) -> None:
    first, second = issue(world.approved()), issue(world.approved())
    assert first.content == second.content
    lifecycle.complete(first.agent_session_id, world.agent.reference)
    second.refresh_from_db()
    assert (second.state, second.agent_session.state) == ("issued", "active")


def test_suspended_session_gets_new_credentials_when_it_goes_on(world: World) -> None:
    credential = issue(world.approved())
    lifecycle.suspend(credential.agent_session_id, world.lead)
    resumed = lifecycle.resume(credential.agent_session_id, world.second_lead)
    old, new = resumed.credentials.all()
    assert (old.state, new.state, new.generation) == ("revoking", "intent", 2)


def test_owner_does_not_resume_what_a_lead_suspended(world: World) -> None:
    credential = issue(world.approved())
    lifecycle.suspend(credential.agent_session_id, world.lead)
    with pytest.raises(Forbidden):
        lifecycle.resume(credential.agent_session_id, world.requester)


def test_sweep_lapses_what_nobody_decided(world: World) -> None:
    agent_session = world.request().agent_session
    with time_machine.travel(now() + timedelta(seconds=3601), tick=False):
        sweep._lapse()
    assert kinds_of(agent_session.id)[-1] == "session.lapsed"


def test_sweep_expires_what_is_over(world: World) -> None:
    credential = issue(world.approved(duration_s=600))
    with time_machine.travel(now() + timedelta(seconds=601), tick=False):
        sweep._expire()
    credential.refresh_from_db()
    assert (credential.agent_session.end_reason, credential.state) == ("expired", "revoking")


def test_sweep_reaps_an_intent_whose_worker_was_lost(world: World) -> None:
    from sessions import claims

    agent_session = world.approved()
    assert claims.mint(agent_session.credentials.get().id) is not None
    with time_machine.travel(now() + timedelta(seconds=claims.CLAIM_S + 1), tick=False):
        sweep._reap()
    lost, successor = agent_session.credentials.all()
    assert (lost.state, lost.revocation.reason) == ("revoking", "reaped")
    assert (successor.state, successor.generation) == ("intent", 2)


def test_sweep_rotates_before_the_credential_ends_and_retires_the_old_one(world: World, settings) -> None:  # type: ignore[no-untyped-def]
    old = issue(world.approved())
    lifecycle.deliver(old.id)
    with time_machine.travel(now() + timedelta(seconds=620), tick=False) as clock:
        sweep._rotate()
        sweep._rotate()
        _, new = old.agent_session.credentials.all()
        assert (new.generation, new.state) == (2, "intent")
        lifecycle.record_issued(new.id, minted())
        sweep._retire()
        old.refresh_from_db()
        assert old.state == "issued"
        lifecycle.deliver(new.id)
        clock.shift(settings.ROTATION_OVERLAP_S + 1)
        sweep._retire()
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.state, old.revocation.reason, new.state) == ("revoking", "rotated", "issued")


def test_secret_is_delivered_once(world: World) -> None:
    credential = issue(world.approved())
    assert lifecycle.deliver(credential.id)["password"].startswith("canary-")
    with pytest.raises(StateConflict, match="is delivered now"):
        lifecycle.deliver(credential.id)


def test_secret_is_destroyed_when_its_death_is_proven(world: World) -> None:
    credential = issue(world.approved())
    lifecycle.kill(credential.agent_session_id, world.lead)
    lifecycle.record_revoked(credential.revocation.id, {})
    credential.refresh_from_db()
    assert credential.sealed is not None
    lifecycle.record_proven(credential.revocation.id, {})
    credential.refresh_from_db()
    assert (credential.state, credential.sealed) == ("proven", None)


def _raise(error: Exception):  # type: ignore[no-untyped-def]
    def act(*args: object) -> None:
        raise error

    return act
