"""Holds the database's rows against the log: each event row must be the entry that was signed for, and nothing else.

The log's files are what counts; this finds what somebody with the database's rights changed in what pages show.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from audit import sequencing, tiles
from audit.errors import ProofError
from audit.event import from_content
from audit.log import OUTCOMES
from audit.merkle import leaf_hash
from audit.sources import Source
from audit.tiles import WIDTH

AT_ONCE = 16 * WIDTH
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Row:
    """An event row with the place that its run gives it."""

    leaf: int
    stream: Any
    seq: int
    columns: tuple[Any, ...]
    body: bytes


def compare(source: Source, size: int, *, first: int = 0, minimum: int = 0, progress: Progress | None = None) -> int:
    """Compares leaves [first, size) and returns how many rows were. `source` holds files that are verified already.

    Rows may be missing below `minimum`, which the verification of the files found the log itself to speak of. Raises
    ProofError with the first bad `index`; without one for rows that no run accounts for.
    """
    done = 0
    _check_runs(size)
    for start in range(first // WIDTH * WIDTH, size, AT_ONCE):
        end = min(start + AT_ONCE, size)
        hashes = _hashes(source, start, end, size)
        rows = iter(_rows(start, end))
        row = next(rows, None)
        for leaf in range(start, end):
            if row is not None and row.leaf == leaf:
                _check(row, hashes[leaf - start])
                row = next(rows, None)
                done += 1
            elif leaf >= minimum or row is not None and row.leaf < leaf:
                raise _missing(leaf) if row is None or row.leaf > leaf else _double(row)
        if row is not None:
            raise _double(row)
        if progress:
            progress(end - first // WIDTH * WIDTH, size - first // WIDTH * WIDTH)
    _check_strangers()
    return done


def _hashes(source: Source, start: int, end: int, size: int) -> list[bytes]:
    found: list[bytes] = []
    for index in range(start // WIDTH, -(-end // WIDTH)):
        found += tiles.hashes_of(tiles.read_tile(tiles.tile_of(0, index, size), source.read))
    return found


def _rows(start: int, end: int) -> Iterator[Row]:
    with connection.cursor() as cursor:
        cursor.execute(ROWS, [end, start, start, end])
        for leaf, stream, seq, *columns, body in cursor.fetchall():
            yield Row(leaf, stream, seq, tuple(columns), bytes(body))


def _check(row: Row, expected: bytes) -> None:
    where = f"event {row.seq} of stream {row.stream}"
    if (found := leaf_hash(row.body)) != expected:
        what = f"the database's entry {row.leaf} ({where}) is not what was signed for"
        raise ProofError(what, expected=expected, found=found, index=row.leaf)
    content = orjson.loads(row.body)
    event = from_content(content)
    recorded_at = datetime.fromisoformat(content["recorded_at"])
    about = (event.kind, event.actor, event.host, event.path)
    said = (event.id, event.occurred_at, recorded_at, OUTCOMES[event.outcome], *about)
    if said != row.columns or (event.stream, content["seq"]) != (row.stream, row.seq):
        raise ProofError(f"the columns of entry {row.leaf} ({where}) are not those of its body", index=row.leaf)


def _double(row: Row) -> ProofError:
    what = f"event {row.seq} of stream {row.stream}, entry {row.leaf}, is in the database more than once"
    return ProofError(what, index=row.leaf)


def _missing(leaf: int) -> ProofError:
    stream, seq = sequencing.place_of(leaf)
    what = f"entry {leaf}, event {seq} of stream {stream}, is not in the database, or has another place there"
    return ProofError(what, index=leaf)


def _check_runs(size: int) -> None:
    """That no run claims a place that the integrator never gave."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stream, first_seq, first_leaf FROM audit_run WHERE first_leaf < 0 OR first_leaf >= "
            "greatest(%s, (SELECT size FROM audit_head)) ORDER BY first_leaf LIMIT 1",
            [size],
        )
        row = cursor.fetchone()
    if row:
        raise ProofError(f"event {row[1]} of stream {row[0]} claims to be entry {row[2]}, and there is none")


def _check_strangers() -> None:
    """That there is no event row that no run accounts for: it would be shown, and never signed for."""
    with connection.cursor() as cursor:
        cursor.execute(STRANGERS)
        row = cursor.fetchone()
    if row:
        raise ProofError(f"event {row[1]} of stream {row[0]} is in the database, and no append accounts for it")


ROWS = """
SELECT run.first_leaf + event.seq - run.first_seq AS leaf, event.stream, event.seq,
    event.id, event.occurred_at, event.recorded_at, event.outcome, event.kind, event.actor, event.host, event.path,
    event.body
FROM audit_run AS run JOIN audit_event AS event
    ON event.stream = run.stream AND event.seq BETWEEN run.first_seq AND run.last_seq
WHERE run.first_leaf < %s AND run.first_leaf + run.last_seq - run.first_seq >= %s
    AND run.first_leaf + event.seq - run.first_seq BETWEEN %s AND %s - 1
ORDER BY leaf
"""
STRANGERS = """
SELECT event.stream, event.seq FROM audit_event AS event
WHERE NOT EXISTS (
    SELECT FROM audit_run AS run WHERE run.stream = event.stream AND event.seq BETWEEN run.first_seq AND run.last_seq
) ORDER BY event.recorded_at LIMIT 1
"""
