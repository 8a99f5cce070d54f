"""How sessions end, pause and go on."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from audit.event import FAILURE, SUCCESS, NewEvent, now
from sessions import policy
from sessions.lifecycle.changes import (
    demand,
    end_all_credentials,
    end_credentials,
    event_of,
    locked,
    mintable,
    move,
    note_ends,
    successor,
)
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
def kill_all(agent_session_ids: Collection[uuid.UUID], by: Person) -> list[uuid.UUID]:
    """The switch for many: a tombstone for each that is live and that the person may kill. Returns which.

    As kill() does it, in one transaction and with as few statements for a thousand as for one.
    """
    watcher, at = viewer(by), now()
    live = AgentSession.objects.select_for_update().filter(pk__in=agent_session_ids, state__in=LIVE, killed_at=None)
    found = [one for one in live.order_by("pk") if policy.may_kill(watcher, one.team_id, one.person_id)]
    ids = [one.pk for one in found]
    killed = {"end_reason": EndReason.KILLED, "ended_at": at, "killed_at": at, "killed_by": by}
    AgentSession.objects.filter(pk__in=ids).update(state=State.ENDED, **killed)
    ended: dict[uuid.UUID, list[uuid.UUID]] = {}
    living = Credential.objects.filter(
        agent_session__in=ids, state__in=(CredentialState.INTENT, CredentialState.ISSUED)
    )
    for credential in end_all_credentials(living, EndReason.KILLED, at):
        ended.setdefault(credential.agent_session_id, []).append(credential.pk)
    note_ends(found, [_end_event(one, EndReason.KILLED, by.reference, at, ended.get(one.pk, ())) for one in found])
    return ids


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
    event = _end_event(agent_session, reason, act, at, ended, data)
    expected = [State.APPROVED] if reason == EndReason.FAILED else LIVE
    move(agent_session, expected, State.ENDED, event, deferrable=killed, end_reason=reason, **changes)
    return agent_session


def _end_event(
    agent_session: AgentSession,
    reason: EndReason,
    act: str,
    at: datetime,
    ended: Sequence[uuid.UUID],
    data: dict[str, Any] | None = None,
) -> NewEvent:
    return event_of(
        agent_session,
        f"session.{reason}",
        act,
        {"revoking": [str(one) for one in ended[:MOST_NAMED]], "revoking_count": len(ended), **(data or {})},
        outcome=FAILURE if reason == EndReason.FAILED else SUCCESS,
        at=at,
    )
