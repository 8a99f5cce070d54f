"""The strip chart counts what was integrated: lanes, columns, and what was refused."""

from datetime import UTC, datetime, timedelta

import pytest

from audit import chart
from audit.uuid7 import uuid7
from tests.audit.timeline.streams import event, integrate, write

AT = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
KINDS = (
    ("session.approved", "approvals"),
    ("session.finding", "findings"),
    ("finding.leak", "findings"),
    ("credential.issued", "credentials"),
    ("tool.called", "tool calls"),
    ("db.statement", "tool calls"),
    ("process.started", "tool calls"),
    ("file.read", "files"),
    ("http.request", "egress"),
    ("egress.blocked", "egress"),
    ("telemetry.seen", "other"),
    ("toolbox.opened", "other"),
)


def counted(stack_environment, *events):
    """A stream of (seconds after AT, kind, outcome), integrated."""
    stream = uuid7()
    write(stream, [event(stream, kind, outcome=out, occurred_at=AT + timedelta(seconds=s)) for s, kind, out in events])
    integrate(stack_environment)
    return stream


def numbers(drawn, name):
    [lane] = [lane for lane in drawn.lanes if lane.name == name]
    return [(column, cell.events, cell.refused) for column, cell in enumerate(lane.cells) if cell.events]


def test_each_kind_has_its_lane(committed, stack_environment):
    stream = counted(stack_environment, *((0, kind, "success") for kind, _ in KINDS))
    drawn = chart.lanes(stream, None, None, 120)
    expected = [name for _, name in KINDS]
    assert {lane.name: lane.events for lane in drawn.lanes} == {name: expected.count(name) for name in expected}


def test_lane_of_the_rest_is_there_only_when_needed(committed, stack_environment):
    stream = counted(stack_environment, (0, "tool.called", "success"))
    names = [lane.name for lane in chart.lanes(stream, None, None, 120).lanes]
    assert names == ["approvals", "credentials", "tool calls", "files", "egress", "findings"]


def test_events_are_counted_in_their_columns(committed, stack_environment):
    stream = counted(
        stack_environment,
        (0, "tool.called", "success"),
        (4, "tool.ended", "denied"),
        (21, "db.statement", "failure"),
        (21, "file.read", "success"),
    )
    drawn = chart.lanes(stream, None, None, 120)
    assert (drawn.since, drawn.width, drawn.columns) == (AT, timedelta(seconds=5), 5)
    assert numbers(drawn, "tool calls") == [(0, 2, 1), (4, 1, 1)]
    assert numbers(drawn, "files") == [(4, 1, 0)]
    assert drawn.most == 2


def test_long_time_has_wide_columns_that_begin_at_their_multiples(committed, stack_environment):
    stream = counted(stack_environment, (61, "file.read", "success"), (7_000, "file.read", "success"))
    drawn = chart.lanes(stream, None, None, 60)
    assert (drawn.since, drawn.width, drawn.columns) == (AT, timedelta(minutes=2), 59)
    assert numbers(drawn, "files") == [(0, 1, 0), (58, 1, 0)]


def test_chosen_time_is_shown_alone_and_finer(committed, stack_environment):
    stream = counted(stack_environment, *((second, "file.read", "success") for second in (0, 300, 307, 900)))
    drawn = chart.lanes(stream, AT + timedelta(seconds=300), AT + timedelta(seconds=320), 120)
    assert numbers(drawn, "files") == [(0, 1, 0), (1, 1, 0)]
    assert drawn.until == AT + timedelta(seconds=320)


def test_stream_that_was_not_integrated_has_no_lanes(db):
    stream = uuid7()
    write(stream, [event(stream)])
    assert chart.lanes(stream, None, None, 120).lanes == ()


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        (AT, AT),
        (AT, AT - timedelta(days=1)),
        (None, datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_no_time_in_an_address_is_too_much(db, since, until):
    assert chart.lanes(uuid7(), since, until, 120).columns <= 121


def test_bars_grow_with_the_logarithm_and_are_seen_when_they_are_one():
    assert [chart.height(count, 10_000, 20) for count in (0, 1, 10_000)] == [0, 3, 20]


def test_columns_are_grouped_for_links_and_the_table():
    assert chart.groups(5, 2) == [(0, 3), (3, 5)]
    assert len(chart.groups(120, 12)) == 12
