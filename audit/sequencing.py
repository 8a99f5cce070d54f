"""Gives committed runs their places in the tree, under the head's row lock, and reads entries by their place.

Promises: places are contiguous and, once committed, never change. What pages count and search by comes after them, at
its own pace, so that no event can keep others from being signed for.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db import DatabaseError, connection, transaction

from audit import health
from audit.errors import LogError
from audit.event import now
from audit.models import Head

MOST_RUNS = 1_000
# A step holds all of its entries in memory, and one may have 60,000 bytes.
MOST_EVENTS = 2_000
BUCKET_S = 5
# A search looks at the words of so many events at once, and at no more than the beginning of a very long event.
BLOCK = 64
LONGEST_SEARCHED = 2_000
# So many events are counted and made searchable at once, after they were signed for.
INDEX_EVENTS = 300
TAG = 8


T = TypeVar("T")


class LostRowsError(LogError):
    """Events that were committed are not there any more: somebody took them out of the database."""

    def __init__(self, stream: uuid.UUID, seq: int, index: int) -> None:
        self.stream, self.seq, self.index = stream, seq, index
        super().__init__(f"event {seq} of stream {stream}, entry {index} of the log, is missing from the database")


@dataclass(frozen=True)
class Waiting:
    """A run without a place."""

    id: int
    stream: uuid.UUID
    first_seq: int
    last_seq: int

    def __len__(self) -> int:
        return self.last_seq - self.first_seq + 1


def head() -> Head:
    return Head.objects.get(pk=1)


def sequence() -> int:
    """Give places to what waits, the oldest first. Returns how many leaves have one after it."""
    return _sequence() if _waiting() else head().size


@transaction.atomic(durable=True)
def _sequence() -> int:
    locked = Head.objects.select_for_update().get(pk=1)
    runs = _waiting()
    leaves, size = [], locked.size
    for run in runs:
        leaves.append(size)
        size += len(run)
    with connection.cursor() as cursor:
        cursor.execute(PLACE, [[run.id for run in runs], leaves])
    Head.objects.filter(pk=1).update(size=size)
    return size


@transaction.atomic(durable=True)
def index() -> bool:
    """Count and make searchable the next few events that have their places. False where there is nothing to do.

    What cannot be indexed is passed over and told: it stays in the log and on the pages, and no search finds it.
    """
    locked = Head.objects.select_for_update().get(pk=1)
    runs = _placed(locked.indexed_size)
    if not runs:
        return False
    ids = [run.id for run, _ in runs]
    last, leaf = runs[-1]
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(COUNT, [BUCKET_S, ids])
            cursor.execute(INDEX, [BLOCK, LONGEST_SEARCHED, ids])
    except DatabaseError as error:
        health.report("search", f"Entries {runs[0][1]} to {leaf + len(last) - 1} cannot be searched: {error}")
    Head.objects.filter(pk=1).update(indexed_size=leaf + len(last))
    return True


def _placed(leaf: int) -> list[tuple[Waiting, int]]:
    """The runs from a leaf on, each with its first leaf: at least one, and no more than INDEX_EVENTS otherwise."""
    with connection.cursor() as cursor:
        cursor.execute(PLACED, [leaf, INDEX_EVENTS])
        found = [(Waiting(*row[:4]), row[4]) for row in cursor.fetchall()]
    return _first(found, lambda one: len(one[0]), INDEX_EVENTS)


def _first(found: list[T], size: Callable[[T], int], most: int) -> list[T]:
    """The beginning that has no more than `most` events, and at least one run."""
    total = 0
    for count, one in enumerate(found):
        total += size(one)
        if total > most and count:
            return found[:count]
    return found


def _waiting() -> list[Waiting]:
    """At least one run, and no more than MOST_EVENTS where there is more than one."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [MOST_RUNS])
        return _first([Waiting(*row) for row in cursor.fetchall()], len, MOST_EVENTS)


def entries(first: int, end: int) -> list[bytes]:
    """The bodies of leaves [first, end), which begin and end with a run. Raises LostRowsError."""
    if first == end:
        return []
    with connection.cursor() as cursor:
        cursor.execute(ENTRIES, [first, end])
        rows = cursor.fetchall()
    _check_complete(first, end, [row[0] for row in rows])
    return [bytes(row[1]) for row in rows]


def _check_complete(first: int, end: int, found: Sequence[int]) -> None:
    if len(found) == end - first:
        return
    lost = next(index for index, leaf in enumerate([*found, end], first) if leaf != index)
    stream, seq = place_of(lost)
    raise LostRowsError(stream, seq, lost)


def place_of(leaf: int) -> tuple[uuid.UUID, int]:
    """The stream and the number of the event at a leaf."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stream, first_seq + %s - first_leaf FROM audit_run WHERE first_leaf <= %s "
            "ORDER BY first_leaf DESC LIMIT 1",
            [leaf, leaf],
        )
        stream, seq = cursor.fetchone()
    return stream, int(seq)


def leaf_of(stream: uuid.UUID, seq: int) -> int | None:
    """The leaf of an event; None while it has none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT first_leaf + %s - first_seq FROM audit_run WHERE stream = %s AND first_seq <= %s "
            "AND last_seq >= %s ORDER BY first_seq DESC LIMIT 1",
            [seq, stream, seq, seq],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def tag(stream: uuid.UUID) -> str:
    """What a stream's words begin with in blocks."""
    return stream.hex[-TAG:]


def published(size: int, root: bytes) -> None:
    """Remember what was signed for, to compare with at the next start."""
    at = now()
    Head.objects.filter(pk=1, published_size__lte=size).update(
        published_size=size, published_root=root, published_at=at, beat_at=at
    )


def beat() -> None:
    Head.objects.filter(pk=1).update(beat_at=now())


WAITING = "SELECT id, stream, first_seq, last_seq FROM audit_run WHERE first_leaf IS NULL ORDER BY id LIMIT %s"
PLACED = """
SELECT id, stream, first_seq, last_seq, first_leaf FROM audit_run WHERE first_leaf >= %s ORDER BY first_leaf LIMIT %s
"""
PLACE = """
UPDATE audit_run AS run SET first_leaf = placed.leaf
FROM unnest(%s::bigint[], %s::bigint[]) AS placed (id, leaf) WHERE run.id = placed.id
"""
ENTRIES = """
SELECT run.first_leaf + event.seq - run.first_seq AS leaf, event.body
FROM audit_run AS run JOIN audit_event AS event
    ON event.stream = run.stream AND event.seq BETWEEN run.first_seq AND run.last_seq
WHERE run.first_leaf >= %s AND run.first_leaf < %s ORDER BY leaf
"""
COUNT = """
INSERT INTO audit_density AS d (stream, bucket, kind, events, refused, first_seq, last_seq)
SELECT event.stream, date_bin(make_interval(secs => %s), event.occurred_at, 'epoch'), event.kind, count(*),
    count(*) FILTER (WHERE event.outcome > 0), min(event.seq), max(event.seq)
FROM audit_run AS run JOIN audit_event AS event
    ON event.stream = run.stream AND event.seq BETWEEN run.first_seq AND run.last_seq
WHERE run.id = ANY(%s) GROUP BY 1, 2, 3
ON CONFLICT (stream, bucket, kind) DO UPDATE SET
    events = d.events + EXCLUDED.events, refused = d.refused + EXCLUDED.refused,
    first_seq = least(d.first_seq, EXCLUDED.first_seq), last_seq = greatest(d.last_seq, EXCLUDED.last_seq)
"""
# Letters and digits make words; everything else stands between them. (What convert_from gives has the collation of the
# encoding's name, "C", in which é is no letter.)
WORDS = """
SELECT left(word, 40) FROM string_to_table(regexp_replace(lower({text}), '[^[:alnum:]]+', ' ', 'g'), ' ') AS word
WHERE word <> ''
"""
# Searched are kind, path and `data`, which is taken as text and never parsed: JSON may hold a \u0000 that PostgreSQL
# refuses, and one event must not stop the log. Each word carries its stream's tag: a search reads the index of its own
# stream's words, and takes no longer when other streams grow.
INDEX = r"""
INSERT INTO audit_block (stream, first_seq, last_seq, words)
SELECT stream, min(seq), max(seq), array_to_tsvector(array_agg(DISTINCT right(stream::text, TAG) || word))
FROM (
    SELECT event.stream, event.seq, run.id AS run, (event.seq - run.first_seq) / %s AS block,
        concat_ws(' ', event.kind, event.path, left(regexp_replace(
            substring(convert_from(event.body, 'UTF8') COLLATE "default" FROM '"data":(.*),"id":"'),
            '"sealed":"[^"]*"|\\(u[0-9a-f]{4}|.)', ' ', 'g'
        ), %s)) AS said
    FROM audit_run AS run JOIN audit_event AS event
        ON event.stream = run.stream AND event.seq BETWEEN run.first_seq AND run.last_seq
    WHERE run.id = ANY(%s)
) AS event, LATERAL (WORDS) AS one (word)
GROUP BY stream, run, block
""".replace("TAG", str(TAG)).replace("WORDS", WORDS.format(text="said"))
