"""Claims on rows that are due: who works on what, and until when. A claim that runs out is anybody's again.

A claim is not a state: nothing about what may be had changes by it, so no event is written.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from audit.event import now
from sessions.models import Credential, Revocation
from sessions.models.credentials import CredentialState

CLAIM_S = 30
_TAKE = "SET claimed_until = %(until)s, attempts = attempts + 1 WHERE id = %(pk)s AND next_attempt_at <= %(now)s"
# Whatever this claim may mint has died by itself by then, if nothing is ever heard of it.
_BOUND = "expires_at = %(until)s + ttl_s * interval '1 second', "
_MINT = (
    f"UPDATE agent_sessions_credential {_TAKE.replace('SET ', 'SET ' + _BOUND)} "
    "AND state = 'intent' AND claimed_until IS NULL RETURNING attempts"
)
_REVOKE = (
    f"UPDATE agent_sessions_revocation {_TAKE} AND proven_at IS NULL AND given_up_at IS NULL "
    "AND (claimed_until IS NULL OR claimed_until < %(now)s) RETURNING attempts"
)


@dataclass(frozen=True)
class Claim:
    """A row that this worker alone works on, until `until`. `attempt` counts from 1."""

    id: uuid.UUID
    attempt: int
    until: datetime


def mint(credential_id: uuid.UUID) -> Claim | None:
    """Claim an intent that nobody has begun. One that was begun and not finished is for lifecycle.replace."""
    return _take(_MINT, credential_id)


def revoke(revocation_id: uuid.UUID) -> Claim | None:
    return _take(_REVOKE, revocation_id)


def release_mint(claim: Claim, problem: str, delay_s: float) -> None:
    """Give an intent back untouched, to be tried again."""
    Credential.objects.filter(pk=claim.id, claimed_until=claim.until, state=CredentialState.INTENT).update(
        claimed_until=None, next_attempt_at=now() + timedelta(seconds=delay_s), problem=problem[:300]
    )


def release_revocation(claim: Claim, delay_s: float) -> None:
    Revocation.objects.filter(pk=claim.id, claimed_until=claim.until).update(
        claimed_until=None, next_attempt_at=now() + timedelta(seconds=delay_s)
    )


def _take(sql: str, pk: uuid.UUID) -> Claim | None:
    at = now()
    until = at + timedelta(seconds=CLAIM_S)
    with connection.cursor() as cursor:
        cursor.execute(sql, {"pk": pk, "now": at, "until": until})
        row = cursor.fetchone()
    return Claim(pk, row[0], until) if row else None
