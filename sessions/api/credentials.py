"""Handing credentials over: each secret leaves once, to the holder of its session's token."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse, JsonResponse
from ninja import Router, Schema, Status
from pydantic import ConfigDict

from sessions import lifecycle
from sessions.api.callers import SessionCaller, SessionRequest, reached, session_token
from sessions.api.problems import Code, Problem, Refusal, refuse_over
from sessions.api.standing import CredentialFacts, facts_of
from sessions.api.token import DOCUMENT
from sessions.api.waiting import preferred_wait_s, until
from sessions.errors import StateConflict
from sessions.models import AgentSession, Credential
from sessions.models.credentials import CredentialState
from sessions.models.runs import LIVE
from sessions.parties import agent_of
from sessions.providers import registry
from sessions.threads import in_thread

router = Router(tags=["credentials"])


class Delivered(Schema):
    """A credential with its secret; which further fields there are depends on `type`.

    For `postgresql`: host, port, dbname, username, password. From `renew_after` on its successor may be asked for.
    """

    model_config = ConfigDict(extra="allow")

    id: uuid.UUID
    slot: str
    generation: int
    type: str
    expires_at: datetime
    renew_after: datetime


@router.post(
    "/sessions/{uuid:session_id}/credentials",
    auth=session_token,
    response={200: list[Delivered], 401: Problem, 404: Problem, 409: Problem},
    url_name="credentials",
    operation_id="takeCredentials",
    openapi_extra={"parameters": DOCUMENT["parameters"]},
)
async def take(request: SessionRequest, session_id: uuid.UUID) -> HttpResponse:
    """Hand over what was not handed over before; with `Prefer: wait=30`, as soon as there is something."""
    look, caller = in_thread(deliver_new), request.auth
    delivered = await until(session_id, preferred_wait_s(request), lambda: look(caller, session_id), bool)
    # Not through ninja, which would leave out the fields that depend on the type.
    return JsonResponse(delivered, safe=False)


@router.post(
    "/sessions/{uuid:session_id}/credentials/{uuid:credential_id}/replace",
    auth=session_token,
    response={202: CredentialFacts, 401: Problem, 404: Problem, 409: Problem},
    url_name="replace",
    operation_id="replaceCredential",
)
async def replace(request: SessionRequest, session_id: uuid.UUID, credential_id: uuid.UUID) -> Status[CredentialFacts]:
    """The agent lost a credential that it was handed: have its successor made, and the lost one revoked after that."""
    return Status(202, await in_thread(_replace)(request.auth, session_id, credential_id))


def deliver_new(caller: SessionCaller, agent_session_id: uuid.UUID) -> list[dict[str, Any]]:
    """Deliver the newest live credential of each slot, if it was not delivered. Refusal where the session is over."""
    agent_session = reached(caller, agent_session_id)
    if agent_session.state not in LIVE:
        refuse_over(agent_session)
    delivered = []
    for credential in _undelivered(agent_session):
        try:
            secret = lifecycle.deliver(credential.id)
        except StateConflict:
            # Handed over to another request of this moment, or the session is over: the next look says which.
            continue
        delivered.append(_delivered(credential, secret))
    return delivered


def _undelivered(agent_session: AgentSession) -> Sequence[Credential]:
    newest = Credential.objects.filter(agent_session=agent_session, state=CredentialState.ISSUED)
    newest = newest.exclude(provider__in=registry.FOR_GATEWAYS)
    newest = newest.order_by("slot", "-generation").distinct("slot")
    return [credential for credential in newest if credential.delivered_at is None]


def _delivered(credential: Credential, secret: dict[str, Any]) -> dict[str, Any]:
    assert credential.expires_at is not None
    facts = Delivered(
        id=credential.id,
        slot=credential.slot,
        generation=credential.generation,
        type=secret["type"],
        expires_at=credential.expires_at,
        renew_after=credential.expires_at - timedelta(seconds=credential.ttl_s / 3),
    )
    return {**secret, **facts.model_dump(mode="json")}


def _replace(caller: SessionCaller, agent_session_id: uuid.UUID, credential_id: uuid.UUID) -> CredentialFacts:
    agent_session = reached(caller, agent_session_id)
    if agent_session.state not in LIVE:
        refuse_over(agent_session)
    lost = Credential.objects.filter(pk=credential_id, agent_session=agent_session).first()
    if lost is None:
        raise Refusal(Code.NOT_FOUND, "There is no such credential in this session.")
    if lost.delivered_at is None:
        raise Refusal(Code.STATE_CONFLICT, "This credential was not handed over yet: ask for it instead.")
    return facts_of(lifecycle.rotate(lost.id, agent_of(agent_session)))
