"""Each lifecycle function appends exactly one event, in its own transaction. One without a scenario fails."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from audit.models import Event
from sessions import lifecycle
from sessions.models import Membership, Role
from tests import factories
from tests.factories import World, issue, minted

Act = Callable[[], Any]


def credential_of(world: World) -> Any:
    return issue(world.approved())


def ending(world: World) -> Any:
    """A revocation that waits for its worker."""
    credential = credential_of(world)
    lifecycle.kill(credential.agent_session_id, world.lead)
    return credential.revocation


def revoked(world: World) -> Any:
    revocation = ending(world)
    lifecycle.record_revoked(revocation.id, {})
    return revocation


def suspended(world: World) -> Any:
    credential = credential_of(world)
    lifecycle.suspend(credential.agent_session_id, world.lead)
    return credential.agent_session_id


def proposed(world: World) -> Any:
    return lifecycle.propose_profile_version(world.profile, factories.CONTENT, world.admin)


def held(world: World) -> Any:
    return lifecycle.place_hold("person", world.lead.id, world.admin, "Case 7")


def intent(world: World) -> Any:
    return world.approved().credentials.get()


def late(world: World) -> Act:
    credential = intent(world)
    lifecycle.kill(credential.agent_session_id, world.lead)
    return lambda: lifecycle.record_late(credential.id, minted())


def gateway(world: World) -> Any:
    return factories.gateway()[0]


def holding(world: World) -> Act:
    credential = credential_of(world)
    one = gateway(world)
    lifecycle.record_hold(one, credential.agent_session_id)
    return lambda: lifecycle.record_cuts(one, [factories.cut(credential.agent_session_id)])


def running(world: World) -> Any:
    return credential_of(world).agent_session_id


def wished(world: World) -> Any:
    """An addition that waits for a decision."""
    return lifecycle.request_addition(running(world), factories.wish())


def bound(function: Callable[..., Any], first: Any, *rest: Any) -> Act:
    return lambda: function(first, *rest)


def decided(function: Callable[..., Any], world: World) -> Act:
    agent_session = world.request().agent_session
    return lambda: function(agent_session.id, world.lead, agent_session.grant_hash)


def decided_on(function: Callable[..., Any], world: World) -> Act:
    addition = wished(world)
    return lambda: function(addition.id, world.lead, addition.sha256)


SCENARIOS: dict[str, Callable[[World], Act]] = {
    "request_session": lambda w: lambda: w.request(),
    "approve": lambda w: decided(lifecycle.approve, w),
    "deny": lambda w: decided(lifecycle.deny, w),
    "withdraw": lambda w: bound(lifecycle.withdraw, w.request().agent_session.id, w.requester.reference),
    "lapse": lambda w: bound(lifecycle.lapse, w.request().agent_session.id),
    "request_addition": lambda w: bound(lifecycle.request_addition, running(w), factories.wish()),
    "approve_addition": lambda w: decided_on(lifecycle.approve_addition, w),
    "deny_addition": lambda w: decided_on(lifecycle.deny_addition, w),
    "lapse_addition": lambda w: bound(lifecycle.lapse_addition, wished(w).id),
    "record_verification": lambda w: bound(lifecycle.record_verification, w.agent, factories.verified()),
    "record_issued": lambda w: bound(lifecycle.record_issued, intent(w).id, minted()),
    "record_late": late,
    "activate": lambda w: bound(lifecycle.activate, w.approved().id),
    "replace": lambda w: bound(lifecycle.replace, intent(w).id, "the worker was lost", 0),
    "rotate": lambda w: bound(lifecycle.rotate, credential_of(w).id),
    "deliver": lambda w: bound(lifecycle.deliver, credential_of(w).id),
    "issue_session_token": lambda w: bound(lifecycle.issue_session_token, w.approved().id),
    "request_revocation": lambda w: bound(
        lifecycle.request_revocation, credential_of(w).id, "rotated", "service:sweep"
    ),
    "record_revoked": lambda w: bound(lifecycle.record_revoked, ending(w).id, {}),
    "record_proven": lambda w: bound(lifecycle.record_proven, revoked(w).id, {}),
    "record_expired_unrevoked": lambda w: bound(lifecycle.record_expired_unrevoked, ending(w).id, {}),
    "record_unprovable": lambda w: bound(lifecycle.record_unprovable, revoked(w).id, {}),
    "kill_all": lambda w: bound(lifecycle.kill_all, [credential_of(w).agent_session_id], w.security),
    "kill_credential": lambda w: bound(lifecycle.kill_credential, credential_of(w).id, w.security),
    "order_kill": lambda w: bound(lifecycle.order_kill, w.security),
    "confirm_kill": lambda w: bound(lifecycle.confirm_kill, lifecycle.order_kill(w.lead).id, w.security),
    "kill": lambda w: bound(lifecycle.kill, credential_of(w).agent_session_id, w.security),
    "complete": lambda w: bound(lifecycle.complete, credential_of(w).agent_session_id, w.agent.reference),
    "expire": lambda w: bound(lifecycle.expire, credential_of(w).agent_session_id),
    "end_for_finding": lambda w: bound(lifecycle.end_for_finding, credential_of(w).agent_session_id, "leak"),
    "fail": lambda w: bound(lifecycle.fail, w.approved().id, "the target is gone"),
    "suspend": lambda w: bound(lifecycle.suspend, credential_of(w).agent_session_id, w.lead),
    "resume": lambda w: bound(lifecycle.resume, suspended(w), w.lead),
    "create_team": lambda w: bound(lifecycle.create_team, "another-team", "Another team", w.admin),
    "grant_role": lambda w: bound(lifecycle.grant_role, w.team, w.stranger, Role.AUDITOR, w.admin),
    "end_role": lambda w: bound(lifecycle.end_role, Membership.objects.get(person=w.lead).pk, w.admin),
    "register_agent": lambda w: bound(lifecycle.register_agent, w.team, w.requester, "another", "codex"),
    "issue_agent_key": lambda w: bound(lifecycle.issue_agent_key, w.agent, w.requester),
    "revoke_agent_key": lambda w: bound(lifecycle.revoke_agent_key, w.agent.keys.get().id, w.security),
    "create_profile": lambda w: bound(lifecycle.create_profile, w.team, "another", "Another", w.lead),
    "propose_profile_version": lambda w: bound(
        lifecycle.propose_profile_version, w.profile, factories.CONTENT, w.admin
    ),
    "publish_profile_version": lambda w: bound(lifecycle.publish_profile_version, proposed(w).id, w.lead),
    "erase_person": lambda w: bound(lifecycle.erase_person, w.lead, w.admin, "They left"),
    "place_hold": lambda w: bound(lifecycle.place_hold, "team", w.team.id, w.security, "Case 7"),
    "release_hold": lambda w: bound(lifecycle.release_hold, held(w).id, w.security, "Case closed"),
    "add_gateway": lambda w: bound(lifecycle.add_gateway, "edge-1", "service:operator"),
    "retire_gateway": lambda w: bound(lifecycle.retire_gateway, gateway(w).id, w.security),
    "record_hold": lambda w: bound(lifecycle.record_hold, gateway(w), credential_of(w).agent_session_id),
    "record_cuts": holding,
    "add_person": lambda w: bound(lifecycle.add_person, w.team, "new@example.test", "New Person", Role.LEAD, w.admin),
}
FUNCTIONS = sorted(name for name in lifecycle.__all__ if inspect.isfunction(getattr(lifecycle, name)))


def test_every_lifecycle_function_is_walked() -> None:
    assert sorted(SCENARIOS) == FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lifecycle_function_appends_exactly_one_event(world: World, name: str) -> None:
    act = SCENARIOS[name](world)
    before = Event.objects.count()
    act()
    assert Event.objects.count() == before + 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lifecycle_function_is_one_durable_transaction(name: str) -> None:
    around = inspect.getclosurevars(getattr(lifecycle, name)).nonlocals["self"]
    assert isinstance(around, transaction.Atomic)
    assert around.durable


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lifecycle_function_without_the_log_changes_nothing(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the log cannot be written, nothing is granted or moved: except a kill, which goes ahead."""
    act = SCENARIOS[name](world)

    def broken(*args: Any) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr("audit.log._row", broken)
    with pytest.raises(RuntimeError, match="no log"):
        act()
