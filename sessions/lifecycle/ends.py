"""How sessions end, pause and go on."""

import uuid
from typing import Any

from django.db import transaction

from audit.event import FAILURE, SUCCESS, now
from sessions import policy
from sessions.lifecycle.changes import demand, end_credentials, event_of, locked, mintable, move, successor
from sessions.models import AgentSession, Credential, Person
from sessions.models.credentials import CredentialState
from sessions.models.runs import LIVE, EndReason, State
from sessions.parties import ISSUER, SWEEP, viewer

# An event has a longest body, and a kill must never reach it.
MOST_NAMED = 100


@transaction.atomic(durable=True)
def kill(agent_session_id: uuid.UUID, by: Person) -> AgentSession:
    """The switch. Writes the tombstone and asks for every revocation; waits for nothing else, the log included.

    Whoever kills begins the revocations (revoking.start): no worker is woken, so that none gets in their way. If they
    die first, the sweep begins them.
    """
    agent_session = locked(agent_session_id)
    demand(policy.may_kill(viewer(by), agent_session.team_id, agent_session.person_id))
    at = now()
    return _end(agent_session, EndReason.KILLED, by.reference, ended_at=at, killed_at=at, killed_by=by)


@transaction.atomic(durable=True)
def complete(agent_session_id: uuid.UUID, act: str, data: dict[str, Any] | None = None) -> AgentSession:
    """The agent, or the person for whom it ran, says that it is done."""
    return _end(locked(agent_session_id), EndReason.COMPLETED, act, data, ended_at=now())


@transaction.atomic(durable=True)
def expire(agent_session_id: uuid.UUID) -> AgentSession:
    return _end(locked(agent_session_id), EndReason.EXPIRED, SWEEP, ended_at=now())


@transaction.atomic(durable=True)
def end_for_finding(agent_session_id: uuid.UUID, finding: str) -> AgentSession:
    """Detection ended it."""
    return _end(locked(agent_session_id), EndReason.FINDING, SWEEP, {"finding": finding}, ended_at=now())


@transaction.atomic(durable=True)
def fail(agent_session_id: uuid.UUID, problem: str) -> AgentSession:
    """Its credentials cannot be minted, so it never starts."""
    return _end(locked(agent_session_id), EndReason.FAILED, ISSUER, {"problem": problem}, ended_at=now())


@transaction.atomic(durable=True)
def suspend(agent_session_id: uuid.UUID, by: Person) -> AgentSession:
    """Shut it for now. Its credentials are revoked or kept, as its profile says."""
    agent_session = locked(agent_session_id)
    demand(policy.may_kill(viewer(by), agent_session.team_id, agent_session.person_id))
    at = now()
    keep = agent_session.profile_version.content.get("on_suspend") == "keep"
    ended = [] if keep else end_credentials(_living(agent_session), "suspended", at)
    event = event_of(agent_session, "session.suspended", by.reference, {"revoking": [str(one) for one in ended]}, at=at)
    move(agent_session, [State.ACTIVE], State.SUSPENDED, event)
    return agent_session


@transaction.atomic(durable=True)
def resume(agent_session_id: uuid.UUID, by: Person) -> AgentSession:
    """Go on after a suspension, with new credentials where the old ones were revoked."""
    agent_session = locked(agent_session_id)
    demand(policy.may_resume(viewer(by), agent_session.team_id, agent_session.person_id))
    at = now()
    newest = agent_session.credentials.order_by("slot", "-generation").distinct("slot")
    intents = [
        successor(one, at) for one in newest if one.state not in (CredentialState.ISSUED, CredentialState.INTENT)
    ]
    move(
        agent_session, [State.SUSPENDED], State.ACTIVE, event_of(agent_session, "session.resumed", by.reference, at=at)
    )
    mintable(intent.id for intent in intents)
    return agent_session


def _living(agent_session: AgentSession) -> list[Credential]:
    return list(agent_session.credentials.filter(state__in=(CredentialState.INTENT, CredentialState.ISSUED)))


def _end(
    agent_session: AgentSession,
    reason: EndReason,
    act: str,
    data: dict[str, Any] | None = None,
    **changes: Any,
) -> AgentSession:
    at = changes["ended_at"]
    killed = reason == EndReason.KILLED
    ended = end_credentials(_living(agent_session), reason, at, wake_workers=not killed)
    event = event_of(
        agent_session,
        f"session.{reason}",
        act,
        {"revoking": [str(one) for one in ended[:MOST_NAMED]], "revoking_count": len(ended), **(data or {})},
        outcome=FAILURE if reason == EndReason.FAILED else SUCCESS,
        at=at,
    )
    expected = [State.APPROVED] if reason == EndReason.FAILED else LIVE
    move(agent_session, expected, State.ENDED, event, deferrable=killed, end_reason=reason, **changes)
    return agent_session
