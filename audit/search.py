"""Finds events of a stream that match filters, by an index, and never by reading a long stream to its end.

A way through a stream is a list of steps, one after another in the direction of reading; each step is a list of spans
of numbers to look at together. What the integrator has not seen yet is in no block and no density: a step of its own.

    text, path     the blocks that have the words: the nearest by number, then those that the index of words names
    since, until   the numbers between which events of that time stand
    kinds          a span for each kind, merged
    else           one span, by the index of outcome, host or actor, or of the numbers alone
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from psycopg import sql

from audit.filters import AGENT, Filters
from audit.models import Outcome
from audit.sequencing import BUCKET_S, WORDS, tag
from audit.uuid7 import moment_of

# How far a search goes before it asks whether to go on: where it found nothing, and where it found something.
MOST_LOOKED = 10_000
ENOUGH_LOOKED = 500
MOST_KINDS = 200
NEAR_BLOCKS = 32
BLOCKS_AT_ONCE = 8
MOST_BLOCKS = 160
HIGHEST = 2**62
EARLIER = timedelta(days=1)
EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
OUTCOMES = {choice.label: choice.value for choice in Outcome}
RARE = ("failure", "denied")


class Row(NamedTuple):
    """In the order of COLUMNS."""

    id: uuid.UUID
    stream: uuid.UUID
    seq: int
    kind: str
    outcome: int
    occurred_at: datetime
    recorded_at: datetime
    actor: str | None
    host: str | None
    path: str | None
    body: bytes


class Span(NamedTuple):
    """Numbers to look at, both ends included; of one kind only, if it is named."""

    low: int
    high: int
    kind: str | None = None

    def cut(self, inside: "Span") -> "Span | None":
        """What of it lies inside another."""
        low, high = max(self.low, inside.low), min(self.high, inside.high)
        return Span(low, high, self.kind) if low <= high else None


class Found(NamedTuple):
    """In the order of reading. `stopped` is the number at which a search gave up; None where it came to its end."""

    rows: list[Row]
    stopped: int | None
    looked: int


def find(stream: uuid.UUID, filters: Filters, start: int | None, wanted: int, *, ascending: bool = False) -> Found:
    """Up to `wanted` matches below `start` (above it if ascending), the nearest first."""
    return Search(stream, filters, ascending, wanted).run(start)


def following(stream: uuid.UUID, seq: int, count: int) -> list[Row]:
    """The next events after a number, in their order, whatever they are."""
    rows = _run(FOLLOWING, stream=stream, floor=floor(stream), seq=seq, count=count)
    return [Row(*row) for row in rows]


def newest(streams: Sequence[uuid.UUID]) -> list[Row]:
    """The last event of each stream that has one."""
    return [Row(*row) for row in _run(NEWEST, streams=list(streams), floors=[floor(stream) for stream in streams])]


def distinct(stream: uuid.UUID, column: str, most: int) -> list[str]:
    """Up to `most` values of kind, host or actor in a stream; each costs one look into the index."""
    statement = DISTINCT.format(column=sql.Identifier(column))
    return [row[0] for row in _run(statement, stream=stream, floor=floor(stream), most=most)]


def floor(stream: uuid.UUID) -> uuid.UUID:
    """No event's id is lower: a stream's own id was made before its events, and clocks differ by minutes at most."""
    since = max((moment_of(stream) - EARLIER).timestamp(), 0) if stream.version == 7 else 0
    return uuid.UUID(int=int(since * 1000) << 80)


@dataclass
class Search:
    """One reading of a stream in one direction, until it has what is wanted or has looked at enough."""

    stream: uuid.UUID
    filters: Filters
    ascending: bool
    wanted: int
    looked: int = field(default=0, init=False)
    found: list[Row] = field(default_factory=list, init=False)

    def run(self, start: int | None) -> Found:
        down = Span(1, HIGHEST if start is None else start - 1)
        inside = Span((start or 0) + 1, HIGHEST) if self.ascending else down
        for step in self._steps(inside):
            spans = [cut for span in step if (cut := span.cut(inside))]
            stopped = self._walk(spans)
            if len(self.found) == self.wanted:
                break
            if spans and self.found and self.filters.text and self.looked >= ENOUGH_LOOKED:
                stopped = stopped or self._edge(spans)
            if stopped is not None:
                return Found(self.found, stopped, self.looked)
        return Found(self.found, None, self.looked)

    def _edge(self, spans: list[Span]) -> int | None:
        """The number up to which these were looked at; None at the beginning of the stream, or at its end."""
        around = _around(spans)
        edge = around.high if self.ascending else around.low
        return edge if 1 < edge < HIGHEST else None

    def _steps(self, inside: Span) -> Iterator[list[Span]]:
        """Spans to look at, step by step in the direction of reading."""
        filters = self.filters
        said = f"{filters.text} {filters.path}".strip()
        if not (said or filters.since or filters.until):
            yield self._by_kind(inside) if filters.kinds and not self._driver else [inside]
            return
        [[placed, last, query]] = _run(STANDING, stream=self.stream, tag=tag(self.stream), said=said)
        rest = [Span(placed + 1, HIGHEST)] if placed < last else []
        spans = self._in_time() if filters.since or filters.until else [Span(1, placed)]
        if not self.ascending:
            yield rest
        if spans and query:
            yield from self._with_words(_around(spans).cut(inside), query)
        else:
            yield spans
        if self.ascending:
            yield rest

    def _by_kind(self, inside: Span) -> list[Span]:
        known = distinct(self.stream, "kind", MOST_KINDS)
        if len(known) == MOST_KINDS:  # somebody makes kinds up: each costs more than it saves
            return [inside]
        return [Span(inside.low, inside.high, kind) for kind in known if self.filters.matches_kind(kind)]

    def _in_time(self) -> list[Span]:
        """The numbers between which the events of that time stand, kind by kind where kinds are chosen."""
        since, until = self.filters.since or EVER[0], self.filters.until or EVER[1]
        rows = _run(IN_TIME, stream=self.stream, since=since, until=until, bucket=timedelta(seconds=BUCKET_S))
        spans = [Span(low, high, kind) for kind, low, high in rows if self.filters.matches_kind(kind)]
        merged = not self.filters.kinds or self._driver or len(spans) > MOST_KINDS
        return [_around(spans)] if spans and merged else spans

    def _with_words(self, inside: Span | None, query: str) -> Iterator[list[Span]]:
        """The nearest blocks are asked one by one, which is quick where the words are common; then the index is."""
        if inside is None:
            return
        near = self._blocks(NEAR, inside, query, NEAR_BLOCKS)
        yield from _batches([span for span, has in near if has])
        while len(near) >= NEAR_BLOCKS and (far := self._beyond(near[-1][0]).cut(inside)):
            near = self._blocks(FAR, far, query, MOST_BLOCKS)
            yield from _batches([span for span, _ in near])

    def _blocks(self, statement: sql.SQL, inside: Span, query: str, count: int) -> list[tuple[Span, bool]]:
        rows = _run(
            statement.format(way=self._way),
            stream=self.stream, query=query, low=inside.low, high=inside.high, count=count,
        )  # fmt: skip
        return [(Span(low, high), has) for low, high, has in rows]

    def _beyond(self, span: Span) -> Span:
        return Span(span.high + 1, HIGHEST) if self.ascending else Span(1, span.low - 1)

    def _walk(self, spans: list[Span]) -> int | None:
        """Look through one step. Returns the number at which it gave up; None where the step, or the page, is done."""
        count = min(self.wanted if self._plain else 4 * self.wanted, MOST_LOOKED)
        while spans:
            rows = self._candidates(spans, count)
            self.looked += len(rows)
            for *values, matched in rows:
                if matched and self.filters.matches_text(values[3], bytes(values[10]).decode()):
                    self.found.append(Row(*values))
                    if len(self.found) == self.wanted:
                        return None
            if len(rows) < count:
                return None
            last = rows[-1][2]
            if self.looked >= MOST_LOOKED and (last > 1 or self.ascending):
                return int(last)
            spans = [cut for span in spans if (cut := span.cut(self._beyond(Span(last, last))))]
            count = min(4 * count, MOST_LOOKED)
        return None

    def _candidates(self, spans: list[Span], count: int) -> list[tuple[Any, ...]]:
        """The next events of the spans, up to `count`, each with whether it matches; the text is not looked at yet."""
        around = _around(spans)
        driver = self._driver or sql.SQL("true")
        if len(spans) == 1:
            source = ONE if spans[0].kind is None else ONE_KIND
        else:
            source = EACH if spans[0].kind is None else EACH_KIND
        events = source.format(driver=driver, way=self._way)
        statement = CANDIDATES.format(columns=COLUMNS, events=events, conditions=self._conditions(), way=self._way)
        return _run(
            statement,
            stream=self.stream, floor=floor(self.stream), count=count, low=around.low, high=around.high,
            one_kind=spans[0].kind, lows=[span.low for span in spans], highs=[span.high for span in spans],
            each_kind=[span.kind for span in spans], **self._values(),
        )  # fmt: skip

    @property
    def _way(self) -> sql.SQL:
        return sql.SQL("ASC" if self.ascending else "DESC")

    @property
    def _plain(self) -> bool:
        """Whether every candidate is a match."""
        return len(self.filters.parts) == (1 if self._driver or self.filters.kinds else 0)

    @property
    def _driver(self) -> sql.SQL | None:
        """What has an index of its own beside the number; the rarest first."""
        if self.filters.outcome in RARE:
            return CONDITIONS["outcome"]
        if self.filters.host:
            return CONDITIONS["host"]
        return CONDITIONS["actor"] if self.filters.actor not in ("", AGENT) else None

    def _conditions(self) -> sql.Composed:
        filters, chosen = self.filters, [sql.SQL("true")]
        chosen += [condition for name, condition in (CONDITIONS | OTHERS).items() if getattr(filters, name)]
        if filters.actor == AGENT:
            chosen[chosen.index(CONDITIONS["actor"])] = sql.SQL("actor IS NULL")
        return sql.SQL(" AND ").join(chosen)

    def _values(self) -> dict[str, Any]:
        filters = self.filters
        return {
            "outcome": OUTCOMES.get(filters.outcome),
            "host": filters.host,
            "actor": filters.actor,
            "path": filters.path,
            "kinds": list(filters.kinds),
            "groups": [f"{kind}." for kind in filters.kinds],
            "since": filters.since,
            "until": filters.until,
        }


def _around(spans: Sequence[Span]) -> Span:
    return Span(min(span.low for span in spans), max(span.high for span in spans))


def _batches(spans: Sequence[Span]) -> Iterator[list[Span]]:
    for first in range(0, len(spans), BLOCKS_AT_ONCE):
        yield list(spans[first : first + BLOCKS_AT_ONCE])


def _run(statement: sql.Composable, **values: Any) -> list[tuple[Any, ...]]:
    """Never prepared: a plan that is made without the values takes the wrong index for a LIMIT."""
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.cursor.execute(statement, values, prepare=False, binary=True)
        return list(cursor.cursor.fetchall())


COLUMNS = sql.SQL("id, stream, seq, kind, outcome, occurred_at, recorded_at, actor, host, path, body")
FOLLOWING = sql.SQL(
    "SELECT {columns} FROM audit_event WHERE stream = %(stream)s AND id >= %(floor)s AND seq > %(seq)s "
    "ORDER BY seq LIMIT %(count)s"
).format(columns=COLUMNS)
NEWEST = sql.SQL(
    "SELECT event.* FROM unnest(%(streams)s::uuid[], %(floors)s::uuid[]) AS asked (stream, floor) "
    "JOIN audit_stream AS known ON known.id = asked.stream CROSS JOIN LATERAL (SELECT {columns} FROM audit_event "
    "WHERE stream = asked.stream AND id >= asked.floor AND seq = known.last_seq) AS event"
).format(columns=COLUMNS)
CONDITIONS = {
    "outcome": sql.SQL("outcome = %(outcome)s"),
    "host": sql.SQL("host = %(host)s"),
    "actor": sql.SQL("actor = %(actor)s"),
}
OTHERS = {
    "kinds": sql.SQL("(kind = ANY(%(kinds)s) OR kind ^@ ANY(%(groups)s))"),
    "path": sql.SQL("path ^@ %(path)s"),
    "since": sql.SQL("occurred_at >= %(since)s"),
    "until": sql.SQL("occurred_at < %(until)s"),
}
# A step's spans, in one of four shapes: the fewer joins, the quicker the plan.
ONE = sql.SQL(
    "SELECT * FROM audit_event WHERE stream = %(stream)s AND id >= %(floor)s AND {driver} "
    "AND seq BETWEEN %(low)s AND %(high)s ORDER BY seq {way} LIMIT %(count)s"
)
ONE_KIND = sql.SQL(
    "SELECT * FROM audit_event WHERE stream = %(stream)s AND id >= %(floor)s AND {driver} AND kind = %(one_kind)s "
    "AND seq BETWEEN %(low)s AND %(high)s ORDER BY seq {way} LIMIT %(count)s"
)
EACH = sql.SQL(
    "SELECT event.* FROM unnest(%(lows)s::bigint[], %(highs)s::bigint[]) AS span (low, high), LATERAL ("
    "SELECT * FROM audit_event WHERE stream = %(stream)s AND id >= %(floor)s AND {driver} "
    "AND seq BETWEEN span.low AND span.high ORDER BY seq {way} LIMIT %(count)s) AS event "
    "ORDER BY seq {way} LIMIT %(count)s"
)
# The bounds are values, not columns: with columns it takes few rows for granted, reads all of a kind and sorts them.
EACH_KIND = sql.SQL(
    "SELECT event.* FROM unnest(%(each_kind)s::text[]) AS span (of), LATERAL ("
    "SELECT * FROM audit_event WHERE stream = %(stream)s AND id >= %(floor)s AND {driver} AND kind = span.of "
    "AND seq BETWEEN %(low)s AND %(high)s ORDER BY seq {way} LIMIT %(count)s) AS event "
    "ORDER BY seq {way} LIMIT %(count)s"
)
CANDIDATES = sql.SQL("SELECT {columns}, ({conditions}) IS TRUE FROM ({events}) AS event ORDER BY seq {way}")
# A walk over the values of an index, one look for each.
DISTINCT = sql.SQL("""
WITH RECURSIVE found (value, ordinal) AS (
    (SELECT {column}, 1 FROM audit_event WHERE stream = %(stream)s AND id >= %(floor)s AND {column} IS NOT NULL
    ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT next.value, ordinal + 1 FROM found, LATERAL (
        SELECT {column} AS value FROM audit_event WHERE stream = %(stream)s AND id >= %(floor)s
        AND {column} > found.value ORDER BY {column} LIMIT 1
    ) AS next WHERE ordinal < %(most)s
)
SELECT value FROM found
""")
IN_TIME = sql.SQL("""
SELECT kind, min(first_seq), max(last_seq) FROM audit_density WHERE stream = %(stream)s
AND bucket > %(since)s::timestamptz - %(bucket)s::interval AND bucket < %(until)s GROUP BY kind
""")
# Up to which number blocks were made, the last number, and what blocks are to be asked.
STANDING = sql.SQL("""
SELECT coalesce((SELECT last_seq FROM audit_block WHERE stream = %(stream)s ORDER BY first_seq DESC LIMIT 1), 0),
    coalesce((SELECT last_seq FROM audit_stream WHERE id = %(stream)s), 0),
    (SELECT string_agg(quote_literal(%(tag)s::text || word) || ':*', ' & ') FROM ({words}) AS said (word))
""").format(words=sql.SQL(WORDS.format(text="%(said)s::text")))
NEAR = sql.SQL("""
SELECT first_seq, last_seq, words @@ %(query)s::tsquery FROM (
    SELECT * FROM audit_block WHERE stream = %(stream)s AND first_seq <= %(high)s AND last_seq >= %(low)s
    ORDER BY first_seq {way} LIMIT %(count)s
) AS near ORDER BY first_seq {way}
""")
# Materialized, so that it can be nothing but the index of words that is asked.
FAR = sql.SQL("""
WITH found AS MATERIALIZED (
    SELECT stream, first_seq, last_seq FROM audit_block WHERE words @@ %(query)s::tsquery
)
SELECT first_seq, last_seq, true FROM found WHERE stream = %(stream)s
AND first_seq <= %(high)s AND last_seq >= %(low)s ORDER BY first_seq {way} LIMIT %(count)s
""")
