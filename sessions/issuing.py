"""Minting: from an intent row to a credential that its agent can fetch. Runs in a worker; safe to run twice."""

import math
import random
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from django.db.models import Exists

from audit import canonical
from sessions import claims, lifecycle
from sessions.errors import StateConflict
from sessions.models import Approval, Credential
from sessions.models.credentials import CredentialState
from sessions.models.runs import State
from sessions.providers import registry
from sessions.providers.circuit import circuit
from sessions.providers.contract import CredentialError, Intent

logger = structlog.get_logger()

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0


def backoff_s(attempt: int) -> float:
    """1, 2, 4 ... 30 seconds, with a quarter of jitter."""
    jitter = random.uniform(0.75, 1.25)  # noqa: S311 - nobody gains from guessing it
    return min(math.ldexp(FIRST_DELAY_S, min(attempt - 1, 10)), LONGEST_DELAY_S) * jitter


def run(credential_id: uuid.UUID) -> None:
    """Mint one intent, if it is due and nobody else does."""
    claim = claims.mint(credential_id)
    if claim is None:
        return
    credential = Credential.objects.select_related("agent_session").get(pk=credential_id)
    try:
        _demand_approved(credential)
        provider = registry.provider(credential.provider)
        with circuit(f"{credential.provider} {credential.slot}").call():
            minted = provider.mint(_intent(credential), lambda handle: _remember(credential_id, handle))
    except CredentialError as error:
        _give_up(claim, credential, error)
        return
    try:
        lifecycle.record_issued(credential_id, minted)
    except StateConflict:
        lifecycle.record_late(credential_id, minted)
        return
    if credential.agent_session.state == State.APPROVED:
        activate_if_ready(credential.agent_session_id)


def _demand_approved(credential: Credential) -> None:
    """The approved hash is the minted hash. Raises CredentialError where a row says otherwise."""
    agent_session = credential.agent_session
    approved = Approval.objects.filter(
        agent_session=agent_session, grant_hash=credential.grant_hash, decision=Approval.Decision.APPROVED
    )
    grant = agent_session.grants.filter(Exists(approved), sha256=credential.grant_hash).first()
    if grant is None or canonical.sha256(bytes(grant.body)) != credential.grant_hash:
        raise CredentialError("What is to be minted was not approved.", permanent=True, untouched=True)
    slots = registry.slots_of(grant.content["authorization_details"])
    details = slots.get((credential.provider, credential.slot), [])
    if canonical.dumps(list(details)) != bytes(credential.details):
        raise CredentialError("What is to be minted is not what was approved.", permanent=True, untouched=True)


def activate_if_ready(agent_session_id: uuid.UUID) -> None:
    """Start the session's clock when the newest credential of each slot is there."""
    newest = Credential.objects.filter(agent_session=agent_session_id).order_by("slot", "-generation").distinct("slot")
    if all(credential.state == CredentialState.ISSUED for credential in newest):
        try:
            lifecycle.activate(agent_session_id)
        except StateConflict:
            logger.info("activate_overtaken", agent_session=str(agent_session_id))


def _give_up(claim: claims.Claim, credential: Credential, error: CredentialError) -> None:
    logger.warning("mint_failed", credential=str(credential.id), error=str(error), attempt=claim.attempt)
    wait_s = max(backoff_s(claim.attempt), error.retry_after_s)
    try:
        if error.permanent:
            Credential.objects.filter(pk=credential.pk).update(problem=str(error)[:300], claimed_until=None)
            lifecycle.fail(credential.agent_session_id, str(error)[:300])
        elif error.untouched:
            claims.release_mint(claim, str(error), wait_s)
        else:
            lifecycle.replace(credential.id, str(error), max(backoff_s(credential.generation), error.retry_after_s))
    except StateConflict:
        # Its session ended meanwhile, so a revocation waits for this claim to end.
        Credential.objects.filter(pk=credential.pk).update(claimed_until=None)


def _intent(credential: Credential) -> Intent:
    return Intent(
        name=credential.name,
        details=credential.content,
        ttl_s=credential.ttl_s,
        labels={
            "agent_session": str(credential.agent_session_id),
            "credential": credential.name,
            "grant_hash": credential.grant_hash,
            "agent": str(credential.agent_session.agent_id),
        },
    )


def _remember(credential_id: uuid.UUID, handle: Mapping[str, Any]) -> None:
    """Keep the handle as soon as there is one, in a transaction of its own: it is what a reaper starts from."""
    Credential.objects.filter(pk=credential_id).update(handle=dict(handle))
