"""Who calls: an agent with its key, the runner of one session with that session's token, or a gateway with its own."""

import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from ninja.security import HttpBearer

from audit.event import now
from sessions import tokens
from sessions.api.problems import Code, Refusal
from sessions.models import Agent, AgentKey, AgentSession, Gateway, Membership
from sessions.threads import in_thread

USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class AgentCaller:
    """An agent that showed a live key."""

    agent: Agent

    def may_reach(self, agent_session: AgentSession) -> bool:
        return agent_session.agent_id == self.agent.id


@dataclass(frozen=True)
class SessionCaller:
    """The holder of one session's token, live or ended."""

    agent_session_id: uuid.UUID

    def may_reach(self, agent_session: AgentSession) -> bool:
        return agent_session.id == self.agent_session_id


Caller = AgentCaller | SessionCaller


class AgentRequest(HttpRequest):
    auth: AgentCaller


class SessionRequest(HttpRequest):
    auth: SessionCaller


class EitherRequest(HttpRequest):
    auth: Caller


class TokenRequest(HttpRequest):
    """`auth` is a session token that is well formed and not looked up yet: session_of does that."""

    auth: str


class _Bearer(HttpBearer):
    """Reads the header itself: ninja's own reader logs what it does not understand, and that may be a secret."""

    prefix: str

    def __call__(self, request: HttpRequest) -> "Coroutine[Any, Any, Caller | Gateway | str | None] | None":
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not tokens.well_formed(token.strip(), self.prefix):
            return None
        return self.authenticate(request, token.strip())


class GatewayRequest(HttpRequest):
    auth: Gateway


class GatewayTokenAuth(_Bearer):
    """`Authorization: Bearer dbg_...`"""

    prefix = tokens.GATEWAY_TOKEN
    openapi_bearerFormat = "dbg_"

    async def authenticate(self, request: HttpRequest, token: str) -> Gateway | None:
        return await in_thread(gateway_of_token)(token)


class AgentKeyAuth(_Bearer):
    """`Authorization: Bearer dbk_...`"""

    prefix = tokens.AGENT_KEY
    openapi_bearerFormat = "dbk_"

    async def authenticate(self, request: HttpRequest, token: str) -> AgentCaller | None:
        return await in_thread(agent_of_key)(token)


class SessionTokenAuth(_Bearer):
    """`Authorization: Bearer dbs_...`"""

    prefix = tokens.SESSION_TOKEN
    openapi_bearerFormat = "dbs_"

    async def authenticate(self, request: HttpRequest, token: str) -> SessionCaller | None:
        return await in_thread(session_of_token)(token)


class ClaimedTokenAuth(_Bearer):
    """`Authorization: Bearer dbs_...`, looked up by the endpoint together with everything else that it asks."""

    prefix = tokens.SESSION_TOKEN
    openapi_bearerFormat = "dbs_"

    async def authenticate(self, request: HttpRequest, token: str) -> str:
        return token


agent_key = AgentKeyAuth()
session_token = SessionTokenAuth()
claimed_token = ClaimedTokenAuth()
gateway_token = GatewayTokenAuth()


def gateway_of_token(token: str) -> Gateway | None:
    return Gateway.objects.filter(token_digest=tokens.digest(token), retired_at=None).first()


def agent_of_key(key: str) -> AgentCaller | None:
    """The agent of a live key, if who answers for it still has a role in its team.

    Notes the use of the key, at most once in USED_EVERY.
    """
    rows = AgentKey.objects.select_related("agent__team", "agent__owner")
    row = rows.filter(digest=tokens.digest(key), revoked_at=None, agent__retired_at=None).first()
    if row is None or not answered_for(row.agent.owner_id, row.agent.team_id):
        return None
    before = now() - USED_EVERY
    if row.last_used_at is None or row.last_used_at < before:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=before)
        AgentKey.objects.filter(stale, pk=row.pk).update(last_used_at=now())
    return AgentCaller(row.agent)


def session_of_token(token: str) -> SessionCaller | None:
    """Tokens of ended sessions still say whose they are: what they may do then is for each endpoint."""
    rows = AgentSession.objects.filter(token_digest=tokens.digest(token), agent__retired_at=None)
    row = rows.only("id", "person_id", "team_id").first()
    return SessionCaller(row.id) if row and answered_for(row.person_id, row.team_id) else None


# Written out, since it is asked for every batch: Django takes longer to write it than PostgreSQL to answer.
SESSION_OF = """
SELECT run.id, run.agent_id, run.person_id, run.team_id, run.state, run.end_reason, run.requested_at, run.ended_at,
    run.killed_at
FROM agent_sessions_agentsession AS run
JOIN agent_sessions_agent AS agent ON agent.id = run.agent_id AND agent.retired_at IS NULL
WHERE run.token_digest = %s AND EXISTS (
    SELECT FROM agent_sessions_membership AS role JOIN agent_sessions_person AS person ON person.id = role.person_id
    WHERE role.person_id = run.person_id AND role.team_id = run.team_id AND role.ended_at IS NULL AND person.is_active
)
"""


def session_of(token: str) -> AgentSession:
    """The session of a live token, live or ended, with the columns of SESSION_OF alone. Raises Refusal."""
    rows = list(AgentSession.objects.raw(SESSION_OF, [tokens.digest(token)]))
    if not rows:
        raise Refusal(Code.UNAUTHENTICATED, "Send Authorization: Bearer with a live token of a session.")
    return rows[0]


def answered_for(person_id: uuid.UUID, team_id: uuid.UUID) -> bool:
    """Whether the person for whom an agent works still has an account, and a role in its team."""
    roles = Membership.objects.filter(person=person_id, person__is_active=True, team=team_id, ended_at=None)
    return roles.exists()


def reached(caller: Caller, agent_session_id: uuid.UUID) -> AgentSession:
    """The session, if it is the caller's. Another's is not found, as if it did not exist.

    Held requests ask this at each look: who answers for the agent may have left meanwhile.
    """
    agent_session = AgentSession.objects.filter(pk=agent_session_id).first()
    if agent_session is None or not caller.may_reach(agent_session):
        raise Refusal(Code.NOT_FOUND, "There is no such session, or it is not yours.")
    if not answered_for(agent_session.person_id, agent_session.team_id):
        raise Refusal(Code.UNAUTHENTICATED, "Nobody answers for this agent any more.")
    return agent_session
