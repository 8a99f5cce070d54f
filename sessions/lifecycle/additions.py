"""More for a session that runs: asked for by its agent, decided like the session itself, with an end of its own."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction

from audit import canonical, log, notices
from audit.event import DENIED, now
from sessions import policy
from sessions.errors import GrantChanged, Invalid, StateConflict
from sessions.lifecycle.changes import demand, event_of, locked, policy_changed
from sessions.models import Addition, AgentSession, Person
from sessions.models.additions import AdditionState
from sessions.models.runs import LIVE, State
from sessions.parties import SWEEP, agent_of, viewer
from sessions.providers import egress, registry

DECIDE_WITHIN = timedelta(minutes=30)
SHORTEST_S, LONGEST_S, LONGEST_REASON = 60, 86_400, 500
MOST_OPEN, MOST_IN_ALL = 3, 40
# After a denial an agent is to work, not to ask again.
AFTER_DENIAL = timedelta(minutes=2)


@dataclass(frozen=True)
class Wish:
    """What the agent asks for, and why."""

    details: Sequence[dict[str, Any]]
    reason: str
    duration_s: int


@transaction.atomic(durable=True)
def request_addition(agent_session_id: uuid.UUID, wish: Wish) -> Addition:
    """Raises Invalid with a sentence for each thing that cannot be added, StateConflict where the session is over."""
    agent_session = locked(agent_session_id)
    if agent_session.state not in LIVE:
        raise StateConflict("session", expected=LIVE, found=agent_session.state)
    at = now()
    problems = [*_wish_problems(agent_session, wish), *_pressing(agent_session)]
    if problems:
        raise Invalid(problems)
    number = agent_session.additions.count() + 1
    content = {
        "v": 1,
        "session": str(agent_session.id),
        "number": number,
        "authorization_details": list(wish.details),
        "reason": wish.reason.strip()[:LONGEST_REASON],
        "duration": wish.duration_s,
    }
    body = canonical.dumps(content)
    addition = Addition.objects.create(
        agent_session=agent_session,
        number=number,
        body=body,
        sha256=canonical.sha256(body),
        requested_at=at,
        decide_by=min(at + DECIDE_WITHIN, agent_session.ends_at or at + DECIDE_WITHIN),
        on_behalf_of_id=agent_session.person_id,
    )
    told = {"number": number, "addition": content, "addition_hash": addition.sha256}
    log.append(event_of(agent_session, "addition.requested", agent_of(agent_session), told, at=at))
    _notify(agent_session)
    return addition


@transaction.atomic(durable=True)
def approve_addition(addition_id: uuid.UUID, by: Person, sha256: str) -> Addition:
    """Exactly what has this hash. It begins now, and gateways hear of it at once."""
    addition, agent_session = _open(addition_id, sha256)
    demand(policy.may_decide(viewer(by), agent_session.team_id, agent_session.person_id))
    if agent_session.state != State.ACTIVE or agent_session.ends_at is None:
        raise StateConflict("session", expected=[State.ACTIVE], found=agent_session.state)
    at = now()
    addition.state, addition.decided_by, addition.decided_at = AdditionState.APPROVED, by, at
    addition.ends_at = min(at + timedelta(seconds=addition.content["duration"]), agent_session.ends_at)
    addition.save(update_fields=["state", "decided_by", "decided_at", "ends_at"])
    told = {"number": addition.number, "addition_hash": sha256, "ends_at": str(addition.ends_at)}
    log.append(event_of(agent_session, "addition.approved", by.reference, told, at=at))
    policy_changed(agent_session.pk)
    _notify(agent_session)
    return addition


@transaction.atomic(durable=True)
def deny_addition(addition_id: uuid.UUID, by: Person, sha256: str, reason: str = "") -> Addition:
    addition, agent_session = _open(addition_id, sha256)
    demand(policy.may_deny(viewer(by), agent_session.team_id, agent_session.person_id))
    at = now()
    addition.state, addition.decided_by, addition.decided_at = AdditionState.DENIED, by, at
    addition.denial = reason.strip()[:LONGEST_REASON]
    addition.save(update_fields=["state", "decided_by", "decided_at", "denial"])
    told = {"number": addition.number, "addition_hash": sha256, "reason": addition.denial}
    log.append(event_of(agent_session, "addition.denied", by.reference, told, outcome=DENIED, at=at))
    _notify(agent_session)
    return addition


@transaction.atomic(durable=True)
def lapse_addition(addition_id: uuid.UUID) -> Addition:
    """Nobody decided in time, or the session is over."""
    addition = Addition.objects.get(pk=addition_id)
    agent_session = locked(addition.agent_session_id)
    if not Addition.objects.filter(pk=addition_id, state=AdditionState.REQUESTED).update(state=AdditionState.LAPSED):
        found = Addition.objects.values_list("state", flat=True).get(pk=addition_id)
        raise StateConflict("request", expected=[AdditionState.REQUESTED], found=found)
    log.append(event_of(agent_session, "addition.lapsed", SWEEP, {"number": addition.number}))
    _notify(agent_session)
    return addition


def _open(addition_id: uuid.UUID, sha256: str) -> tuple[Addition, AgentSession]:
    """Both, under the session's lock."""
    agent_session = locked(Addition.objects.values_list("agent_session_id", flat=True).get(pk=addition_id))
    addition = Addition.objects.get(pk=addition_id)
    found = AdditionState.LAPSED if addition.decide_by < now() else addition.state
    if addition.state != AdditionState.REQUESTED or found != AdditionState.REQUESTED:
        raise StateConflict("request", expected=[AdditionState.REQUESTED], found=found)
    if addition.sha256 != sha256:
        raise GrantChanged(expected=sha256, found=addition.sha256)
    return addition, agent_session


def _wish_problems(agent_session: AgentSession, wish: Wish) -> list[str]:
    if not wish.reason.strip():
        return ["Say why the session needs more: the lead reads it."]
    if not SHORTEST_S <= wish.duration_s <= LONGEST_S:
        return [f"The duration must be between {SHORTEST_S} and {LONGEST_S} seconds."]
    details = list(wish.details)
    if problems := registry.problems_of(details):
        return list(problems)
    if any(each["type"] != egress.TYPE for each in details):
        return ["Only egress can be added to a session that runs. Ask for a new session for other credentials."]
    granted = agent_session.grant.content["authorization_details"]
    return registry.problems_between([*granted, *_added(agent_session), *details])


def _added(agent_session: AgentSession) -> list[dict[str, Any]]:
    alive = agent_session.additions.filter(state=AdditionState.APPROVED, ends_at__gt=now())
    return [each for addition in alive for each in addition.content["authorization_details"]]


def _pressing(agent_session: AgentSession) -> list[str]:
    """Why the agent has to wait before it asks again."""
    additions = agent_session.additions
    if additions.filter(state=AdditionState.REQUESTED).count() >= MOST_OPEN:
        return [f"{MOST_OPEN} requests of this session wait for a decision. Wait for one of them."]
    if additions.count() >= MOST_IN_ALL:
        return [f"This session has asked for more {MOST_IN_ALL} times. Ask for a new session that fits the work."]
    last = additions.filter(state=AdditionState.DENIED).order_by("-decided_at").first()
    if last is not None and last.decided_at is not None and last.decided_at > now() - AFTER_DENIAL:
        seconds = (last.decided_at + AFTER_DENIAL - now()).total_seconds()
        return [f"The last request was denied just now. Do without it, or ask again in {seconds:.0f} seconds."]
    return []


def _notify(agent_session: AgentSession) -> None:
    notices.after_commit(notices.state_topic(agent_session.pk))
    notices.after_commit(notices.FLEET)
