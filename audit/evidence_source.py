"""Reads the events that an evidence file is to hold, in pages: stream by stream, each in its order."""

import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from audit import canonical
from audit.evidence import Item
from audit.models import Stream

PAGE = 500


@dataclass(frozen=True)
class Selection:
    """All events of these streams; or those that `person` (person:<id>) did, or that were done for them.

    `since` and `until` bound when they were recorded: from the first on, and before the second.
    """

    streams: Sequence[uuid.UUID]
    person: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, item: Item) -> bool:
        content = item.content
        return self.person is None or self.person in (content["sub"], content["act"]["sub"])


@dataclass(frozen=True)
class Bounds:
    """How far each stream had come when the export began: nothing later is looked at."""

    last: dict[uuid.UUID, int]

    @property
    def total(self) -> int:
        return sum(self.last.values())


@dataclass(frozen=True)
class Looked:
    """Up to PAGE events that were selected. `looked` events of the bounds are behind it, whether selected or not."""

    items: list[Item]
    looked: int


def bounds(selection: Selection) -> Bounds:
    found = Stream.objects.in_bulk(list(selection.streams))
    return Bounds({pk: found[pk].last_seq for pk in sorted(found) if found[pk].last_seq})


def unsigned(within: Bounds, size: int) -> bool:
    """Whether a checkpoint of `size` leaves some of these events out."""
    with connection.cursor() as cursor:
        cursor.execute(UNSIGNED, [list(within.last), list(within.last.values()), size])
        return cursor.fetchone() is not None


def read(selection: Selection, within: Bounds) -> Iterator[Looked]:
    behind = 0
    for stream, last in within.last.items():
        for page, looked in _pages(selection, stream, last):
            yield Looked([item for item in page if selection.takes(item)], behind + looked)
        behind += last


def _pages(selection: Selection, stream: uuid.UUID, last: int) -> Iterator[tuple[list[Item], int]]:
    query, given = _query(selection)
    seq = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(query, [stream, seq, last, *given, PAGE])
            rows = cursor.fetchall()
        seq = rows[-1][0] if len(rows) == PAGE else last
        yield _placed(stream, rows), seq
        if seq == last:
            return


def _query(selection: Selection) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    given: list[Any] = []
    if selection.since:
        conditions.append("AND recorded_at >= %s ")
        given.append(selection.since)
    if selection.until:
        conditions.append("AND recorded_at < %s ")
        given.append(selection.until)
    if selection.person:
        # Where somebody's own text has it as well it stands escaped; what is left is looked at exactly.
        conditions.append("AND position(%s::bytea IN body) > 0 ")
        given.append(f'"sub":"{selection.person}"'.encode())
    return EVENTS + "".join(conditions) + "ORDER BY seq LIMIT %s", given


def _placed(stream: uuid.UUID, rows: Sequence[tuple[int, Any]]) -> list[Item]:
    """The events with their leaves."""
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(RUNS, [stream, rows[-1][0], stream, rows[0][0]])
        runs = cursor.fetchall()
    starts = [run[0] for run in runs]
    items = []
    for seq, body in rows:
        first_seq, first_leaf = runs[bisect_right(starts, seq) - 1]
        leaf = None if first_leaf is None else first_leaf + seq - first_seq
        items.append(Item(leaf, bytes(body), canonical.loads(bytes(body))))
    return items


EVENTS = "SELECT seq, body FROM audit_event WHERE stream = %s AND seq > %s AND seq <= %s "
RUNS = """
SELECT first_seq, first_leaf FROM audit_run WHERE stream = %s AND first_seq <= %s AND first_seq >= coalesce(
    (SELECT max(first_seq) FROM audit_run WHERE stream = %s AND first_seq <= %s), 0) ORDER BY first_seq
"""
UNSIGNED = """
SELECT 1 FROM unnest(%s::uuid[], %s::bigint[]) AS wanted (stream, last), LATERAL (
    SELECT first_leaf, last_seq, first_seq FROM audit_run AS run
    WHERE run.stream = wanted.stream AND run.first_seq <= wanted.last ORDER BY run.first_seq DESC LIMIT 1
) AS newest
WHERE newest.first_leaf IS NULL OR newest.first_leaf + least(newest.last_seq, wanted.last) - newest.first_seq >= %s
LIMIT 1
"""
