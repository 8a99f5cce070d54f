"""The only writer of the log.

Promises: an event is written in the caller's transaction, or the caller fails. Within a stream the numbers have no
gaps, and a lower number was committed first. An event that is sent twice is stored once. Stored bytes never change.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

import structlog
from django.db import DatabaseError, connection, transaction
from psycopg import sql

from audit import notices, personal
from audit.envelope import Unreadable
from audit.event import NewEvent, body, from_content, now
from audit.models import DeferredEvent, Event, Outcome

logger = structlog.get_logger()

PATIENCE_MS = 500
OUTCOMES = {choice.label: choice.value for choice in Outcome}
COLUMNS = {
    "id": "uuid",
    "stream": "uuid",
    "seq": "int8",
    "occurred_at": "timestamptz",
    "recorded_at": "timestamptz",
    "outcome": "int2",
    "kind": "text",
    "actor": "text",
    "host": "text",
    "path": "text",
    "body": "bytea",
}
NAMES = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
COPY = sql.SQL("COPY audit_event ({}) FROM STDIN (FORMAT BINARY)").format(NAMES)
INSERT = sql.SQL("INSERT INTO audit_event ({}) VALUES ({})").format(
    NAMES, sql.SQL(", ").join(sql.Placeholder() * len(COLUMNS))
)
ADVANCE = """
INSERT INTO audit_stream AS s (id, last_seq) VALUES (%s, %s)
ON CONFLICT (id) DO UPDATE SET last_seq = s.last_seq + EXCLUDED.last_seq RETURNING last_seq
"""
RUN = """
WITH advanced AS (
    INSERT INTO audit_stream AS s (id, last_seq) VALUES (%s, %s)
    ON CONFLICT (id) DO UPDATE SET last_seq = s.last_seq + EXCLUDED.last_seq RETURNING id, last_seq
)
INSERT INTO audit_run (stream, first_seq, last_seq)
SELECT id, last_seq - %s + 1, last_seq FROM advanced RETURNING last_seq
"""
# One place in each of many streams, locked in one order by whoever takes several.
RUNS = """
WITH advanced AS (
    INSERT INTO audit_stream AS s (id, last_seq)
    SELECT id, 1 FROM unnest(%s::uuid[]) AS asked (id) ORDER BY id
    ON CONFLICT (id) DO UPDATE SET last_seq = s.last_seq + EXCLUDED.last_seq RETURNING id, last_seq
)
INSERT INTO audit_run (stream, first_seq, last_seq)
SELECT id, last_seq, last_seq FROM advanced RETURNING stream, last_seq
"""
Row = tuple[uuid.UUID, uuid.UUID, int, datetime, datetime, int, str, str | None, str | None, str | None, bytes]


class Answer(StrEnum):
    STORED = "stored"
    KNOWN = "known"
    CONFLICT = "conflict"


def append(event: NewEvent) -> Event:
    """Write one event in the caller's transaction."""
    _require_transaction()
    return _append(personal.sealed(event))


def _append(event: NewEvent) -> Event:
    [row] = _rows(event.stream, [event])
    with connection.cursor() as cursor:
        cursor.execute(INSERT, row)
    _tell(event.stream)
    return Event(**dict(zip(COLUMNS, row, strict=True)))


def append_batch(stream: uuid.UUID, events: Sequence[NewEvent]) -> list[Answer]:
    """Write the events that are new, in their order; say of each whether it is stored, known, or another's id."""
    _require_transaction()
    return _append_batch(stream, personal.sealed_all(events))


def append_new(stream: uuid.UUID, events: Sequence[NewEvent]) -> None:
    """Write events all of which should be new: half the work of append_batch.

    Raises IntegrityError where one is not; the caller's transaction is over then, and append_batch says which.
    """
    _require_transaction()
    _copy(_rows(stream, personal.sealed_all(events)))
    _tell(stream)


def append_each(events: Sequence[NewEvent]) -> None:
    """Write many new events, each in a stream of its own, as quickly as one batch."""
    _require_transaction()
    _append_each(personal.sealed_all(events))


def _append_each(events: Sequence[NewEvent]) -> None:
    for event in events:
        _ = event.parts
    with connection.cursor() as cursor:
        cursor.execute(RUNS, [[event.stream for event in events]])
        places = dict(cursor.fetchall())
    if len(places) != len(events):
        raise ValueError("each event must have a stream of its own")
    recorded_at = now()
    _copy(_row(event, places[event.stream], recorded_at) for event in events)
    for stream in places:
        _tell(stream)


def _append_batch(stream: uuid.UUID, events: Sequence[NewEvent]) -> list[Answer]:
    if not events:
        return []
    _advance(stream, 0)
    known = {row.id: row for row in Event.objects.filter(id__in={event.id for event in events})}
    fresh: dict[uuid.UUID, NewEvent] = {}
    answers = []
    for event in events:
        if row := known.get(event.id):
            same = row.stream == stream and bytes(row.body) == body(event, row.seq, row.recorded_at)
            answers.append(Answer.KNOWN if same else Answer.CONFLICT)
        elif event.id in fresh:
            answers.append(Answer.KNOWN if fresh[event.id].content() == event.content() else Answer.CONFLICT)
        else:
            fresh[event.id] = event
            answers.append(Answer.STORED)
    if fresh:
        _copy(_rows(stream, list(fresh.values())))
        _tell(stream)
    return answers


def append_or_defer(*events: NewEvent) -> None:
    """For a kill, and for what must not fail with the log: if it cannot be written now, queue it durably and go on.

    Where there are several, each is of a stream of its own.
    """
    _require_transaction()
    kept = _sealed_or_withheld(events)
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{PATIENCE_MS}ms"])
            _append_each(kept)
    except DatabaseError:
        DeferredEvent.objects.bulk_create(
            DeferredEvent(id=event.id, stream=event.stream, content=event.content()) for event in kept
        )


def _sealed_or_withheld(events: Sequence[NewEvent]) -> list[NewEvent]:
    """What is deferred holds nothing personal in the clear either."""
    try:
        with transaction.atomic():
            return personal.sealed_all(events)
    except (DatabaseError, Unreadable):
        return [personal.withheld(event) for event in events]


def append_deferred(limit: int = 100) -> int:
    """Move deferred events into the log; one that cannot be moved keeps no other back. Returns how many were."""
    moved = 0
    for deferred in DeferredEvent.objects.order_by("deferred_at")[:limit]:
        try:
            with transaction.atomic():
                _append_batch(deferred.stream, [from_content(deferred.content)])
                deferred.delete()
        except (DatabaseError, ValueError) as error:
            logger.error("deferred_event_stays", event_id=str(deferred.id), error=str(error))
        else:
            moved += 1
    return moved


def _rows(stream: uuid.UUID, events: Sequence[NewEvent]) -> list[Row]:
    """The events at their places, which are taken under the stream's lock."""
    for event in events:
        _ = event.parts  # what is too long is refused before a place is taken
    first = _advance(stream, len(events))
    recorded_at = now()
    return [_row(event, seq, recorded_at) for seq, event in enumerate(events, first)]


def _row(event: NewEvent, seq: int, recorded_at: datetime) -> Row:
    return (
        event.id,
        event.stream,
        seq,
        event.occurred_at,
        recorded_at,
        OUTCOMES[event.outcome],
        event.kind,
        event.actor,
        event.host,
        event.path,
        body(event, seq, recorded_at),
    )


def _copy(rows: Iterable[Row]) -> None:
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.set_types(list(COLUMNS.values()))
        for row in rows:
            copy.write_row(row)


def _advance(stream: uuid.UUID, count: int) -> int:
    """Take the stream's lock and a run of the next `count` numbers; returns the first of them."""
    with connection.cursor() as cursor:
        if count:
            cursor.execute(RUN, [stream, count, count])
        else:
            cursor.execute(ADVANCE, [stream, 0])
        [last] = cursor.fetchone()
    return int(last) - count + 1


def _tell(stream: uuid.UUID) -> None:
    notices.after_commit(notices.stream_topic(stream))


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("an event is appended in the transaction of what it records")
