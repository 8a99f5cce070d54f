"""The sweep: finds rows that are due and nobody works on, and does what is due. It needs no broker.

One sweep runs at a time, by an advisory lock; what it starts is protected by claims, so that a sweep that
is cut off, or runs twice, changes nothing.
"""

import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import close_old_connections
from django.db.models import Exists, F, OuterRef, Q, Value

from audit import log
from audit.advisory import alone
from audit.event import now
from sessions import issuing, lifecycle, revoking
from sessions.errors import LifecycleError
from sessions.models import Addition, AgentSession, Credential, Revocation
from sessions.models.additions import AdditionState
from sessions.models.credentials import CredentialState
from sessions.models.runs import LIVE, State
from sessions.parties import SWEEP

logger = structlog.get_logger()

LOCK = 0x64_72_61_77
AT_ONCE = 4
BATCH = 200
SECOND = Value(timedelta(seconds=1))
START_WITHIN = timedelta(minutes=15)

_minting = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sweep-mint")


def run_once() -> bool:
    """One pass over everything that is due. False if another sweep is running."""
    with alone(LOCK) as ours:
        if not ours:
            return False
        for chore in (
            _lapse,
            _lapse_additions,
            _expire,
            _fail_stuck,
            _reap,
            _activate,
            _rotate,
            _retire,
            _mint,
            _revoke,
        ):
            _guarded(chore)
        _guarded(log.append_deferred)
    return True


def _guarded(chore: Callable[[], object]) -> None:
    """One chore that breaks must not keep the others from running."""
    try:
        chore()
    except Exception:
        logger.exception("sweep_chore_broke", chore=chore.__name__)


def _each(ids: Iterable[uuid.UUID], act: Callable[[uuid.UUID], object]) -> None:
    """Do each; somebody else being first is what the sweep expects, and one bad row must not stop the rest."""
    for one in ids:
        try:
            act(one)
        except LifecycleError as error:
            logger.info("sweep_overtaken", row=str(one), why=str(error))
        except Exception:
            logger.exception("sweep_row_broke", row=str(one))


def _lapse() -> None:
    due = AgentSession.objects.filter(state=State.REQUESTED, decide_by__lt=now())
    _each(due.values_list("id", flat=True)[:BATCH], lifecycle.lapse)


def _lapse_additions() -> None:
    over = Q(decide_by__lt=now()) | ~Q(agent_session__state__in=LIVE)
    due = Addition.objects.filter(over, state=AdditionState.REQUESTED)
    _each(due.values_list("id", flat=True)[:BATCH], lifecycle.lapse_addition)


def _expire() -> None:
    due = AgentSession.objects.filter(state__in=(State.ACTIVE, State.SUSPENDED), ends_at__lt=now())
    _each(due.values_list("id", flat=True)[:BATCH], lifecycle.expire)


def _fail_stuck() -> None:
    due = AgentSession.objects.filter(state=State.APPROVED, approved_at__lt=now() - START_WITHIN)
    why = "Its credentials could not be minted within 15 minutes of the approval."
    _each(due.values_list("id", flat=True)[:BATCH], lambda one: lifecycle.fail(one, why))


def _reap() -> None:
    """Intents whose worker died half-way: their claim ran out."""
    due = Credential.objects.filter(state=CredentialState.INTENT, claimed_until__lt=now())
    why = "The worker that minted it was lost."
    _each(due.values_list("id", flat=True)[:BATCH], lambda one: lifecycle.replace(one, why, 0))


def _activate() -> None:
    ready = Q(credentials__state=CredentialState.ISSUED) | Q(credentials=None)
    waiting = AgentSession.objects.filter(ready, state=State.APPROVED)
    _each(waiting.values_list("id", flat=True).distinct()[:BATCH], issuing.activate_if_ready)


def _rotate() -> None:
    """A third of its life before a credential ends, its successor is made, if the session goes on after it."""
    live = Credential.objects.filter(state=CredentialState.ISSUED, agent_session__state=State.ACTIVE)
    near = live.filter(expires_at__lt=now() + F("ttl_s") * SECOND / 3, agent_session__ends_at__gt=F("expires_at"))
    later = Credential.objects.filter(
        agent_session=OuterRef("agent_session"), slot=OuterRef("slot"), generation__gt=OuterRef("generation")
    )
    newest = near.filter(~Exists(later))
    _each(newest.values_list("id", flat=True)[:BATCH], lifecycle.rotate)


def _retire() -> None:
    """Credentials whose successor has been in the agent's hands for a while, and those whose time is up."""
    live = Credential.objects.filter(state=CredentialState.ISSUED)
    delivered = now() - timedelta(seconds=settings.ROTATION_OVERLAP_S)
    in_use = live.filter(
        agent_session=OuterRef("agent_session"),
        slot=OuterRef("slot"),
        generation__gt=OuterRef("generation"),
        delivered_at__lt=delivered,
    )
    rotated = live.filter(Exists(in_use)).values_list("id", flat=True)
    _each(rotated[:BATCH], partial(_request_revocation, "rotated"))
    over = live.filter(expires_at__lt=now() + timedelta(seconds=2))
    _each(over.values_list("id", flat=True)[:BATCH], partial(_request_revocation, "expired"))


def _request_revocation(reason: str, credential_id: uuid.UUID) -> None:
    lifecycle.request_revocation(credential_id, reason, SWEEP)


def _mint() -> None:
    due = Credential.objects.filter(state=CredentialState.INTENT, claimed_until=None, next_attempt_at__lt=now())
    for one in due.order_by("next_attempt_at").values_list("id", flat=True)[:BATCH]:
        _minting.submit(_in_thread, issuing.run, one)


def _revoke() -> None:
    free = Q(claimed_until=None) | Q(claimed_until__lt=now())
    due = Revocation.objects.filter(free, proven_at=None, given_up_at=None, next_attempt_at__lt=now())
    revoking.start(list(due.order_by("next_attempt_at").values_list("id", flat=True)[:BATCH]))


def _in_thread(act: Callable[[uuid.UUID], None], one: uuid.UUID) -> None:
    try:
        act(one)
    except Exception:
        # Nobody waits for this thread's answer; the row's claim runs out and it is reaped.
        logger.exception("sweep_job_broke", row=str(one))
    finally:
        close_old_connections()
