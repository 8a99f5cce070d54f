"""Reading a stream of the log: filtered, in order, from a cursor that is a position and never a time."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit import canonical, personal, search
from audit.filters import Filters
from audit.models import Outcome, Stream
from audit.search import Row

__all__ = [
    "PAGE",
    "REPLAY",
    "Entry",
    "Filters",
    "Page",
    "actors",
    "after",
    "entry",
    "hosts",
    "last_seq",
    "newest",
    "page",
]

PAGE = 50
# How many events a stream reads at once.
REPLAY = 100


@dataclass(frozen=True)
class Entry:
    """One event as pages show it. `body` is what the log committed to; `content` is parsed, personal fields readable.

    `actor` is None where the session's own agent did it.
    """

    id: uuid.UUID
    stream: uuid.UUID
    seq: int
    kind: str
    outcome: str
    occurred_at: datetime
    recorded_at: datetime
    body: str
    content: Mapping[str, Any]
    actor: str | None = None
    host: str | None = None
    path: str | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.content["data"]
        return data

    @property
    def act(self) -> str:
        return str(self.content["act"]["sub"])


@dataclass(frozen=True)
class Page:
    """Matching entries, newest first.

    `older` is what to give as `before` for the page below, `newer` as `after` for the one above; None at the ends.
    `looked` is how many events a search had looked at when it stopped to ask whether to go on; 0 where it did not.
    """

    entries: list[Entry]
    older: int | None
    newer: int | None
    looked: int = 0


def page(
    stream: uuid.UUID, filters: Filters, *, before: int | None = None, after: int | None = None, limit: int = PAGE
) -> Page:
    """The newest matching entries, or those next below `before`, or next above `after`."""
    if after is not None:
        return _newer(stream, filters, after, limit)
    found = search.find(stream, filters, before, limit + 1)
    entries = _entries(found.rows[:limit])
    older = entries[-1].seq if len(found.rows) > limit else found.stopped
    newer = None if before is None else (entries[0].seq if entries else max(before - 1, 0))
    return Page(entries, older, newer, found.looked if older == found.stopped and older is not None else 0)


def _newer(stream: uuid.UUID, filters: Filters, after: int, limit: int) -> Page:
    found = search.find(stream, filters, after, limit + 1, ascending=True)
    entries = _entries(found.rows[:limit])[::-1]
    newer = entries[0].seq if len(found.rows) > limit else found.stopped
    older = entries[-1].seq if entries else after + 1
    return Page(entries, older, newer, found.looked if newer == found.stopped and newer is not None else 0)


def after(stream: uuid.UUID, seq: int, filters: Filters, limit: int = REPLAY) -> tuple[list[Entry], int]:
    """Matching entries after a position, oldest first, and the position up to which was looked."""
    entries = _entries(search.following(stream, seq, limit))
    looked = entries[-1].seq if entries else seq
    return [one for one in entries if filters.matches(one)], looked


def entry(stream: uuid.UUID, seq: int) -> Entry | None:
    """One event by its number."""
    found = _entries(search.following(stream, seq - 1, 1))
    return found[0] if found and found[0].seq == seq else None


def newest(streams: Sequence[uuid.UUID]) -> dict[uuid.UUID, Entry]:
    """The last event of each stream that has one; one query for all, and one for personal fields."""
    return {entry.stream: entry for entry in _entries(search.newest(streams))}


def actors(stream: uuid.UUID, most: int = 50) -> list[str]:
    """Who did something in a stream, beside its own agent."""
    return search.distinct(stream, "actor", most)


def hosts(stream: uuid.UUID, most: int = 50) -> list[str]:
    return search.distinct(stream, "host", most)


def last_seq(stream: uuid.UUID) -> int:
    return Stream.objects.filter(pk=stream).values_list("last_seq", flat=True).first() or 0


def _entries(rows: Sequence[Row]) -> list[Entry]:
    contents = personal.reveal([canonical.loads(row.body) for row in rows])
    return [
        Entry(
            id=row.id,
            stream=row.stream,
            seq=row.seq,
            kind=row.kind,
            outcome=str(Outcome(row.outcome).label),
            occurred_at=row.occurred_at,
            recorded_at=row.recorded_at,
            body=row.body.decode(),
            content=content,
            actor=row.actor,
            host=row.host,
            path=row.path,
        )
        for row, content in zip(rows, contents, strict=True)
    ]
