"""Many streams at once: their strips, their newest events, and what went wrong in them, each in one query."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit import alarms, chart, timeline
from audit.chart import Mark
from audit.event import now
from audit.uuid7 import uuid7
from tests.audit.timeline.streams import event, integrate, write, written

pytestmark = pytest.mark.usefixtures("committed")
WIDTH = timedelta(seconds=15)


def test_strips_count_each_lane_of_each_stream(stack_environment: Mapping[str, str]) -> None:
    since = datetime.fromtimestamp(now().timestamp() // 15 * 15 - 600, UTC)
    first, second, empty = uuid7(), uuid7(), uuid7()
    kinds = ("tool.called", "db.statement", "http.request", "session.finding", "made.up")
    write(first, [event(first, kind, occurred_at=since + timedelta(seconds=16)) for kind in kinds])
    write(second, [event(second, "egress.denied", outcome="denied", occurred_at=since)])
    integrate(stack_environment)
    found = chart.strips([first, second, empty], since, WIDTH, 40)
    rows = {name: chart.ORDER.index(name) for name in chart.ORDER}
    assert sorted(found[first].marks) == sorted(
        [Mark(rows["tool calls"], 1, 2, 0), *(Mark(rows[name], 1, 1, 0) for name in ("egress", "findings", "other"))]
    )
    assert found[second].marks == (Mark(rows["egress"], 0, 1, 1),)
    assert (found[first].last_seq, found[second].last_seq, empty in found) == (5, 1, False)


def test_newest_event_of_each_stream_is_found_before_it_is_integrated() -> None:
    first, second = written(kind="file.read"), written()
    write(second, [event(second, "http.request")])
    found = timeline.newest([first, second, uuid7()])
    assert {stream: (entry.seq, entry.kind) for stream, entry in found.items()} == {
        first: (1, "file.read"),
        second: (2, "http.request"),
    }


@pytest.mark.parametrize(("outcome", "refused"), [("denied", 2), ("failure", 2)])
def test_alarm_is_the_newest_event_that_was_refused_or_failed(outcome: str, refused: int) -> None:
    stream = uuid7()
    outcomes = ("failure", "denied", "success") if outcome == "denied" else ("denied", "failure", "success")
    write(stream, [event(stream, outcome=each) for each in outcomes])
    alarm = alarms.of([stream])[stream]
    assert (alarm.refused, alarm.seq) == (refused, 2)
    assert now() - alarm.at < timedelta(minutes=1)


def test_finding_is_an_alarm_and_is_not_counted_as_refused() -> None:
    stream = written(kind="session.finding")
    assert (alarms.of([stream])[stream].refused, alarms.of([stream])[stream].seq) == (0, 1)


def test_stream_in_which_nothing_went_wrong_has_no_alarm() -> None:
    assert alarms.of([written(), uuid7()]) == {}


def test_strips_and_alarms_take_one_query_each_for_any_number_of_streams() -> None:
    streams = [written(outcome="denied") for _ in range(5)]
    with CaptureQueriesContext(connection) as queries:
        chart.strips(streams, now(), WIDTH, 40)
        alarms.of(streams)
    assert len(queries) == 2
