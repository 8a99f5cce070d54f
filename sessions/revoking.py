"""Revoking: each step of a credential's end, tried until it is done or the credential has died by itself.

A step that was done is not asked for again. What one provider or step does never delays another credential's.
"""

import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import structlog
from django.db import close_old_connections

from audit import notices
from audit.event import now
from sessions import claims, envelope, lifecycle
from sessions.envelope import Sealed
from sessions.errors import StateConflict
from sessions.issuing import backoff_s
from sessions.models import Credential, Revocation, RevocationStep
from sessions.models.credentials import CredentialState
from sessions.providers import registry
from sessions.providers.contract import CredentialError, Held, Outcome, Step

logger = structlog.get_logger()

AT_ONCE = 16
UNSETTLED_RETRY_S = 0.5
LOOK_AGAIN_AFTER_EXPIRY_S = 5

_pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="revoke")


def start(revocation_ids: Iterable[uuid.UUID]) -> list[Future[None]]:
    """Begin at once in this process, needing neither broker nor worker. A claim keeps others off the same row."""
    return [_pool.submit(_run_and_close, revocation_id) for revocation_id in revocation_ids]


def run(revocation_id: uuid.UUID) -> None:
    """Try every step that is not done yet, and record how far that brought it."""
    claim = claims.revoke(revocation_id)
    if claim is None:
        return
    revocation = Revocation.objects.select_related("credential").get(pk=revocation_id)
    if _being_minted(revocation.credential):
        claims.release_revocation(claim, UNSETTLED_RETRY_S)
        return
    steps = registry.provider(revocation.credential.provider).steps(_held(revocation.credential))
    earlier = revocation.steps.filter(done=True).values_list("name", flat=True)
    settled = set(earlier) if claim.attempt > 1 else set()
    rows = [_try(revocation, step, claim.attempt) for step in steps if step.name not in settled]
    done = settled | {row.name for row in rows if row.done}
    _conclude(claim, revocation, steps, done)


def _run_and_close(revocation_id: uuid.UUID) -> None:
    try:
        run(revocation_id)
    except Exception:
        # Nobody waits for this thread's answer; the row stays due and the sweep tries it again.
        logger.exception("revocation_broke", revocation=str(revocation_id))
    finally:
        close_old_connections()


def _being_minted(credential: Credential) -> bool:
    """Whether a worker may still be minting it. Nobody was given it yet, and what it mints is not known before."""
    return credential.claimed_until is not None and credential.claimed_until > now()


def _held(credential: Credential) -> Held:
    secret = None
    if credential.sealed is not None:
        secret = envelope.unseal(Sealed(credential.sealed_with, bytes(credential.sealed)), str(credential.id))
    return Held(name=credential.name, details=credential.content, handle=credential.handle, secret=secret)


def _try(revocation: Revocation, step: Step, attempt: int) -> RevocationStep:
    began = time.perf_counter_ns()
    try:
        outcome = step.run()
    except CredentialError as error:
        outcome = Outcome(False, {"problem": str(error)})
    row = RevocationStep.objects.create(
        revocation=revocation,
        attempt=attempt,
        name=step.name,
        kind=step.kind,
        label=step.label,
        done=outcome.done,
        evidence=dict(outcome.evidence),
        at=now(),
        elapsed_us=(time.perf_counter_ns() - began) // 1000,
    )
    notices.publish(notices.stream_topic(revocation.credential.agent_session_id))
    return row


def _conclude(claim: claims.Claim, revocation: Revocation, steps: Sequence[Step], done: set[str]) -> None:
    missing = {
        kind: [step.name for step in steps if step.kind == kind and step.name not in done]
        for kind in RevocationStep.Kind.values
    }
    credential = revocation.credential
    try:
        if not missing["revoke"] and credential.state == CredentialState.REVOKING:
            lifecycle.record_revoked(revocation.id, _evidence(revocation, "revoke"))
            credential.state = CredentialState.REVOKED
        if not any(missing.values()) and credential.state == CredentialState.REVOKED:
            lifecycle.record_proven(revocation.id, _evidence(revocation, "proof"))
            return
        if missing["revoke"] and _expired(credential):
            lifecycle.record_expired_unrevoked(revocation.id, {"missing": missing["revoke"]})
            return
    except StateConflict as conflict:
        logger.info("revocation_overtaken", revocation=str(revocation.id), found=conflict.found)
    claims.release_revocation(claim, backoff_s(claim.attempt))


def _expired(credential: Credential) -> bool:
    """Whether it has died by itself, with a margin for the clocks of others."""
    born = credential.created_at + timedelta(seconds=credential.ttl_s + claims.CLAIM_S)
    return (credential.expires_at or born) + timedelta(seconds=LOOK_AGAIN_AFTER_EXPIRY_S) < now()


def _evidence(revocation: Revocation, kind: str) -> dict[str, Any]:
    rows = revocation.steps.filter(kind=kind, done=True)
    return {row.name: {**row.evidence, "elapsed_us": row.elapsed_us} for row in rows}
