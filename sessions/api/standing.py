"""How a session stands: its state, what it may have, its credentials (never their secrets), and how to end it."""

import uuid
from datetime import datetime
from typing import Any

from ninja import Field, Query, Router, Schema
from pydantic import ConfigDict

from sessions import lifecycle
from sessions.api.callers import EitherRequest, agent_key, reached, session_token
from sessions.api.problems import Problem, refuse_over
from sessions.api.waiting import LONGEST_WAIT_S, until
from sessions.gateways import holds
from sessions.models import AgentSession, Credential
from sessions.models.runs import LIVE, State
from sessions.parties import agent_of
from sessions.providers import registry
from sessions.threads import in_thread

router = Router(tags=["sessions"])


class CredentialFacts(Schema):
    """What may be known of a credential without holding it."""

    id: uuid.UUID
    slot: str
    generation: int
    state: str
    expires_at: datetime | None
    delivered: bool
    handed_over: bool = Field(description="False for what only gateways get, to put into requests.")


class GatewayFacts(Schema):
    """A gateway that passes things on now; `address` is host:port."""

    name: str
    address: str


class Session(Schema):
    """A session as its agent may see it."""

    session_id: uuid.UUID
    state: str
    end_reason: str
    killed: bool
    purpose: str
    requested_at: datetime
    decide_by: datetime
    active_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None
    grant_hash: str
    authorization_details: list[dict[str, Any]]
    credentials: list[CredentialFacts]
    gateways: list[GatewayFacts]
    sandbox: str = Field(description="`required` or `optional`, as the profile says.")


class Watch(Schema):
    """How long to hold the request, and the state that the caller knows of."""

    wait: int = Field(0, ge=0, le=LONGEST_WAIT_S, description="Seconds to wait for another state than `state`.")
    state: State | None = Field(None, description="The state that the caller knows; without it, the one it is in now.")


class Ending(Schema):
    """What the runner has to say at the end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exit_code: int | None = Field(None, ge=-255, le=255)
    summary: str | None = Field(None, max_length=500)


@router.get(
    "/sessions/{uuid:session_id}",
    auth=[session_token, agent_key],
    response={200: Session, 401: Problem, 404: Problem, 422: Problem},
    url_name="session",
    operation_id="getSession",
)
async def status(request: EitherRequest, session_id: uuid.UUID, watch: Query[Watch]) -> Session:
    """Say how the session stands; with `wait`, as soon as its state is another one."""

    @in_thread
    def look() -> str:
        return reached(request.auth, session_id).state

    known = watch.state or (await look() if watch.wait else None)
    await until(session_id, watch.wait, look, lambda state: state != known)
    return await in_thread(session_of)(session_id)


@router.post(
    "/sessions/{uuid:session_id}/end",
    auth=[session_token, agent_key],
    response={200: Session, 400: Problem, 401: Problem, 404: Problem, 409: Problem, 413: Problem, 422: Problem},
    url_name="end",
    operation_id="endSession",
)
async def end(request: EitherRequest, session_id: uuid.UUID, body: Ending | None = None) -> Session:
    """The work is done: end the session, and every credential of it."""

    def work() -> Session:
        agent_session = reached(request.auth, session_id)
        if agent_session.state not in (*LIVE, State.REQUESTED):
            refuse_over(agent_session)
        said = body.model_dump(exclude_none=True) if body else {}
        lifecycle.complete(session_id, agent_of(agent_session), said)
        return session_of(session_id)

    return await in_thread(work)()


def session_of(agent_session_id: uuid.UUID) -> Session:
    rows = AgentSession.objects.select_related("profile_version").prefetch_related("credentials")
    agent_session = rows.get(pk=agent_session_id)
    return Session(
        session_id=agent_session.id,
        state=agent_session.state,
        end_reason=agent_session.end_reason,
        killed=agent_session.killed_at is not None,
        purpose=agent_session.purpose,
        requested_at=agent_session.requested_at,
        decide_by=agent_session.decide_by,
        active_at=agent_session.active_at,
        ends_at=agent_session.ends_at,
        ended_at=agent_session.ended_at,
        grant_hash=agent_session.grant_hash,
        authorization_details=agent_session.grant.content["authorization_details"],
        credentials=[facts_of(credential) for credential in agent_session.credentials.all()],
        gateways=[GatewayFacts(name=one.name, address=one.address) for one in holds.live()],
        sandbox=agent_session.profile_version.conditions["sandbox"],
    )


def facts_of(credential: Credential) -> CredentialFacts:
    return CredentialFacts(
        id=credential.id,
        slot=credential.slot,
        generation=credential.generation,
        state=credential.state,
        expires_at=credential.expires_at,
        delivered=credential.delivered_at is not None,
        handed_over=credential.provider not in registry.FOR_GATEWAYS,
    )
