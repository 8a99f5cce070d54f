"""Taking events from agents: a batch is answered event by event, and only after it was committed."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import IntegrityError, transaction
from ninja import Router, Schema

from audit import log
from audit.event import OUTCOMES, NewEvent, now
from audit.log import Answer
from sessions.api.callers import SessionCaller, SessionRequest, reached, session_token
from sessions.api.problems import Code, Problem, Refusal, refuse_over
from sessions.api.reports import KIND, LONGEST_KIND, MOST_EVENTS, BadBatch, BadEvent, Reporter, claimed_id, read_batch
from sessions.api.threads import in_thread
from sessions.models import AgentSession
from sessions.models.runs import LIVE
from sessions.parties import agent_of, person_of

router = Router(tags=["events"])

LARGEST_BATCH = 4 * 1024 * 1024
# How long after the end a runner may still send what it had spooled.
GRACE = timedelta(minutes=10)
ANOTHERS = "This id belongs to another event, or this event was sent before with other content."


class Receipt(Schema):
    """What became of one event. `known`: it is in the log already, from an earlier sending."""

    id: str | None
    answer: Literal["stored", "known", "rejected"]
    why: str | None = None


class Receipts(Schema):
    """One receipt for each event, in the order in which they were sent."""

    events: list[Receipt]


_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "kind", "occurred_at"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "format": "uuid", "description": "UUIDv7, made by the sender; twice counts once."},
        "kind": {"type": "string", "maxLength": LONGEST_KIND, "pattern": f"^{KIND.pattern}$"},
        "occurred_at": {"type": "string", "format": "date-time"},
        "outcome": {"type": "string", "enum": sorted(OUTCOMES), "default": "success"},
        "data": {"type": "object", "default": {}},
    },
}
DOCUMENT = {
    "requestBody": {
        "required": True,
        "description": f"Up to {MOST_EVENTS} events and {LARGEST_BATCH} bytes.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["events"],
                    "additionalProperties": False,
                    "properties": {"events": {"type": "array", "maxItems": MOST_EVENTS, "items": _EVENT}},
                }
            }
        },
    }
}


@router.post(
    "/sessions/{uuid:session_id}/events",
    auth=session_token,
    response={200: Receipts, 400: Problem, 401: Problem, 404: Problem, 409: Problem, 413: Problem},
    url_name="events",
    operation_id="reportEvents",
    openapi_extra=DOCUMENT,
)
async def report(request: SessionRequest, session_id: uuid.UUID) -> Receipts:
    """Store what the agent did. Sending a batch again is safe; a bad event does not keep the others out."""
    body = request.read(LARGEST_BATCH + 1)
    return await in_thread(_report)(request.auth, session_id, body)


def _report(caller: SessionCaller, agent_session_id: uuid.UUID, body: bytes) -> Receipts:
    agent_session = reached(caller, agent_session_id)
    at = now()
    reporter = _reporter(agent_session, at)
    try:
        raws = read_batch(body)
    except BadBatch as bad:
        raise Refusal(Code.MALFORMED, str(bad)) from bad
    if len(raws) > MOST_EVENTS:
        raise Refusal(Code.TOO_LARGE, f"A batch may have {MOST_EVENTS} events, this one has {len(raws)}.")
    return Receipts(events=_receipts(reporter, raws, at))


def _reporter(agent_session: AgentSession, at: datetime) -> Reporter:
    if agent_session.state not in LIVE and (agent_session.ended_at is None or at > agent_session.ended_at + GRACE):
        refuse_over(agent_session)
    return Reporter(
        session=agent_session.id,
        sub=person_of(agent_session),
        act=agent_of(agent_session),
        since=agent_session.requested_at,
        until=agent_session.ended_at,
    )


def _receipts(reporter: Reporter, raws: Sequence[object], at: datetime) -> list[Receipt]:
    receipts: list[Receipt] = []
    good: list[tuple[int, NewEvent]] = []
    for place, raw in enumerate(raws):
        try:
            good.append((place, reporter.event(raw, at)))
        except BadEvent as bad:
            receipts.append(Receipt(id=claimed_id(raw), answer="rejected", why=str(bad)))
        else:
            receipts.append(Receipt(id=claimed_id(raw), answer="stored"))
    answers = _store(reporter.session, [event for _, event in good])
    for (place, event), answer in zip(good, answers, strict=True):
        receipts[place] = _receipt(event, answer)
    return receipts


def _receipt(event: NewEvent, answer: Answer) -> Receipt:
    if answer is Answer.CONFLICT:
        return Receipt(id=str(event.id), answer="rejected", why=ANOTHERS)
    return Receipt(id=str(event.id), answer="known" if answer is Answer.KNOWN else "stored")


def _store(agent_session_id: uuid.UUID, events: Sequence[NewEvent]) -> list[Answer]:
    if not events:
        return []
    try:
        return _append(agent_session_id, events)
    except IntegrityError:
        # Another session sent one of these ids at this very moment: now it is known, and answered as such.
        return _append(agent_session_id, events)


@transaction.atomic(durable=True)
def _append(agent_session_id: uuid.UUID, events: Sequence[NewEvent]) -> list[Answer]:
    return log.append_batch(agent_session_id, events)
