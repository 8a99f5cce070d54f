"""Revoking: each step of a credential's end, tried until it is done or the credential has died by itself.

A step that was done is not asked for again. What one provider or step does never delays another credential's.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import dropwhile, takewhile
from typing import Any

import structlog
from django.db import close_old_connections, connection

from audit import envelope, notices
from audit.envelope import Sealed
from audit.event import now
from sessions import claims, lifecycle
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

# Two pools for each provider: cutting an agent off never waits for a vault that is silent, nor for another provider.
_pools: dict[tuple[str, str], ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()
_under_way: set[uuid.UUID] = set()
SILENT = Outcome(False, {"problem": "It did not answer a moment ago, and is asked again in the next try."})


def start(revocation_ids: Iterable[uuid.UUID]) -> list[Future[None]]:
    """Begin at once in this process, needing neither broker nor worker. A claim keeps others off the same row."""
    fresh = [revocation_id for revocation_id in revocation_ids if revocation_id not in _under_way]
    # Asked before they count as under way: where the database fails here, the next sweep begins them.
    kinds = dict(Revocation.objects.filter(pk__in=fresh).values_list("pk", "credential__provider"))
    _under_way.update(fresh)
    return [_chain(revocation_id, kinds.get(revocation_id, "")) for revocation_id in fresh]


def _pool(part: str, kind: str) -> ThreadPoolExecutor:
    with _pools_lock:
        if (part, kind) not in _pools:
            _pools[part, kind] = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"revoke-{part}-{kind}")
        return _pools[part, kind]


def run(revocation_id: uuid.UUID) -> None:
    """Try every step that is not done yet, and record how far that brought it."""
    attempt = Attempt.begin(revocation_id)
    if attempt is not None:
        attempt.cut()
        attempt.finish()


def _chain(revocation_id: uuid.UUID, kind: str) -> Future[None]:
    """Cut in one pool, then finish in the other; the answer is there after the last step."""
    answered: Future[None] = Future()

    def finish(attempt: Attempt) -> None:
        with _closing(revocation_id, answered):
            attempt.finish()

    def cut() -> None:
        with _closing(revocation_id, answered) as unless_handed_on:
            attempt = Attempt.begin(revocation_id)
            if attempt is not None:
                attempt.cut()
                unless_handed_on.pop_all()
                _pool("finish", kind).submit(finish, attempt)

    _pool("cut", kind).submit(cut)
    return answered


@contextmanager
def _closing(revocation_id: uuid.UUID, answered: Future[None]) -> Iterator[ExitStack]:
    """One part of the chain: whatever it met, its connection is given back, and the last part answers."""
    with ExitStack() as last:
        last.callback(answered.set_result, None)
        last.callback(_under_way.discard, revocation_id)
        try:
            yield last
        except Exception:
            # Nobody waits for this thread's answer; the row stays due and the sweep tries it again.
            logger.exception("revocation_broke", revocation=str(revocation_id))
        finally:
            close_old_connections()


@dataclass
class Attempt:
    """One try of a revocation, by whoever holds its claim."""

    claim: claims.Claim
    revocation: Revocation
    steps: Sequence[Step]
    done: set[str]
    silent: set[str] = field(default_factory=set)
    wait_s: float = 0.0

    @classmethod
    def begin(cls, revocation_id: uuid.UUID) -> "Attempt | None":
        """Claim it. None if it is not due, somebody else does it, or a worker may still be minting the credential."""
        claim = claims.revoke(revocation_id)
        if claim is None:
            return None
        revocation = Revocation.objects.select_related("credential").get(pk=revocation_id)
        if _being_minted(revocation.credential):
            claims.release_revocation(claim, UNSETTLED_RETRY_S)
            return None
        earlier = revocation.steps.filter(done=True).values_list("name", flat=True)
        done = set(earlier) if claim.attempt > 1 else set()
        return cls(claim, revocation, _steps(revocation.credential), done)

    def cut(self) -> None:
        """The steps that need nothing but the first far end: they shut the agent out."""
        self._take(takewhile(lambda step: step.system == self.steps[0].system, self.steps))

    def finish(self) -> None:
        """All other steps, and what follows from them."""
        self._take(dropwhile(lambda step: step.system == self.steps[0].system, self.steps))
        _conclude(self)

    def _take(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.name not in self.done:
                outcome = self._try(step)
                self.done |= {step.name} if outcome.done else set()

    def _try(self, step: Step) -> Outcome:
        """A far end that was silent in this try is not asked again before the next."""
        began = time.perf_counter_ns()
        outcome = SILENT if step.system in self.silent else self._outcome(step)
        RevocationStep.objects.create(
            revocation=self.revocation,
            attempt=self.claim.attempt,
            name=step.name,
            kind=step.kind,
            label=step.label,
            done=outcome.done,
            evidence=dict(outcome.evidence),
            at=now(),
            elapsed_us=(time.perf_counter_ns() - began) // 1000,
        )
        notices.publish(notices.stream_topic(self.revocation.credential.agent_session_id))
        return outcome

    def _outcome(self, step: Step) -> Outcome:
        """No connection is held meanwhile: a far end that hangs must not take those of others."""
        if not connection.in_atomic_block:
            connection.close()
        try:
            return step.run()
        except CredentialError as error:
            if error.silent:
                self.silent.add(step.system)
            self.wait_s = max(self.wait_s, error.retry_after_s)
            return Outcome(False, {"problem": str(error)})
        except Exception as error:
            # A step that breaks must not keep the others from cutting; what it said may hold a secret.
            logger.error("revocation_step_broke", step=step.name, error=type(error).__name__)
            return Outcome(False, {"problem": f"It broke with {type(error).__name__}: see the log."})


def _being_minted(credential: Credential) -> bool:
    """Whether a worker may still be minting it. Nobody was given it yet, and what it mints is not known before."""
    return credential.claimed_until is not None and credential.claimed_until > now()


def _steps(credential: Credential) -> Sequence[Step]:
    """Where the settings know its provider, or its far end, no more, one step that says so until it died by itself."""
    try:
        return registry.provider(credential.provider).steps(_held(credential))
    except CredentialError as error:
        lost = Outcome(False, {"problem": str(error)})
        return [Step("settings", "revoke", "Its far end asked", lambda: lost, credential.provider)]


def _held(credential: Credential) -> Held:
    """What there is of it. Without its envelope key the secret is lost, and the name must do."""
    secret = None
    if credential.sealed is not None:
        try:
            secret = envelope.unseal(Sealed(credential.sealed_with, bytes(credential.sealed)), str(credential.id))
        except envelope.Unreadable as error:
            logger.error("sealed_secret_unreadable", credential=str(credential.id), error=str(error))
    return Held(name=credential.name, details=credential.content, handle=credential.handle, secret=secret)


def _conclude(attempt: Attempt) -> None:
    revocation, credential = attempt.revocation, attempt.revocation.credential
    missing = {
        kind: [step.name for step in attempt.steps if step.kind == kind and step.name not in attempt.done]
        for kind in RevocationStep.Kind.values
    }
    try:
        if not missing["revoke"] and credential.state == CredentialState.REVOKING:
            lifecycle.record_revoked(revocation.id, _evidence(attempt, "revoke"))
            credential.state = CredentialState.REVOKED
        if not any(missing.values()) and credential.state == CredentialState.REVOKED:
            _finish(attempt)
            return
        if missing["revoke"] and _expired(credential):
            lifecycle.record_expired_unrevoked(revocation.id, {"missing": missing["revoke"]})
            return
    except StateConflict as conflict:
        logger.info("revocation_overtaken", revocation=str(revocation.id), found=conflict.found)
    claims.release_revocation(attempt.claim, max(backoff_s(attempt.claim.attempt), attempt.wait_s))


def _finish(attempt: Attempt) -> None:
    """Proven only by a step that tried it: without one, revoked is all that can be said."""
    if any(step.kind == RevocationStep.Kind.PROOF for step in attempt.steps):
        lifecycle.record_proven(attempt.revocation.id, _evidence(attempt, "proof"))
    else:
        lifecycle.record_unprovable(attempt.revocation.id, _evidence(attempt, "revoke"))


def _expired(credential: Credential) -> bool:
    """Whether it has died by itself, with a margin for the clocks of others. A claim to mint sets `expires_at`.

    Where the far end lets it live on after what was promised, the handle says until when: `ends_by`.
    """
    ends_at = credential.expires_at or credential.created_at
    if said := credential.handle.get("ends_by"):
        ends_at = max(ends_at, datetime.fromisoformat(said))
    return ends_at + timedelta(seconds=LOOK_AGAIN_AFTER_EXPIRY_S) < now()


def _evidence(attempt: Attempt, kind: str) -> dict[str, Any]:
    """What each step of this kind answered when it was done; empty for one that is no longer called done."""
    rows = {row.name: row for row in attempt.revocation.steps.filter(kind=kind, done=True)}
    names = [step.name for step in attempt.steps if step.kind == kind]
    return {
        name: {**rows[name].evidence, "elapsed_us": rows[name].elapsed_us} if name in rows else {} for name in names
    }
