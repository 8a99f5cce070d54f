"""The only writer of the log.

Promises: an event is written in the caller's transaction, or the caller fails. Within a stream the numbers have no
gaps, and a lower number was committed first. An event that is sent twice is stored once. Stored bytes never change.
"""

import uuid
from collections.abc import Sequence
from enum import StrEnum

from django.db import DatabaseError, connection, transaction

from audit import notices
from audit.event import NewEvent, body, content_of, from_content, now
from audit.models import DeferredEvent, Event

PATIENCE_MS = 500


class Answer(StrEnum):
    STORED = "stored"
    KNOWN = "known"
    CONFLICT = "conflict"


def append(event: NewEvent) -> Event:
    """Write one event in the caller's transaction."""
    _require_transaction()
    [row] = _insert(event.stream, [event])
    return row


def append_batch(stream: uuid.UUID, events: Sequence[NewEvent]) -> list[Answer]:
    """Write the events that are new, in their order; say of each whether it is stored, known, or another's id."""
    _require_transaction()
    _lock(stream)
    known = dict(Event.objects.filter(id__in=[event.id for event in events]).values_list("id", "body"))
    fresh: dict[uuid.UUID, NewEvent] = {}
    answers = []
    for event in events:
        if event.id in known:
            same = content_of(bytes(known[event.id])) == event.content()
            answers.append(Answer.KNOWN if same else Answer.CONFLICT)
        elif event.id in fresh:
            answers.append(Answer.KNOWN if fresh[event.id].content() == event.content() else Answer.CONFLICT)
        else:
            fresh[event.id] = event
            answers.append(Answer.STORED)
    _insert(stream, list(fresh.values()))
    return answers


def append_or_defer(event: NewEvent) -> None:
    """For a kill alone: if the log cannot be written now, queue the event durably and go on."""
    _require_transaction()
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{PATIENCE_MS}ms"])
            append(event)
    except DatabaseError:
        DeferredEvent.objects.create(id=event.id, stream=event.stream, content=event.content())


def append_deferred(limit: int = 100) -> int:
    """Move events that a kill had to defer into the log. Returns how many."""
    moved = 0
    for deferred in DeferredEvent.objects.order_by("deferred_at")[:limit]:
        with transaction.atomic():
            append_batch(deferred.stream, [from_content(deferred.content)])
            deferred.delete()
            moved += 1
    return moved


def _insert(stream: uuid.UUID, events: Sequence[NewEvent]) -> list[Event]:
    if not events:
        return []
    first = _advance(stream, len(events))
    recorded_at = now()
    rows = [
        Event(
            id=event.id,
            stream=stream,
            seq=seq,
            kind=event.kind,
            outcome=event.outcome,
            occurred_at=event.occurred_at,
            recorded_at=recorded_at,
            body=body(event, seq, recorded_at),
        )
        for seq, event in enumerate(events, first)
    ]
    Event.objects.bulk_create(rows)
    notices.after_commit(notices.stream_topic(stream))
    return rows


def _lock(stream: uuid.UUID) -> None:
    _advance(stream, 0)


def _advance(stream: uuid.UUID, count: int) -> int:
    """Take the stream's lock and the next `count` numbers; returns the first of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_stream AS s (id, last_seq) VALUES (%s, %s) "
            "ON CONFLICT (id) DO UPDATE SET last_seq = s.last_seq + %s RETURNING last_seq",
            [stream, count, count],
        )
        [last] = cursor.fetchone()
    return int(last) - count + 1


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("an event is appended in the transaction of what it records")
