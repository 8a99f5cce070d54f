"""What every change of state is made of: a lock, a compare-and-swap, a transition row, one event."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from audit import log, notices
from audit.event import SUCCESS, NewEvent, now
from sessions import wake
from sessions.errors import Forbidden, StateConflict
from sessions.gateways import notices as gateway_notices
from sessions.models import AgentSession, Credential, Revocation, Transition
from sessions.models.credentials import CredentialState
from sessions.models.runs import LIVE, State
from sessions.parties import agent_of, person_of
from sessions.policy import Verdict


def demand(verdict: Verdict) -> None:
    if not verdict:
        raise Forbidden(verdict.why)


def locked(agent_session_id: uuid.UUID) -> AgentSession:
    """The session under its row lock, which every change of it takes first."""
    return AgentSession.objects.select_for_update().get(pk=agent_session_id)


def event_of(
    agent_session: AgentSession,
    kind: str,
    act: str,
    data: Mapping[str, Any] | None = None,
    *,
    outcome: str = SUCCESS,
    at: datetime | None = None,
) -> NewEvent:
    """An event of the session's own stream. It names the person, the one who acted, and the agent."""
    return NewEvent(
        kind=kind,
        stream=agent_session.id,
        sub=person_of(agent_session),
        act=act,
        agent=agent_of(agent_session),
        session=agent_session.id,
        data={"grant_hash": agent_session.grant_hash, **(data or {})},
        outcome=outcome,
        occurred_at=at or now(),
    )


def move(
    agent_session: AgentSession,
    expected: Iterable[str],
    to: str,
    event: NewEvent,
    *,
    deferrable: bool = False,
    **changes: Any,
) -> None:
    """Change the state, note who did it, and append its event; raise StateConflict if somebody was first."""
    expected = tuple(expected)
    before = agent_session.state
    changed = AgentSession.objects.filter(pk=agent_session.pk, state__in=expected, killed_at=None).update(
        state=to, **changes
    )
    if not changed:
        found = AgentSession.objects.values_list("state", flat=True).get(pk=agent_session.pk)
        raise StateConflict("session", expected=expected, found=found)
    for name, value in {"state": to, **changes}.items():
        setattr(agent_session, name, value)
    Transition.objects.create(
        agent_session=agent_session, from_state=before, to_state=to, act=event.act, event=event.id, at=event.occurred_at
    )
    if deferrable:
        log.append_or_defer(event)
    else:
        log.append(event)
    notices.after_commit(notices.state_topic(agent_session.pk))
    notices.after_commit(notices.FLEET)
    if to == State.ACTIVE:
        policy_changed(agent_session.pk)
    elif before in LIVE:
        gateway_notices.after_commit(over=[agent_session.pk])


def policy_changed(agent_session_id: uuid.UUID) -> None:
    """What gateways may pass on for a session, or what they add to it, is another from this transaction on."""
    AgentSession.objects.filter(pk=agent_session_id).update(policy_serial=F("policy_serial") + 1)
    gateway_notices.after_commit(changed=[agent_session_id])


def note_ends(ended: Sequence[AgentSession], events: Sequence[NewEvent]) -> None:
    """What move() writes and tells, for many that were live and are over now; each event is that of its session."""
    Transition.objects.bulk_create(
        Transition(
            agent_session=one,
            from_state=one.state,
            to_state=State.ENDED,
            act=event.act,
            event=event.id,
            at=event.occurred_at,
        )
        for one, event in zip(ended, events, strict=True)
    )
    log.append_or_defer(*events)
    for one in ended:
        notices.after_commit(notices.state_topic(one.pk))
    notices.after_commit(notices.FLEET)
    gateway_notices.after_commit(over=[one.pk for one in ended])


def end_all_credentials(living: QuerySet[Credential], reason: str, at: datetime) -> list[Credential]:
    """As end_credentials(), for many sessions whose locks are held. No worker is woken."""
    found = list(living.only("id", "agent_session_id"))
    Credential.objects.filter(pk__in=[one.pk for one in found]).update(state=CredentialState.REVOKING)
    Revocation.objects.bulk_create(
        Revocation(credential=one, reason=reason, requested_at=at, next_attempt_at=at) for one in found
    )
    return found


def end_credentials(
    credentials: Iterable[Credential], reason: str, at: datetime, *, wake_workers: bool = True
) -> list[uuid.UUID]:
    """Ask for the end of each credential that may be alive; workers are woken when the transaction commits."""
    made = []
    for credential in credentials:
        changed = Credential.objects.filter(
            pk=credential.pk, state__in=(CredentialState.INTENT, CredentialState.ISSUED)
        ).update(state=CredentialState.REVOKING)
        if changed:
            made.append(Revocation(credential=credential, reason=reason, requested_at=at, next_attempt_at=at))
    Revocation.objects.bulk_create(made)
    ids = [revocation.id for revocation in made]
    if wake_workers:
        transaction.on_commit(partial(wake.revocations, ids))
    return [revocation.credential_id for revocation in made]


def mintable(credential_ids: Iterable[uuid.UUID]) -> None:
    """Wake an issuing worker for each intent when the transaction commits."""
    transaction.on_commit(partial(wake.mints, list(credential_ids)))


def successor(credential: Credential, due: datetime) -> Credential:
    """The intent of the next generation of a credential, for the same part of the grant."""
    return Credential.objects.create(
        agent_session_id=credential.agent_session_id,
        provider=credential.provider,
        slot=credential.slot,
        generation=credential.generation + 1,
        details=bytes(credential.details),
        grant_hash=credential.grant_hash,
        ttl_s=credential.ttl_s,
        created_at=now(),
        next_attempt_at=due,
    )
