"""The timeline of a session: its filters, its rows, and its strip chart."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.template.loader import get_template, render_to_string
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from audit import chart, timeline
from audit.event import OUTCOMES
from audit.filters import AGENT
from audit.timeline import Entry, Filters, Page
from sessions import narration
from sessions.models import AgentSession

KINDS = (
    ("", "Everything"),
    *((chart.group(name), name.capitalize()) for name in chart.ORDER if chart.group(name)),
)
COLUMNS, GROUPS = 120, 12
LANE_HEIGHT, COLUMN_WIDTH = 24, 10
LABELS = {
    "q": "Search",
    "kind": "About",
    "outcome": "Outcome",
    "host": "Host",
    "path": "Path",
    "actor": "By",
    "since": "From",
    "until": "Until",
}


class Chip(NamedTuple):
    """A filter that is on, and the address of the page without it."""

    label: str
    value: str
    without: str


def context(agent_session: AgentSession, query: Mapping[str, str]) -> dict[str, Any]:
    """What templates/audit/_timeline.html shows. The position is read first: nothing falls between page and stream."""
    stream = agent_session.pk
    last = timeline.last_seq(stream)
    filters = Filters.from_query(query)
    before, after = _position(query.get("before", "")), _position(query.get("after", ""))
    found = timeline.page(stream, filters, before=before, after=None if before is not None else after)
    actors = timeline.actors(stream)
    names = narration.names_of([*actors, *(entry.act for entry in found.entries)])
    by = [("", "Anybody"), (AGENT, "The agent"), *((one, names.get(one, one)) for one in actors)]
    return {
        "events": format_html_join("", "{}", ((row,) for row in _rows(found.entries, names))),
        "after": last,
        "total": last,
        "filters": filters,
        "chips": _chips(stream, filters, names),
        "kinds": _with(KINDS, ",".join(sorted(filters.kinds))),
        "outcomes": sorted(OUTCOMES),
        "actors": _with(by, filters.actor),
        "hosts": timeline.hosts(stream),
        "live": found.newer is None and filters.until is None,
        "found": found,
        "older": _address(stream, filters, before=found.older),
        "newer": _address(stream, filters, after=found.newer),
        "nothing": "" if found.entries else _nothing(found, filters, last),
        "chart": render_chart(stream, filters),
    }


def reading(query: Mapping[str, str]) -> dict[str, str]:
    """What of the address is kept in the note that somebody read."""
    positions = {name: query[name] for name in ("before", "after") if _position(query.get(name, "")) is not None}
    return {**Filters.from_query(query).parts, **positions}


def render_event(entry: Entry) -> str:
    """One row of a timeline."""
    [row] = render_each([entry])
    return row


def render_each(entries: Sequence[Entry]) -> list[str]:
    """A row for each entry; whose names they need is asked once."""
    return _rows(entries, narration.names_of(entry.act for entry in entries))


def _rows(entries: Sequence[Entry], names: Mapping[str, str]) -> list[str]:
    row = get_template("audit/_event.html")
    return [row.render({"entry": entry, "told": narration.tell(entry, names)}) for entry in entries]


def render_chart(session_id: uuid.UUID, filters: Filters) -> str:
    """The fragment #chart: how dense each lane is, over the whole session or the time that is chosen."""
    drawn = chart.lanes(session_id, filters.since, filters.until, COLUMNS)
    spans = [(first, end, drawn.at(first), drawn.at(end)) for first, end in chart.groups(drawn.columns, GROUPS)]
    parts = [
        {
            "x": first * COLUMN_WIDTH,
            "width": (end - first) * COLUMN_WIDTH,
            "since": since,
            "until": until,
            "href": _address(session_id, filters.between(since, until), always=True),
            "events": sum(cell.events for lane in drawn.lanes for cell in lane.cells[first:end]),
        }
        for first, end, since, until in spans
    ]
    return render_to_string(
        "audit/_chart.html",
        {
            "chart": drawn,
            "lanes": [_drawn(lane, row, drawn.most, spans) for row, lane in enumerate(drawn.lanes)],
            "parts": parts,
            "begins_s": int(drawn.since.timestamp()),
            "step_s": int(drawn.width.total_seconds()),
            "width": drawn.columns * COLUMN_WIDTH,
            "height": len(drawn.lanes) * LANE_HEIGHT,
            "narrowed": filters.since is not None or filters.until is not None,
            "whole": _address(session_id, filters.between(None, None), always=True),
        },
    )


def _drawn(
    lane: chart.Lane, row: int, most: int, spans: Sequence[tuple[int, int, datetime, datetime]]
) -> dict[str, Any]:
    """Bars are as high as the logarithm of what they count: one event among thousands must be seen."""
    top = row * LANE_HEIGHT
    height = cache(partial(chart.height, most=most, room=LANE_HEIGHT - 4))
    bars = []
    for column, cell in enumerate(lane.cells):
        if cell.events:
            x, foot = column * COLUMN_WIDTH + 1, top + LANE_HEIGHT - 2
            bars.append(_bar("bar", x, foot, height(cell.events)))
            if cell.refused:
                bars.append(_bar("bar is-refused", x, foot, height(cell.refused)))
    counts = [
        (sum(cell.events for cell in lane.cells[first:end]), sum(cell.refused for cell in lane.cells[first:end]))
        for first, end, *_ in spans
    ]
    return {"name": lane.name, "lane": lane, "top": top, "bars": SafeString("".join(bars)), "counts": counts}


def _bar(style: str, x: int, foot: int, height: float) -> str:
    """Numbers and our own words: nothing to escape. A chart has hundreds, which a template would take long over."""
    return f'<rect class="{style}" x="{x}" y="{foot - height}" width="8" height="{height}"></rect>'


def _chips(stream: uuid.UUID, filters: Filters, names: Mapping[str, str]) -> list[Chip]:
    kinds = dict(KINDS)
    chips = []
    for name, value in filters.parts.items():
        shown = {"kind": _kind_label(value, kinds), "actor": "the agent" if value == AGENT else names.get(value, value)}
        if name in ("since", "until"):
            moment = filters.since if name == "since" else filters.until
            assert moment is not None
            shown[name] = f"{moment.astimezone(UTC):%d %b %H:%M:%S} UTC"
        without = _address(stream, filters.without(name), always=True)
        chips.append(Chip(LABELS[name], shown.get(name, value), without))
    return chips


def _kind_label(value: str, labels: Mapping[str, str]) -> str:
    return next((label for known, label in labels.items() if set(known.split(",")) == set(value.split(","))), value)


def _with(options: Sequence[tuple[str, str]], chosen: str) -> list[tuple[str, str, bool]]:
    """Options of a select with what is chosen; a value that only the address has becomes an option."""
    same = [set(value.split(",")) == set(chosen.split(",")) for value, _ in options]
    found = [(value, label, on) for (value, label), on in zip(options, same, strict=True)]
    return found if any(same) else [*found, (chosen, chosen, True)]


def _nothing(found: Page, filters: Filters, last: int) -> str:
    """Why the list is empty."""
    if not last:
        return "Nothing has happened in this session yet."
    if found.looked:
        return f"None of the {found.looked:,} events that were searched matches. The search can go on."
    if filters.parts:
        return f"None of this session's {last:,} events matches all of these filters. Take one of them away."
    return "There is nothing beyond this point."


def _address(
    stream: uuid.UUID, filters: Filters, *, before: int | None = None, after: int | None = None, always: bool = False
) -> str:
    """The page with these filters at a position; empty without one, unless `always`."""
    position = {name: str(value) for name, value in (("before", before), ("after", after)) if value is not None}
    if not (position or always):
        return ""
    query = urlencode({**filters.parts, **position})
    return reverse("session", args=[stream]) + (f"?{query}" if query else "")


def _position(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
