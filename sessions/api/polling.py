"""What a poll with a device code is answered (RFC 8628, section 3.5). A poll is not a change of the session's state.

The decision is pure; the count of polls is a compare-and-swap on the session's row.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from audit.event import now
from sessions import tokens
from sessions.api.callers import answered_for
from sessions.models import AgentSession
from sessions.models.runs import EndReason, State

SLOWER_BY_S, SLOWEST_S = 5, 300
# A client that keeps to the interval may still arrive a little early.
JITTER = timedelta(milliseconds=500)


class Error(StrEnum):
    """RFC 6749, section 5.2, and RFC 8628, section 3.5."""

    INVALID_REQUEST = "invalid_request"
    INVALID_GRANT = "invalid_grant"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    AUTHORIZATION_PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    ACCESS_DENIED = "access_denied"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105


class TokenRefused(Exception):
    """The token endpoint answers with an error."""

    def __init__(self, error: Error, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


@dataclass(frozen=True)
class Standing:
    """What an answer depends on."""

    agent_session_id: uuid.UUID
    state: str
    end_reason: str
    given_out: bool
    agent_lives: bool


_PENDING = {
    State.REQUESTED: "Nobody has decided yet.",
    State.SUSPENDED: "The session is suspended.",
}
_OVER = {
    State.DENIED: (Error.ACCESS_DENIED, "The request was denied."),
    State.WITHDRAWN: (Error.ACCESS_DENIED, "The request was withdrawn."),
    State.LAPSED: (Error.EXPIRED_TOKEN, "Nobody decided in time. Ask again."),
}
_ENDED = {
    EndReason.KILLED: (Error.ACCESS_DENIED, "The session was killed."),
    EndReason.FINDING: (Error.ACCESS_DENIED, "The session was ended by a finding."),
    EndReason.FAILED: (Error.ACCESS_DENIED, "The session could not be started."),
    EndReason.COMPLETED: (Error.ACCESS_DENIED, "The session was ended."),
    EndReason.EXPIRED: (Error.EXPIRED_TOKEN, "The session's time is over."),
}
UNKNOWN = TokenRefused(Error.INVALID_GRANT, "This device code is not one of ours, or no longer is.")


def answer(standing: Standing) -> TokenRefused | None:
    """Why there is no token (now); None where it may be given out."""
    if not standing.agent_lives:
        return TokenRefused(Error.ACCESS_DENIED, "The agent was retired, or nobody answers for it any more.")
    if standing.state in _OVER:
        return TokenRefused(*_OVER[State(standing.state)])
    if standing.state == State.ENDED:
        return TokenRefused(*_ENDED[EndReason(standing.end_reason)])
    if standing.given_out:
        return TokenRefused(Error.INVALID_GRANT, "The token was given out already. Ask for a new session.")
    if standing.state in _PENDING:
        return TokenRefused(Error.AUTHORIZATION_PENDING, _PENDING[State(standing.state)])
    return None


def is_final(standing: Standing) -> bool:
    """Whether waiting longer cannot change the answer, or the token is there to be had."""
    refused = answer(standing)
    return refused is None or refused.error is not Error.AUTHORIZATION_PENDING


def standing_of(agent_session_id: uuid.UUID) -> Standing:
    row = AgentSession.objects.select_related("agent").get(pk=agent_session_id)
    return Standing(
        agent_session_id=row.id,
        state=row.state,
        end_reason=row.end_reason,
        given_out=row.token_digest is not None,
        agent_lives=row.agent.retired_at is None and answered_for(row.person_id, row.team_id),
    )


def next_interval_s(interval_s: int, polled_at: datetime | None, at: datetime) -> int:
    """The interval after a poll at `at`: five seconds more if it came too early."""
    if polled_at is None or at - polled_at + JITTER >= timedelta(seconds=interval_s):
        return interval_s
    return min(interval_s + SLOWER_BY_S, SLOWEST_S)


def count(device_code: str) -> uuid.UUID:
    """Note a poll, and return whose it is. Raises TokenRefused where it came too early, or the code is unknown."""
    if not tokens.well_formed(device_code, tokens.DEVICE_CODE):
        raise UNKNOWN
    rows = AgentSession.objects.filter(device_code_digest=tokens.digest(device_code))
    row = rows.values_list("id", "poll_interval_s", "polled_at").first()
    if row is None:
        raise UNKNOWN
    agent_session_id, interval_s, polled_at = row
    at = now()
    slower = next_interval_s(interval_s, polled_at, at)
    counted = AgentSession.objects.filter(pk=agent_session_id, polled_at=polled_at).update(
        polled_at=at, poll_interval_s=slower
    )
    # Where nothing was counted, another poll came at this very moment.
    if slower > interval_s or not counted:
        raise TokenRefused(Error.SLOW_DOWN, f"Wait {slower} seconds between polls, or send Prefer: wait=30.")
    return agent_session_id
