"""Claims on rows that are due: who works on what, and until when. A claim that runs out is anybody's again.

A claim is not a state: nothing about what may be had changes by it, so no event is written.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q
from django.db.models.query import QuerySet

from audit.event import now
from sessions.models import Credential, Revocation
from sessions.models.credentials import CredentialState

CLAIM_S = 30


@dataclass(frozen=True)
class Claim:
    """A row that this worker alone works on, until `until`. `attempt` counts from 1."""

    id: uuid.UUID
    attempt: int
    until: datetime


def mint(credential_id: uuid.UUID) -> Claim | None:
    """Claim an intent that nobody has begun. One that was begun and not finished is for lifecycle.replace."""
    return _take(Credential.objects.filter(state=CredentialState.INTENT, claimed_until=None), credential_id)


def revoke(revocation_id: uuid.UUID) -> Claim | None:
    free = Q(claimed_until=None) | Q(claimed_until__lt=now())
    return _take(Revocation.objects.filter(free, proven_at=None, given_up_at=None), revocation_id)


def release_mint(claim: Claim, problem: str, delay_s: float) -> None:
    """Give an intent back untouched, to be tried again."""
    Credential.objects.filter(pk=claim.id, claimed_until=claim.until, state=CredentialState.INTENT).update(
        claimed_until=None, next_attempt_at=now() + timedelta(seconds=delay_s), problem=problem[:300]
    )


def release_revocation(claim: Claim, delay_s: float) -> None:
    Revocation.objects.filter(pk=claim.id, claimed_until=claim.until).update(
        claimed_until=None, next_attempt_at=now() + timedelta(seconds=delay_s)
    )


def _take(free: QuerySet, pk: uuid.UUID) -> Claim | None:
    at = now()
    until = at + timedelta(seconds=CLAIM_S)
    taken = free.filter(pk=pk, next_attempt_at__lte=at).update(claimed_until=until, attempts=F("attempts") + 1)
    if not taken:
        return None
    return Claim(pk, free.model.objects.values_list("attempts", flat=True).get(pk=pk), until)
