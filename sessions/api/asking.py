"""Asking for a session, and taking the question back."""

import unicodedata
import uuid
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from django.conf import settings
from ninja import Field, Router, Schema, Status
from pydantic import AfterValidator, ConfigDict, StrictInt

from audit.event import now
from sessions import lifecycle
from sessions.api.callers import AgentRequest, agent_key, reached
from sessions.api.problems import Code, Problem, Refusal
from sessions.api.standing import Session, session_of
from sessions.errors import Invalid
from sessions.models import Agent, AgentSession, Profile
from sessions.models.runs import State
from sessions.parties import agent_of
from sessions.providers import registry
from sessions.threads import in_thread

router = Router(tags=["sessions"])

LONGEST_PURPOSE = 500
MOST_WAITING = 10
_SPOOFING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plainly_written(text: str) -> str:
    """Text that shows as what it is: no control characters but line ends, nothing that turns the writing direction."""
    if any((unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t") or one in _SPOOFING for one in text):
        raise ValueError("must not have control characters")
    if not text.strip():
        raise ValueError("must not be empty")
    return text


class Ask(Schema):
    """What an agent asks for. Without `authorization_details`: all that the profile offers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: str = Field(pattern=r"^[-a-zA-Z0-9_]{1,50}$", description="The profile's slug, as the team offers it.")
    purpose: Annotated[str, AfterValidator(plainly_written)] = Field(
        min_length=1, max_length=LONGEST_PURPOSE, description="What the session is for: the lead reads it."
    )
    duration: StrictInt | None = Field(None, ge=60, le=86_400, description="Seconds from the start.")
    authorization_details: list[dict[str, Any]] | None = Field(
        None, max_length=registry.MOST_OBJECTS, description="RFC 9396 objects, within those of the profile."
    )


class Asked(Schema):
    """A session that waits for a decision (RFC 8628, section 3.2). The device code is shown here and never again."""

    session_id: uuid.UUID
    state: str
    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int
    grant_hash: str
    authorization_details: list[dict[str, Any]]


class Offer(Schema):
    slug: str
    name: str


class Me(Schema):
    """The agent whose key was sent, and the profiles that it may ask for."""

    id: uuid.UUID
    name: str
    framework: str
    team: str
    owner: str
    profiles: list[Offer]
    server_time: datetime


@router.get("/agent", auth=agent_key, response={200: Me, 401: Problem}, url_name="agent", operation_id="whoAmI")
async def who_am_i(request: AgentRequest) -> Me:
    """Say whose key this is."""
    return await in_thread(_me)(request.auth.agent)


@router.post(
    "/sessions",
    auth=agent_key,
    response={201: Asked, 400: Problem, 401: Problem, 409: Problem, 413: Problem, 422: Problem},
    url_name="sessions",
    operation_id="askForSession",
)
async def ask(request: AgentRequest, body: Ask) -> Status[Asked]:
    """Ask for a session. A person decides at `verification_uri`; poll the token endpoint meanwhile."""
    return Status(201, await in_thread(_ask)(request.auth.agent, body))


@router.post(
    "/sessions/{uuid:session_id}/withdraw",
    auth=agent_key,
    response={200: Session, 401: Problem, 404: Problem, 409: Problem},
    url_name="withdraw",
    operation_id="withdrawRequest",
)
async def withdraw(request: AgentRequest, session_id: uuid.UUID) -> Session:
    """Take a request back that nobody has decided yet."""

    def work() -> Session:
        agent_session = reached(request.auth, session_id)
        lifecycle.withdraw(session_id, agent_of(agent_session))
        return session_of(session_id)

    return await in_thread(work)()


def _me(agent: Agent) -> Me:
    offered = Profile.objects.filter(team_id=agent.team_id, retired_at=None, versions__published_at__isnull=False)
    return Me(
        id=agent.id,
        name=agent.name,
        framework=agent.framework,
        team=agent.team.slug,
        owner=agent.owner.name,
        profiles=[Offer(slug=one.slug, name=one.name) for one in offered.distinct().order_by("slug")],
        server_time=now(),
    )


def _refuse_more(agent: Agent) -> None:
    """People decide one by one. It spares readers and counts without a lock: requests of one moment may both pass."""
    waiting = AgentSession.objects.filter(agent=agent, state=State.REQUESTED).count()
    if waiting >= MOST_WAITING:
        said = f"{waiting} requests of this agent wait for a decision. Withdraw some, or wait until they are decided."
        raise Refusal(Code.STATE_CONFLICT, said)


def _ask(agent: Agent, body: Ask) -> Asked:
    _refuse_more(agent)
    profile = Profile.objects.filter(team_id=agent.team_id, slug=body.profile, retired_at=None).first()
    if profile is None:
        raise Invalid([f"The team offers no profile {body.profile!r}."])
    if body.authorization_details is not None:
        problems = registry.problems_of(body.authorization_details)
        if problems:
            raise Invalid(problems)
    request = lifecycle.Request(profile, body.purpose, body.duration, body.authorization_details)
    requested = lifecycle.request_session(agent, request)
    return _asked(requested.agent_session, requested.device_code)


def _asked(agent_session: AgentSession, device_code: str) -> Asked:
    address = f"{settings.BASE_URL}/device"
    return Asked(
        session_id=agent_session.id,
        state=agent_session.state,
        device_code=device_code,
        user_code=agent_session.user_code,
        verification_uri=address,
        verification_uri_complete=f"{address}?{urlencode({'user_code': agent_session.user_code})}",
        expires_in=round((agent_session.decide_by - agent_session.requested_at).total_seconds()),
        interval=agent_session.poll_interval_s,
        grant_hash=agent_session.grant_hash,
        authorization_details=agent_session.grant.content["authorization_details"],
    )
