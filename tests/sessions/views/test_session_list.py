"""All sessions: filters of the URL, pages, the switch on each live row."""

import uuid
from datetime import timedelta

import pytest
from django.urls import reverse

from sessions import lifecycle
from sessions.views import lookup, session_list
from sessions.views.session_list import Wanted, render_session_rows
from tests.factories import issue


def ids(html):
    return [part.split('"')[0] for part in html.split('<tr id="session-')[1:]]


def shown(world, **query):
    return ids(render_session_rows(world.auditor, query))


def test_newest_session_comes_first(world):
    first, second = world.request().agent_session, world.request().agent_session
    assert shown(world) == [str(second.id), str(first.id)]


def test_filters_narrow_the_list(world):
    live, asked = world.approved(), world.request("Quarterly report").agent_session
    issue(live)
    assert shown(world, state="active") == [str(live.id)]
    assert shown(world, live="1") == [str(live.id)]
    assert shown(world, q="QUARTERLY") == [str(asked.id)]
    assert len(shown(world, q="shipping-bot")) == 2
    assert len(shown(world, agent=str(world.agent.id), person=str(world.requester.id))) == 2
    assert len(shown(world, profile=str(world.profile.id))) == 2
    assert shown(world, agent=str(uuid.uuid4())) == []


def test_just_killed_session_stays_on_the_live_list_for_a_while(world, monkeypatch):
    agent_session = issue(world.approved()).agent_session
    lifecycle.kill(agent_session.id, world.lead)
    assert shown(world, live="1") == [str(agent_session.id)]
    monkeypatch.setattr(lookup, "JUST_KILLED", timedelta(0))
    assert shown(world, live="1") == []


def test_nonsense_in_the_url_is_ignored(world):
    world.request()
    assert len(shown(world, state="dancing", agent="x", before="yesterday")) == 1


def test_pages_continue_where_the_last_ended(world, monkeypatch):
    monkeypatch.setattr(session_list, "PAGE", 2)
    made = [str(world.request().agent_session.id) for _ in range(3)]
    html = render_session_rows(world.auditor, {"q": "late"})
    assert ids(html) == [made[2], made[1]]
    assert f'href="/sessions/?q=late&amp;before={made[1]}" rel="next"' in html
    assert shown(world, before=made[1]) == [made[0]]


def test_page_keeps_the_filters_in_its_form_and_its_stream(world, browse):
    html = browse(world.lead).get("/sessions/?q=a%22b&live=1&state=active").content.decode()
    assert 'value="a&quot;b"' in html
    assert '<option value="active" selected>' in html
    assert 'name="live" value="1" checked' in html
    assert 'data-stream="/sessions/stream?state=active&amp;q=a%22b&amp;live=1"' in html


def test_older_pages_are_not_live(world, browse):
    html = browse(world.lead).get(f"/sessions/?before={uuid.uuid4()}").content.decode()
    assert "data-stream" not in html


@pytest.mark.parametrize(("role", "may"), [("lead", True), ("security", True), ("admin", True), ("auditor", False)])
def test_live_row_has_a_switch_for_those_who_may(world, role, may):
    agent_session = world.approved()
    html = render_session_rows(getattr(world, role), {})
    assert (reverse("session-kill", args=[agent_session.id]) in html) is may


def test_row_of_a_killed_session_says_what_is_dead(world):
    credential = issue(world.approved())
    lifecycle.kill(credential.agent_session_id, world.lead)
    assert "1 of 1 not proven dead yet" in render_session_rows(world.lead, {})
    lifecycle.record_revoked(credential.revocation.id, {})
    lifecycle.record_proven(credential.revocation.id, {})
    assert "1 of 1 proven dead" in render_session_rows(world.lead, {})


def test_number_of_queries_does_not_grow_with_the_rows(world, django_assert_max_num_queries):
    for _ in range(5):
        lifecycle.kill(issue(world.approved()).agent_session_id, world.lead)
    with django_assert_max_num_queries(4):
        render_session_rows(world.lead, {})


def test_wanted_reads_only_what_it_knows():
    assert Wanted.from_query({"state": "active", "page": "3"}) == Wanted(state="active")
