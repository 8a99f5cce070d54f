"""The timeline on the page: filters in the address, chips, both directions, why a list is empty, the strip chart."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.urls import reverse

from audit import log, search, timeline
from audit.filters import Filters
from audit.uuid7 import uuid7
from sessions.views.timeline import render_chart
from tests.audit.timeline.streams import event, integrate, write
from tests.factories import events_of


def page(client, agent_session, query=""):
    return client.get(reverse("session", args=[agent_session.id]) + query).content.decode()


def report(agent_session, count=1, **other):
    with transaction.atomic():
        log.append_batch(agent_session.id, [event(agent_session.id, **other) for _ in range(count)])


def rows(html):
    return [int(seq) for seq in re.findall(r'data-seq="(\d+)"', html)]


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("?kind=session", [2, 1]),
        ("?host=db.example", [3]),
        ("?path=/srv/a", [4, 3]),
        ("?actor=agent", [4, 3, 1]),
        ("?q=needle", [4]),
        ("?path=/srv/a&host=db.example", [3]),
        ("?outcome=denied", [4]),
    ],
)
def test_filters_are_in_the_address(world, browse, query, seqs):
    agent_session = world.approved()
    report(agent_session, data={"host": "db.example", "path": "/srv/a"})
    report(agent_session, data={"path": "/srv/ab", "statement": "needles"}, outcome="denied")
    assert rows(page(browse(world.lead), agent_session, query)) == seqs


def test_each_filter_is_a_chip_that_takes_it_away(world, browse):
    agent_session = world.approved()
    html = page(browse(world.lead), agent_session, "?q=a%26b&host=h&since=2026-11-25T08:00:00Z")
    here = f"/sessions/{agent_session.id}/"
    assert f'<a href="{here}?host=h&amp;since=2026-11-25T08%3A00%3A00Z">' in html
    assert f'<a href="{here}?host=h&amp;q=a%26b">' in html
    assert "From: <bdi>25 Nov 08:00:00 UTC</bdi>" in html


def test_chosen_time_stays_when_the_form_is_sent(world, browse):
    html = page(browse(world.lead), world.approved(), "?since=2026-11-25T08:00:00Z")
    assert '<input type="hidden" name="since" value="2026-11-25T08:00:00Z">' in html


def test_actors_are_offered_by_name(world, browse):
    agent_session = world.approved()
    html = page(browse(world.auditor), agent_session, f"?actor=person:{world.lead.id}")
    assert f'<option value="person:{world.lead.id}" selected>Lead</option>' in html
    assert rows(html) == [2]


def test_kind_that_only_the_address_has_stays_chosen(world, browse):
    html = page(browse(world.lead), world.approved(), "?kind=db.statement")
    assert '<option value="db.statement" selected>db.statement</option>' in html


def test_pages_lead_to_each_other_and_back_to_the_live_one(world, browse):
    agent_session, client = world.approved(), browse(world.lead)
    report(agent_session, timeline.PAGE)
    first = page(client, agent_session)
    second = page(client, agent_session, "?before=3")
    back = page(client, agent_session, "?after=2")
    assert f'href="/sessions/{agent_session.id}/?before=3" rel="next"' in first
    assert f'href="/sessions/{agent_session.id}/?after=2" rel="prev"' in second
    assert (rows(second), rows(back)) == ([2, 1], rows(first))
    assert ("data-stream" in first, "data-stream" in second, "data-stream" in back) == (True, False, True)


def test_page_that_ends_in_the_past_is_not_live(world, browse):
    agent_session = world.approved()
    assert "data-stream" not in page(browse(world.lead), agent_session, "?until=2099-01-01T00:00:00Z")
    assert "data-stream" in page(browse(world.lead), agent_session, "?since=2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("?q=nothing-like-it", "None of this session&#x27;s 2 events matches all of these filters."),
        ("?before=1", "There is nothing beyond this point."),
    ],
)
def test_empty_list_says_why(world, browse, query, why):
    assert why in page(browse(world.lead), world.approved(), query)


def test_search_that_stopped_says_how_far_it_came(world, browse, monkeypatch):
    monkeypatch.setattr(search, "MOST_LOOKED", 3)
    agent_session = world.approved()
    report(agent_session, 4)
    html = page(browse(world.lead), agent_session, "?q=asked-long-ago")
    assert "None of the 3 events that were searched matches." in html
    assert f'href="/sessions/{agent_session.id}/?q=asked-long-ago&amp;before=4" rel="next">Search older ones' in html


def test_reading_a_page_is_logged_once_with_its_filters(world, browse):
    agent_session = world.approved()
    page(browse(world.auditor), agent_session, "?q=needle&outcome=denied&before=9&page=x")
    [noted] = [one["data"] for one in events_of(world.auditor.id) if one["kind"] == "log.read"]
    assert noted["session"] == str(agent_session.id)
    assert (noted["what"], noted["outcome"], noted["before"]) == ("session", "denied", "9")


def test_row_leads_to_its_whole_event(world, browse):
    agent_session = world.approved()
    html = page(browse(world.lead), agent_session)
    whole = f"/sessions/{agent_session.id}/events/2/"
    assert f'<div hx-get="{whole}" hx-trigger="toggle from:closest details once">' in html
    assert f'<a href="{whole}">' in html


@pytest.fixture
def charted(committed, stack_environment):
    """A stream over four minutes, eight of its nine events by the agent's tools, one of them refused."""
    stream, at = uuid7(), datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
    times = [at + timedelta(seconds=30 * number) for number in range(8)]
    write(stream, [event(stream, occurred_at=time, outcome="denied" if time == at else "success") for time in times])
    write(stream, [event(stream, "file.read", occurred_at=at)])
    integrate(stack_environment)
    return stream


def test_chart_draws_bars_links_and_a_table(charted):
    html = render_chart(charted, Filters())
    assert (html.count('class="bar"'), html.count('class="bar is-refused"')) == (9, 1)
    assert f"/sessions/{charted}/?since=2026-11-25T08%3A00%3A00Z&amp;until=2026-11-25T08%3A00%3A20Z" in html
    assert '<th scope="row">tool calls</th><td>1 <b>(1)</b></td>' in html
    assert 'data-since="1795593600" data-step="5"' in html


def test_links_of_the_chart_keep_the_other_filters(charted):
    html = render_chart(charted, Filters(host="h", text="a b"))
    assert f"/sessions/{charted}/?host=h&amp;q=a+b&amp;since=2026-11-25T08%3A00%3A00Z&amp;until=" in html
    assert f'data-address="/sessions/{charted}/?host=h&amp;q=a+b"' in html


def test_chart_of_a_chosen_time_leads_back_to_the_whole_session(charted):
    html = render_chart(charted, Filters.from_query({"since": "2026-11-25T08:00:25Z"}))
    assert f'<a href="/sessions/{charted}/">The whole session</a>' in html
    assert html.count('class="bar"') == 7


def test_chart_of_what_was_not_counted_yet_says_so(world):
    assert "Events are counted here a moment after they are written." in render_chart(world.approved().id, Filters())


def test_chart_is_the_same_when_nothing_happened(charted):
    assert render_chart(charted, Filters()) == render_chart(charted, Filters())
