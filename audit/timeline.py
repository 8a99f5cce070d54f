"""Reading a stream of the log: filtered, in order, from a cursor that is a position and never a time."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from audit import canonical
from audit.event import OUTCOMES
from audit.models import Event

PAGE = 100
# How far a search goes back before it asks whether to go on.
MOST_LOOKED = 10_000


@dataclass(frozen=True)
class Filters:
    """What a viewer wants to see. Empty means all."""

    kinds: frozenset[str] = frozenset()
    outcome: str = ""
    text: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Filters":
        """Filters of a URL: ?kind=a,b&outcome=denied&q=text. What is not known is ignored."""
        kinds = frozenset(kind.strip() for kind in query.get("kind", "").split(",") if kind.strip())
        outcome = query.get("outcome", "")
        return cls(kinds, outcome if outcome in OUTCOMES else "", query.get("q", "").strip()[:100])

    def matches(self, entry: "Entry") -> bool:
        in_kinds = not self.kinds or any(entry.kind == kind or entry.kind.startswith(kind + ".") for kind in self.kinds)
        in_text = not self.text or self.text.lower() in entry.body.lower()
        return in_kinds and in_text and self.outcome in ("", entry.outcome)


@dataclass(frozen=True)
class Entry:
    """One event as pages show it. `content` is the parsed body; `body` its text."""

    id: uuid.UUID
    stream: uuid.UUID
    seq: int
    kind: str
    outcome: str
    occurred_at: datetime
    recorded_at: datetime
    body: str
    content: Mapping[str, Any]

    @property
    def data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.content["data"]
        return data

    @property
    def act(self) -> str:
        return str(self.content["act"]["sub"])


def after(stream: uuid.UUID, seq: int, filters: Filters, limit: int = PAGE) -> tuple[list[Entry], int]:
    """Matching entries after a position, oldest first, and the position up to which was looked."""
    entries = [_entry(row) for row in _rows(stream).filter(seq__gt=seq).order_by("seq")[:limit]]
    looked = entries[-1].seq if entries else seq
    return [entry for entry in entries if filters.matches(entry)], looked


@dataclass(frozen=True)
class Page:
    """Matching entries, newest first. Below `older` nobody has looked; None once the stream's beginning was reached."""

    entries: list[Entry]
    older: int | None


def latest(stream: uuid.UUID, filters: Filters, before: int | None = None, limit: int = PAGE) -> Page:
    """The newest matching entries (below `before`, if given), among the newest MOST_LOOKED."""
    found: list[Entry] = []
    looked = 1
    for entry in _newest_first(stream, before):
        looked = entry.seq
        if filters.matches(entry):
            found.append(entry)
        if len(found) == limit:
            break
    return Page(found, looked if looked > 1 else None)


def last_seq(stream: uuid.UUID) -> int:
    newest = _rows(stream).order_by("-seq").values_list("seq", flat=True).first()
    return newest or 0


def _newest_first(stream: uuid.UUID, before: int | None) -> Iterator[Entry]:
    rows = _rows(stream)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    for row in rows.order_by("-seq")[:MOST_LOOKED].iterator(chunk_size=PAGE * 5):
        yield _entry(row)


def _rows(stream: uuid.UUID) -> "QuerySet[Event]":
    return Event.objects.filter(stream=stream)


def _entry(row: Event) -> Entry:
    raw = bytes(row.body)
    return Entry(
        id=row.id,
        stream=row.stream,
        seq=row.seq,
        kind=row.kind,
        outcome=row.outcome,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        body=raw.decode(),
        content=canonical.loads(raw),
    )
