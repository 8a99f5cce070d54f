"""Events that gateways report: each names its session, and says what passed for it or was refused."""

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import orjson
import structlog

from audit.event import now
from sessions import lifecycle
from sessions.api import events
from sessions.api.problems import Code, Refusal
from sessions.api.reports import Reporter, claimed_id
from sessions.errors import StateConflict
from sessions.models import AgentSession, Gateway
from sessions.models.runs import LIVE
from sessions.parties import agent_of, person_of

logger = structlog.get_logger()

KINDS = re.compile(r"(?:egress|finding|dns)(?:\.[a-z][a-z0-9_]*){1,3}")
# Findings that end a session whose profile says so.
GRAVE = frozenset({"finding.leak", "finding.evasion"})
MOST_AT_ONCE = 8
NAMELESS = "session must be the id of a session, as text."
UNKNOWN = "There is no such session."

DOCUMENT: dict[str, Any] = deepcopy(events.DOCUMENT)
_schema = DOCUMENT["requestBody"]["content"]["application/json"]["schema"]["properties"]["events"]["items"]
_schema["required"].append("session")
_schema["properties"]["session"] = {"type": "string", "format": "uuid"}
_schema["properties"]["kind"]["pattern"] = f"^{KINDS.pattern}$"

_at_work: dict[uuid.UUID, int] = {}


@contextmanager
def at_work(gateway: Gateway) -> Iterator[None]:
    """Counts the batches of each gateway. Raises Refusal where there are too many."""
    count = _at_work.get(gateway.id, 0)
    if count >= MOST_AT_ONCE:
        raise Refusal(Code.BUSY, "Too many batches of this gateway are being stored. Send this one again in a second.")
    _at_work[gateway.id] = count + 1
    try:
        yield
    finally:
        _at_work[gateway.id] -= 1


def take(gateway: Gateway, body: bytes, kind: str, encoding: str) -> bytes:
    """The receipts, as JSON, once everything that can be stored is committed, session by session."""
    at = now()
    raws = events.read(body, kind, encoding)
    named = [_session_of(raw) for raw in raws]
    sessions = AgentSession.objects.select_related("profile_version").in_bulk([one for one in named if one])
    receipts: list[dict[str, str | None]] = [
        {"id": claimed_id(raw), "answer": "rejected", "why": UNKNOWN if one else NAMELESS}
        for raw, one in zip(raws, named, strict=True)
    ]
    for agent_session in sessions.values():
        places = [place for place, one in enumerate(named) if one == agent_session.id]
        mine = [_without_session(raws[place]) for place in places]
        answers = events.take(reporter_of(gateway, agent_session), mine, at)
        for place, answer in zip(places, answers, strict=True):
            receipts[place] = answer
        _judge(agent_session, mine, answers)
    return orjson.dumps({"events": receipts})


def reporter_of(gateway: Gateway, agent_session: AgentSession) -> Reporter:
    """It may report at any time: what came through after the end must be told above all."""
    return Reporter(
        session=agent_session.id,
        sub=person_of(agent_session),
        act=gateway.reference,
        since=agent_session.requested_at,
        until=None,
        agent=agent_of(agent_session),
        kinds=KINDS,
    )


def _session_of(raw: object) -> uuid.UUID | None:
    value = raw.get("session") if isinstance(raw, dict) else None
    try:
        return uuid.UUID(value) if isinstance(value, str) and len(value) == 36 else None
    except ValueError:
        return None


def _without_session(raw: object) -> object:
    return {name: value for name, value in raw.items() if name != "session"} if isinstance(raw, dict) else raw


def _judge(agent_session: AgentSession, raws: Sequence[object], answers: Sequence[dict[str, str | None]]) -> None:
    """End the session for the first grave finding that is new, if its profile says so."""
    new = [raw for raw, answer in zip(raws, answers, strict=True) if answer["answer"] == "stored"]
    grave = next((raw["kind"] for raw in new if isinstance(raw, dict) and raw.get("kind") in GRAVE), None)
    if grave is None or agent_session.state not in LIVE:
        return
    if agent_session.profile_version.conditions["on_finding"] == "kill":
        try:
            lifecycle.end_for_finding(agent_session.id, str(grave))
        except StateConflict as conflict:
            logger.info("finding_overtaken", agent_session=str(agent_session.id), found=conflict.found)
