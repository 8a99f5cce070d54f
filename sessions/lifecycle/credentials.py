"""From an intent to a delivered credential, and from a live one to its successor."""

import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from audit import envelope, log, notices
from audit.envelope import Sealed
from audit.event import FAILURE, NewEvent, now
from sessions import leaks, policy, tokens
from sessions.errors import StateConflict
from sessions.lifecycle.changes import (
    demand,
    end_credentials,
    event_of,
    locked,
    mintable,
    move,
    policy_changed,
    successor,
)
from sessions.models import AgentSession, Credential, Person, Revocation
from sessions.models.credentials import CredentialState
from sessions.models.runs import State
from sessions.parties import ISSUER, REVOKER, SWEEP, agent_of, viewer
from sessions.providers import registry
from sessions.providers.contract import Minted

EVER = Q()


@transaction.atomic(durable=True)
def record_issued(credential_id: uuid.UUID, minted: Minted) -> Credential:
    """The intent was minted. Raises StateConflict if its session ended meanwhile: then it is for record_late."""
    agent_session, credential = _locked(credential_id)
    if agent_session.killed_at or agent_session.state not in (State.APPROVED, State.ACTIVE):
        raise StateConflict("session", expected=[State.APPROVED, State.ACTIVE], found=agent_session.state)
    sealed = envelope.seal(minted.secret, str(credential.id))
    _change(
        credential,
        [CredentialState.INTENT],
        CredentialState.ISSUED,
        handle=dict(minted.handle),
        sealed=sealed.blob,
        sealed_with=sealed.key_id,
        issued_at=now(),
        expires_at=minted.expires_at,
        claimed_until=None,
        problem="",
    )
    leaks.remember(credential, minted.secret)
    log.append(_event(agent_session, credential, "credential.issued", ISSUER, {"expires_at": str(minted.expires_at)}))
    if agent_session.state == State.ACTIVE:
        notices.after_commit(notices.state_topic(agent_session.pk))
        policy_changed(agent_session.pk)
    return credential


@transaction.atomic(durable=True)
def record_late(credential_id: uuid.UUID, minted: Minted) -> Revocation:
    """A credential came after its session had ended: keep what is needed to kill it, and have it killed again."""
    agent_session, credential = _locked(credential_id)
    sealed = envelope.seal(minted.secret, str(credential.id))
    _change(
        credential,
        [state for state in CredentialState.values if state != CredentialState.ISSUED],
        CredentialState.REVOKING,
        handle=dict(minted.handle),
        sealed=sealed.blob,
        sealed_with=sealed.key_id,
        issued_at=now(),
        expires_at=minted.expires_at,
        claimed_until=None,
    )
    leaks.remember(credential, minted.secret)
    at = now()
    revocation, _ = Revocation.objects.update_or_create(
        credential=credential,
        defaults={"next_attempt_at": at, "revoked_at": None, "proven_at": None, "given_up_at": None},
        create_defaults={"reason": "late", "requested_at": at, "next_attempt_at": at},
    )
    revocation.steps.filter(done=True).update(done=False)
    log.append(_event(agent_session, credential, "credential.late", ISSUER, outcome=FAILURE))
    return revocation


@transaction.atomic(durable=True)
def activate(agent_session_id: uuid.UUID) -> AgentSession:
    """All credentials are there: the clock of the session starts now."""
    agent_session = locked(agent_session_id)
    at = now()
    ends_at = at + timedelta(seconds=agent_session.duration_s)
    event = event_of(agent_session, "session.active", ISSUER, {"ends_at": str(ends_at)}, at=at)
    move(agent_session, [State.APPROVED], State.ACTIVE, event, active_at=at, ends_at=ends_at)
    return agent_session


@transaction.atomic(durable=True)
def replace(credential_id: uuid.UUID, problem: str, delay_s: float) -> Credential:
    """Minting broke off half-way: have what may exist reaped, and try again under a new name."""
    agent_session, credential = _locked(credential_id)
    at = now()
    _change(credential, [CredentialState.INTENT], CredentialState.INTENT, problem=problem[:300], claimed_until=None)
    end_credentials([credential], "reaped", at)
    heir = successor(credential, at + timedelta(seconds=delay_s))
    log.append(
        _event(
            agent_session,
            credential,
            "credential.replaced",
            ISSUER,
            {"problem": problem[:300], "successor": str(heir.id)},
            outcome=FAILURE,
        )
    )
    return heir


@transaction.atomic(durable=True)
def rotate(credential_id: uuid.UUID, act: str = SWEEP) -> Credential:
    """Write the intent of the successor of a live credential. The old one lives on until the new one is in use."""
    agent_session, credential = _locked(credential_id)
    newest, *older = agent_session.credentials.filter(slot=credential.slot).order_by("-generation")
    if agent_session.state != State.ACTIVE or newest != credential or newest.state != CredentialState.ISSUED:
        raise StateConflict("credential", expected=["issued, newest, session active"], found=newest.state)
    if any(one.state == CredentialState.ISSUED for one in older):
        raise StateConflict("credential", expected=["its predecessor dead"], found="one of two that live")
    heir = successor(credential, now())
    log.append(_event(agent_session, credential, "credential.rotating", act, {"successor": str(heir.id)}))
    mintable([heir.id])
    return heir


@transaction.atomic(durable=True)
def deliver(credential_id: uuid.UUID) -> dict[str, Any]:
    """Hand the secret to the agent, once. Raises StateConflict if that was done, or is too late."""
    agent_session, credential = _locked(credential_id)
    if agent_session.killed_at or agent_session.state != State.ACTIVE:
        raise StateConflict("session", expected=[State.ACTIVE], found=agent_session.state)
    if credential.provider in registry.FOR_GATEWAYS:
        raise StateConflict("credential", expected=["one that agents may hold"], found="kept from agents")
    if credential.delivered_at is not None:
        raise StateConflict("credential", expected=["not delivered"], found="delivered")
    undelivered = Q(delivered_at=None)
    _change(credential, [CredentialState.ISSUED], CredentialState.ISSUED, undelivered, delivered_at=now())
    assert credential.sealed is not None
    secret = envelope.unseal(Sealed(credential.sealed_with, bytes(credential.sealed)), str(credential.id))
    log.append(_event(agent_session, credential, "credential.delivered", agent_of(agent_session)))
    return secret


@transaction.atomic(durable=True)
def issue_session_token(agent_session_id: uuid.UUID) -> str:
    """The session's bearer token, for the agent that polled with the device code; once."""
    agent_session = locked(agent_session_id)
    token = tokens.new(tokens.SESSION_TOKEN)
    changed = AgentSession.objects.filter(
        pk=agent_session.pk, token_digest=None, state__in=(State.APPROVED, State.ACTIVE), killed_at=None
    ).update(token_digest=tokens.digest(token), proxy_digest=tokens.digest(tokens.proxy_secret(token)))
    if not changed:
        raise StateConflict("session token", expected=["not given out"], found="given out")
    log.append(event_of(agent_session, "session.token_issued", agent_of(agent_session)))
    return token


@transaction.atomic(durable=True)
def request_revocation(credential_id: uuid.UUID, reason: str, act: str) -> None:
    """Ask for the end of one credential, the session going on: it was rotated, or its time is up."""
    agent_session, credential = _locked(credential_id)
    if not end_credentials([credential], reason, now()):
        raise StateConflict("credential", expected=[CredentialState.ISSUED], found=credential.state)
    log.append(_event(agent_session, credential, "credential.revocation_requested", act, {"reason": reason}))


@transaction.atomic(durable=True)
def kill_credential(credential_id: uuid.UUID, by: Person) -> None:
    """The switch for one credential: the session goes on without it. Whoever kills begins the revocation."""
    agent_session, credential = _locked(credential_id)
    demand(policy.may_kill(viewer(by), agent_session.team_id, agent_session.person_id))
    if not end_credentials([credential], "killed", now(), wake_workers=False):
        raise StateConflict("credential", expected=[CredentialState.ISSUED], found=credential.state)
    data = {"reason": "killed"}
    log.append(_event(agent_session, credential, "credential.revocation_requested", by.reference, data))
    notices.after_commit(notices.state_topic(agent_session.pk))
    if agent_session.state == State.ACTIVE:
        policy_changed(agent_session.pk)


@transaction.atomic(durable=True)
def record_revoked(revocation_id: uuid.UUID, evidence: dict[str, Any]) -> None:
    """Each provider that had to act has acted. It is not proven yet."""
    _finish(revocation_id, CredentialState.REVOKING, CredentialState.REVOKED, "revoked_at", evidence)


@transaction.atomic(durable=True)
def record_proven(revocation_id: uuid.UUID, evidence: dict[str, Any]) -> None:
    """The credential was tried and refused. Its secret is no longer needed, and is destroyed."""
    _finish(revocation_id, CredentialState.REVOKED, CredentialState.PROVEN, "proven_at", evidence, sealed=None)


@transaction.atomic(durable=True)
def record_unprovable(revocation_id: uuid.UUID, evidence: dict[str, Any]) -> None:
    """It was never in an agent's hands, and lives on where it was kept: it is revoked, and nothing can prove it."""
    _finish(revocation_id, CredentialState.REVOKED, CredentialState.UNPROVABLE, "given_up_at", evidence, sealed=None)


@transaction.atomic(durable=True)
def record_expired_unrevoked(revocation_id: uuid.UUID, evidence: dict[str, Any]) -> None:
    """It died by itself before it could be revoked: we say so, and never call it revoked."""
    _finish(
        revocation_id, CredentialState.REVOKING, CredentialState.EXPIRED_UNREVOKED, "given_up_at", evidence, sealed=None
    )


def _finish(
    revocation_id: uuid.UUID, before: str, after: str, stamp: str, evidence: dict[str, Any], **changes: Any
) -> None:
    revocation = Revocation.objects.get(pk=revocation_id)
    agent_session, credential = _locked(revocation.credential_id)
    standing = set(revocation.steps.filter(done=True).values_list("name", flat=True))
    if after != CredentialState.EXPIRED_UNREVOKED and not standing.issuperset(evidence):
        raise StateConflict("revocation", expected=sorted(evidence), found="to be done again")
    _change(credential, [before], after, **changes)
    at = now()
    Revocation.objects.filter(pk=revocation_id).update(**{stamp: at})
    elapsed_ms = round((at - revocation.requested_at).total_seconds() * 1000)
    data = {"reason": revocation.reason, "elapsed_ms": elapsed_ms, "evidence": evidence}
    outcome = FAILURE if after == CredentialState.EXPIRED_UNREVOKED else "success"
    log.append(_event(agent_session, credential, f"credential.{after}", REVOKER, data, outcome=outcome))


def _locked(credential_id: uuid.UUID) -> tuple[AgentSession, Credential]:
    """The credential under its session's lock.

    Whoever waited for the lock has the session as it is now and the credential as it was before: what must still
    be true of the credential is asked in the update that changes it.
    """
    both = Credential.objects.select_related("agent_session").select_for_update(of=("agent_session",))
    credential = both.get(pk=credential_id)
    return credential.agent_session, credential


def _change(credential: Credential, expected: list[str], to: str, still: Q = EVER, **changes: Any) -> None:
    changed = Credential.objects.filter(still, pk=credential.pk, state__in=expected).update(state=to, **changes)
    if not changed:
        raise StateConflict("credential", expected=expected, found=credential.state)
    for name, value in {"state": to, **changes}.items():
        setattr(credential, name, value)


def _event(
    agent_session: AgentSession,
    credential: Credential,
    kind: str,
    act: str,
    data: dict[str, Any] | None = None,
    *,
    outcome: str = "success",
) -> NewEvent:
    about = {
        "credential": str(credential.id),
        "name": credential.name,
        "slot": credential.slot,
        "generation": credential.generation,
        "credential_grant_hash": credential.grant_hash,
    }
    return event_of(agent_session, kind, act, {**about, **(data or {})}, outcome=outcome)
