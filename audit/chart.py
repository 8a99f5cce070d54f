"""How dense a stream is over time, lane by lane, for the strip chart of a session. Reads counts, never events."""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from django.db import connection

from audit.sequencing import BUCKET_S

# The kinds of each lane, exact or as groups; the first lane that has a kind takes it, and the last takes the rest.
LANES: Mapping[str, tuple[str, ...]] = {
    "findings": ("session.finding", "finding"),
    "approvals": ("session", "addition"),
    "credentials": ("credential",),
    "tool calls": ("tool", "agent", "process", "db"),
    "files": ("file",),
    "egress": ("http", "egress"),
    "other": (),
}
ORDER = ("approvals", "credentials", "tool calls", "files", "egress", "findings", "other")
WIDTHS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
# What a moment may be that a database and a calendar can both hold.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cell:
    """One column of a lane."""

    events: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Lane:
    name: str
    cells: tuple[Cell, ...]

    @property
    def events(self) -> int:
        return sum(cell.events for cell in self.cells)

    @property
    def refused(self) -> int:
        return sum(cell.refused for cell in self.cells)


@dataclass(frozen=True)
class Chart:
    """Columns of `width` from `since` on. `lanes` is empty where nothing has been counted yet."""

    since: datetime
    width: timedelta
    columns: int
    lanes: tuple[Lane, ...]

    @property
    def until(self) -> datetime:
        return self.at(self.columns)

    def at(self, column: int) -> datetime:
        """When a column begins."""
        return self.since + column * self.width

    @property
    def most(self) -> int:
        """The fullest cell."""
        return max((cell.events for lane in self.lanes for cell in lane.cells), default=0)


class Mark(NamedTuple):
    """One cell with something in it: in which column, and in which row (a place in ORDER)."""

    row: int
    column: int
    events: int
    refused: int


@dataclass(frozen=True)
class Strip:
    """Columns of `width` from `since` on, as marks. `last_seq` is the highest number among the events in it."""

    since: datetime
    width: timedelta
    marks: tuple[Mark, ...]
    last_seq: int


def lanes(stream: uuid.UUID, since: datetime | None, until: datetime | None, columns: int) -> Chart:
    """About so many columns over [since, until), or over all of the stream; each begins at a multiple of its width."""
    begins, ends = _extent(stream)
    since, until = _within(since or begins), _within(until or ends)
    width = _width(until - since, columns)
    first, last = math.floor(since.timestamp() / width), math.ceil(until.timestamp() / width)
    count = min(max(last - first, 1), columns + 1)
    shown = Chart(datetime.fromtimestamp(first * width, UTC), timedelta(seconds=width), count, ())
    return Chart(shown.since, shown.width, count, _lanes(_cells(stream, shown), count))


def strips(streams: Sequence[uuid.UUID], since: datetime, width: timedelta, columns: int) -> Mapping[uuid.UUID, Strip]:
    """The same columns for each of these streams, in one query; a stream of which nothing was counted is left out."""
    rows = {kind: ORDER.index(name) for name, kinds in LANES.items() for kind in kinds}
    asked: dict[str, Any] = {
        "streams": list(streams),
        **_columns(since, since + columns * width, width),
        "kinds": list(rows),
        "rows": list(rows.values()),
        "other": ORDER.index("other"),
    }
    with connection.cursor() as cursor:
        cursor.execute(STRIPS, asked)
        found = cursor.fetchall()
    return {
        stream: Strip(since, width, tuple(map(Mark._make, orjson.loads(marks))), last_seq)
        for stream, marks, last_seq in found
    }


def group(name: str) -> str:
    """The kinds of a lane as a filter has them; empty for the lane of the rest."""
    return ",".join(LANES[name])


def height(count: int, most: int, room: int) -> float:
    """Of a bar, by the logarithm of what it counts: one event among thousands must be seen."""
    return round(max(room * math.log1p(count) / math.log1p(most), 3), 1) if count else 0


def _extent(stream: uuid.UUID) -> tuple[datetime, datetime]:
    with connection.cursor() as cursor:
        cursor.execute(EXTENT, [stream])
        begins, ends = cursor.fetchone()
    if begins is None:
        now = datetime.now(UTC)
        return now, now
    return begins, ends + timedelta(seconds=BUCKET_S)


def _within(moment: datetime) -> datetime:
    return min(max(moment, EARLIEST), LATEST)


def _width(length: timedelta, columns: int) -> int:
    """The narrowest width with which so many columns reach; seconds."""
    seconds = length.total_seconds()
    fitting = next((width for width in WIDTHS_S if width * columns >= seconds), None)
    return fitting or WIDTHS_S[-1] * math.ceil(seconds / (WIDTHS_S[-1] * columns))


def _cells(stream: uuid.UUID, chart: Chart) -> Mapping[tuple[str, int], Cell]:
    asked = {"stream": stream, **_columns(chart.since, chart.until, chart.width)}
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, asked)
        rows = cursor.fetchall()
    cells: dict[tuple[str, int], Cell] = {}
    for kind, column, events, refused in rows:
        at = _lane(kind), int(column)
        known = cells.get(at, Cell())
        cells[at] = Cell(known.events + events, known.refused + refused)
    return cells


def _columns(since: datetime, until: datetime, width: timedelta) -> dict[str, Any]:
    return {"since": since, "until": until, "width": width.total_seconds()}


def _lane(kind: str) -> str:
    prefix = kind.partition(".")[0]
    return next((name for name, kinds in LANES.items() if kind in kinds or prefix in kinds), "other")


def _lanes(cells: Mapping[tuple[str, int], Cell], count: int) -> tuple[Lane, ...]:
    if not cells:
        return ()
    made = [Lane(name, tuple(cells.get((name, column), Cell()) for column in range(count))) for name in ORDER]
    return tuple(lane for lane in made if lane.events or lane.name != "other")


def groups(columns: int, most: int) -> Sequence[tuple[int, int]]:
    """Columns in at most so many groups of one size: (first, end) of each."""
    size = math.ceil(columns / most)
    return [(first, min(first + size, columns)) for first in range(0, columns, size)]


EXTENT = "SELECT min(bucket), max(bucket) FROM audit_density WHERE stream = %s"
# A finding is a kind of its own; of all others the group is enough, however many kinds an agent makes up.
KIND_OF = "CASE kind WHEN 'session.finding' THEN kind ELSE split_part(kind, '.', 1) END"
IN_COLUMN = "floor(extract(epoch FROM bucket - %(since)s)::float8 / %(width)s::float8)::integer"
# A day has a hundred thousand rows: the group of a kind is made out after they were counted together.
COUNTS = """
SELECT KIND_OF AS kind_of, in_column, sum(events)::bigint, sum(refused)::bigint
FROM (
    SELECT kind, IN_COLUMN AS in_column, sum(events) AS events, sum(refused) AS refused
    FROM audit_density WHERE stream = %(stream)s AND bucket >= %(since)s AND bucket < %(until)s GROUP BY 1, 2
) AS counted GROUP BY 1, 2
""".replace("KIND_OF", KIND_OF).replace("IN_COLUMN", IN_COLUMN)
# One row for each stream: ten thousand rows would take longer to fetch than to count.
STRIPS = """
SELECT stream, json_agg(json_build_array(in_row, in_column, events, refused))::text, max(last_seq)
FROM (
    SELECT stream, in_column, coalesce(lane.in_row, %(other)s) AS in_row,
        sum(events) AS events, sum(refused) AS refused, max(last_seq) AS last_seq
    FROM (
        SELECT stream, KIND_OF AS kind_of, IN_COLUMN AS in_column, events, refused, last_seq
        FROM audit_density WHERE stream = ANY(%(streams)s) AND bucket >= %(since)s AND bucket < %(until)s
    ) AS counted
    LEFT JOIN unnest(%(kinds)s::text[], %(rows)s::int[]) AS lane (kind, in_row) ON lane.kind = counted.kind_of
    GROUP BY 1, 2, 3
) AS cell GROUP BY stream
""".replace("KIND_OF", KIND_OF).replace("IN_COLUMN", IN_COLUMN)
