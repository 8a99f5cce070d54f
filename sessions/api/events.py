"""Taking events from agents: a batch is answered event by event, and only after it was committed."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from ninja import Router, Schema

from audit import log, notices
from audit.event import OUTCOMES, NewEvent, now
from audit.log import Answer
from sessions import words
from sessions.api import batches
from sessions.api.batches import LARGEST_BATCH, MOST_EVENTS, NDJSON, BadBatch, OtherType, TooLarge
from sessions.api.callers import TokenRequest, claimed_token, session_of
from sessions.api.problems import Code, Problem, Refusal, refuse_over
from sessions.api.reports import KIND, LONGEST_KIND, BadEvent, Reporter, claimed_id
from sessions.models import AgentSession
from sessions.models.runs import LIVE
from sessions.parties import agent_of, person_of
from sessions.threads import in_thread

router = Router(tags=["events"])

# How long after the end a runner may still send what it had spooled.
GRACE = timedelta(minutes=10)
SANDBOX, LONGEST_SANDBOX = "sandbox.started", 64
ANOTHERS = "This id belongs to another event, or this event was sent before with other content."
# Batches at work or waiting for a thread: more of them would only wait, and hold memory.
MOST_AT_ONCE, MOST_AT_ONCE_EACH = 32, 8
MOST_STRANGERS, MOST_SEEN, SEEN_S = 16, 10_000, 300.0

_at_work: Counter[str] = Counter()
_strangers: Counter[str] = Counter()
_seen: dict[str, float] = {}


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
        "description": f"Up to {MOST_EVENTS} events and {LARGEST_BATCH} bytes, gzip or plain.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["events"],
                    "additionalProperties": False,
                    "properties": {"events": {"type": "array", "maxItems": MOST_EVENTS, "items": _EVENT}},
                }
            },
            NDJSON: {"schema": {"type": "string", "description": "One event a line."}},
        },
    }
}


@router.post(
    "/events",
    auth=claimed_token,
    response={
        200: Receipts,
        **dict.fromkeys((400, 401, 409, 413, 415, 429, 503), Problem),
    },
    url_name="events",
    operation_id="reportEvents",
    openapi_extra=DOCUMENT,
)
async def report(request: TokenRequest) -> HttpResponse:
    """Store what the agent of this token did. Sending a batch again is safe; a bad event does not keep others out.

    429 and 503 say after how many seconds to send the same batch again: until then nothing of it is kept.
    """
    body = request.read(LARGEST_BATCH + 1)
    kind, encoding = request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", "")
    with at_work(request.auth):
        return HttpResponse(await taken(request.auth, body, kind, encoding), content_type="application/json")


async def taken(token: str, body: bytes, kind: str, encoding: str) -> bytes:
    """The receipts of a batch, as JSON, once it is committed. Raises Refusal, or what the database raises."""
    return await in_thread(_report)(token, body, kind, encoding)


@contextmanager
def at_work(token: str) -> Iterator[None]:
    """Counts batches, from before their bodies are read. Raises Refusal where there are too many.

    Anybody can make up a token: those that were not seen to be good a short while ago share a few places of their own,
    and keep nobody else out.
    """
    known = _seen.get(token, 0.0) > time.monotonic() - SEEN_S
    all_of_them, most = (_at_work, MOST_AT_ONCE) if known else (_strangers, MOST_STRANGERS)
    if all_of_them.total() >= most or all_of_them[token] >= MOST_AT_ONCE_EACH:
        raise Refusal(Code.BUSY, "Too many batches are being stored. Send this one again in a second.")
    all_of_them[token] += 1
    try:
        yield
    finally:
        all_of_them[token] -= 1
        if not all_of_them[token]:
            del all_of_them[token]


def session_seen(token: str) -> AgentSession:
    """The session of a live token, which is known to be good from now on for a while. Raises Refusal."""
    found = session_of(token)
    if len(_seen) > MOST_SEEN:
        _seen.clear()
    _seen[token] = time.monotonic()
    return found


def read(body: bytes, content_type: str, encoding: str) -> Sequence[object]:
    """The events of a batch, unread. Raises Refusal."""
    try:
        return batches.read(body, content_type, encoding)
    except TooLarge as bad:
        raise Refusal(Code.TOO_LARGE, str(bad)) from bad
    except OtherType as bad:
        raise Refusal(Code.UNSUPPORTED, str(bad)) from bad
    except BadBatch as bad:
        raise Refusal(Code.MALFORMED, str(bad)) from bad


def _report(token: str, body: bytes, kind: str, encoding: str) -> bytes:
    at = now()
    reporter = reporter_of(session_seen(token), at)
    return orjson.dumps({"events": take(reporter, read(body, kind, encoding), at)})


def reporter_of(agent_session: AgentSession, at: datetime) -> Reporter:
    """Whose events they are. Raises Refusal where the session is over for longer than GRACE."""
    if agent_session.state not in LIVE and (agent_session.ended_at is None or at > agent_session.ended_at + GRACE):
        refuse_over(agent_session)
    return Reporter(
        session=agent_session.id,
        sub=person_of(agent_session),
        act=agent_of(agent_session),
        since=agent_session.requested_at,
        until=agent_session.ended_at,
    )


def take(reporter: Reporter, raws: Sequence[object], at: datetime) -> list[dict[str, str | None]]:
    """Store what can be stored, and say of each what became of it. Committed when it returns."""
    receipts: list[dict[str, str | None]] = []
    good: list[tuple[int, NewEvent]] = []
    for place, raw in enumerate(raws):
        receipt: dict[str, str | None] = {"id": claimed_id(raw), "answer": "stored", "why": None}
        try:
            good.append((place, reporter.event(raw, at)))
        except BadEvent as bad:
            receipt.update(answer="rejected", why=str(bad))
        receipts.append(receipt)
    answers = _store(reporter.session, [event for _, event in good])
    sandboxes = [event.data for _, event in good if event.kind == SANDBOX]
    if sandboxes:
        _note_sandbox(reporter.session, sandboxes[0])
    for (place, _), answer in zip(good, answers, strict=True):
        if answer is Answer.CONFLICT:
            receipts[place].update(answer="rejected", why=ANOTHERS)
        elif answer is Answer.KNOWN:
            receipts[place]["answer"] = "known"
    return receipts


def _note_sandbox(agent_session_id: uuid.UUID, data: Mapping[str, Any]) -> None:
    """What its runner says of the sandbox, for the session's page. What was said first stays."""
    said = " ".join(str(data[name]) for name in ("sandbox", "version") if isinstance(data.get(name), str | int | float))
    shown = words.plain(said)[:LONGEST_SANDBOX]
    if shown and AgentSession.objects.filter(pk=agent_session_id, sandbox="").update(sandbox=shown):
        notices.publish(notices.state_topic(agent_session_id))


def _store(agent_session_id: uuid.UUID, events: Sequence[NewEvent]) -> list[Answer]:
    if not events:
        return []
    try:
        _append_new(agent_session_id, events)
    except IntegrityError:
        pass
    else:
        return [Answer.STORED] * len(events)
    try:
        return _append(agent_session_id, events)
    except IntegrityError:
        # Another session sent one of these ids at this very moment: now it is known, and answered as such.
        return _append(agent_session_id, events)


@transaction.atomic(durable=True)
def _append_new(agent_session_id: uuid.UUID, events: Sequence[NewEvent]) -> None:
    log.append_new(agent_session_id, events)


@transaction.atomic(durable=True)
def _append(agent_session_id: uuid.UUID, events: Sequence[NewEvent]) -> list[Answer]:
    return log.append_batch(agent_session_id, events)
