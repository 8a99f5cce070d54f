"""One bad row, or many good ones, never keep the sweep from the rest."""

from datetime import timedelta

import pytest

from audit.event import now
from sessions import lifecycle, sweep
from sessions.errors import StateConflict
from sessions.models import AgentSession, Credential
from sessions.models.credentials import CredentialState
from tests.factories import World, events_of, issue


def more(agent_session: AgentSession, generations: range, **fields: object) -> None:
    """Further live credentials of the session's slot."""
    like = agent_session.credentials.order_by("generation")[0]
    Credential.objects.bulk_create(
        Credential(
            agent_session=agent_session,
            provider=like.provider,
            slot=like.slot,
            generation=generation,
            details=bytes(like.details),
            grant_hash=like.grant_hash,
            ttl_s=900,
            state=CredentialState.ISSUED,
            created_at=now(),
            next_attempt_at=now(),
            expires_at=now() + timedelta(seconds=900),
            **fields,
        )
        for generation in generations
    )


def test_row_that_breaks_does_not_keep_others_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = issue(world.approved()).agent_session, issue(world.approved()).agent_session
    AgentSession.objects.filter(pk__in=[bad.pk, good.pk]).update(ends_at=now() - timedelta(seconds=5))
    expire = lifecycle.expire
    monkeypatch.setattr(lifecycle, "expire", lambda one: 1 / 0 if one == bad.pk else expire(one))
    sweep._expire()
    good.refresh_from_db()
    assert good.state == "ended"


def test_many_rotated_sessions_do_not_keep_one_from_being_retired(world: World) -> None:
    long_ago = now() - timedelta(minutes=5)
    issued = [issue(world.approved()) for _ in range(4)]
    for one in issued:
        more(one.agent_session, range(2, 3), delivered_at=long_ago)
    sweep._retire()
    assert {one.state for one in Credential.objects.filter(pk__in=[one.pk for one in issued])} == {"revoking"}
    assert Credential.objects.filter(generation=2, state="issued").count() == 4


def test_second_rotation_waits_until_the_first_one_is_over(world: World) -> None:
    old = issue(world.approved())
    more(old.agent_session, range(2, 3))
    newest = old.agent_session.credentials.get(generation=2)
    with pytest.raises(StateConflict, match="one of two that live"):
        lifecycle.rotate(newest.id, world.agent.reference)


def test_kill_names_a_hundred_credentials_and_counts_them_all(world: World) -> None:
    agent_session = issue(world.approved()).agent_session
    more(agent_session, range(2, 1602))
    lifecycle.kill(agent_session.id, world.security)
    data = events_of(agent_session.id)[-1]["data"]
    assert (len(data["revoking"]), data["revoking_count"]) == (100, 1601)


def test_request_whose_time_is_over_is_not_approved(world: World) -> None:
    late = world.request().agent_session
    AgentSession.objects.filter(pk=late.pk).update(decide_by=now() - timedelta(seconds=1))
    with pytest.raises(StateConflict, match="is lapsed now"):
        lifecycle.approve(late.id, world.lead, late.grant_hash)
