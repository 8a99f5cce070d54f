"""The page of a session: grant in words, timeline with filters, fragments that stream and page share."""

from django.db import transaction
from django.urls import reverse

from audit import log, timeline
from audit.event import NewEvent
from audit.timeline import Filters
from sessions.views.session import render_panel
from sessions.views.timeline import render_each, render_event
from tests.factories import issue


def report(agent_session, kind, data, outcome="success"):
    event = NewEvent(
        kind=kind,
        stream=agent_session.id,
        sub=agent_session.person.reference,
        act=agent_session.agent.reference,
        agent=agent_session.agent.reference,
        session=agent_session.id,
        data=data,
        outcome=outcome,
    )
    with transaction.atomic():
        log.append(event)
    return event


def page(client, agent_session, query=""):
    return client.get(reverse("session", args=[agent_session.id]) + query).content.decode()


def newest(agent_session):
    return timeline.page(agent_session.id, Filters(), limit=1).entries[0]


def test_page_shows_the_grant_in_words_and_its_hash(world, browse):
    agent_session = world.request().agent_session
    html = page(browse(world.lead), agent_session)
    assert "Add and change rows of shipments in the database warehouse." in html
    assert f'<code class="hash">{agent_session.grant_hash}</code>' in html
    assert html.count("At most 4 connections at once.") == 1


def test_words_come_from_the_grant_and_not_from_the_rows_around_it(world):
    agent_session = world.request("What was granted").agent_session
    type(agent_session).objects.filter(pk=agent_session.pk).update(purpose="What the row says")
    world.agent.name = "renamed-bot"
    world.agent.save()
    html = render_panel(agent_session.id, world.lead)
    assert ("What was granted" in html, "What the row says" in html, "renamed-bot" in html) == (True, False, False)


def test_lead_finds_approve_less_and_deny(world, browse):
    html = page(browse(world.lead), world.request().agent_session)
    assert html.count('type="checkbox"') == 4
    assert "Approve this much" in html
    assert "Why (the agent is told)" in html


def test_person_of_the_agent_finds_withdraw_only(world, browse):
    html = page(browse(world.requester), world.request().agent_session)
    assert "Withdraw the request" in html
    assert "Approve for" not in html
    assert "This agent runs on your behalf, so somebody else has to decide." in html


def test_live_session_has_a_kill_switch_for_those_who_may(world):
    agent_session = issue(world.approved()).agent_session
    assert 'id="kill"' in render_panel(agent_session.id, world.security)
    assert 'id="kill"' not in render_panel(agent_session.id, world.auditor)


def test_timeline_is_newest_first_and_tells_its_position(world, browse):
    agent_session = world.approved()
    html = page(browse(world.lead), agent_session)
    assert 'data-after="2"' in html
    assert html.index("approved it for 1 hour") < html.index("asked for a session of 1 hour")


def test_timeline_filters_by_url(world, browse):
    agent_session = world.approved()
    report(agent_session, "db.statement", {"statement": "SELECT secret", "message": "no"}, "denied")
    client = browse(world.lead)
    assert page(client, agent_session, "?kind=session").count('class="event ') == 2
    assert page(client, agent_session, "?outcome=denied").count('class="event ') == 1
    assert page(client, agent_session, "?q=secret").count('class="event ') == 1
    assert page(client, agent_session, "?q=nothing-like-it").count('class="event ') == 0


def test_stream_of_a_filtered_page_is_filtered_too(world, browse):
    agent_session = world.approved()
    html = page(browse(world.lead), agent_session, "?kind=db&q=a%26b&page=9")
    assert f'data-stream="/sessions/{agent_session.id}/stream?kind=db&amp;q=a%26b"' in html


def test_search_to_the_beginning_offers_nothing_older(world, browse):
    html = page(browse(world.lead), world.approved(), "?q=nothing-like-it")
    assert 'rel="next"' not in html


def test_names_of_a_whole_page_are_asked_once(world, django_assert_num_queries):
    agent_session = world.approved()
    for number in range(20):
        report(agent_session, "tool.used", {"text": f"number {number}"})
    entries = timeline.page(agent_session.id, Filters()).entries
    with django_assert_num_queries(2):
        assert len(render_each(entries)) == 22


def test_nonsense_in_the_url_is_ignored(world, browse):
    html = page(browse(world.lead), world.approved(), "?before=x&outcome=maybe")
    assert html.count('class="event ') == 2


def test_refused_statement_is_told_with_the_answer(world):
    agent_session = world.approved()
    data = {"statement": "SELECT * FROM payments", "message": "permission denied for table payments"}
    report(agent_session, "db.statement", data, "denied")
    html = render_event(newest(agent_session))
    assert '<bdi>shipping-bot</bdi></b> ran <span class="said">as it reports</span>' in html
    assert "<code><bdi>SELECT * FROM payments</bdi></code>" in html
    assert "It says that PostgreSQL refused: permission denied for table payments" in html
    assert 'class="event is-denied"' in html


def test_kind_that_nobody_knows_is_told_by_its_name(world):
    agent_session = world.approved()
    report(agent_session, "tool.web_search.done", {"results": 3})
    assert "tool web search done" in render_event(newest(agent_session))


def test_event_cannot_bring_markup_or_hide_text(world):
    agent_session = world.approved()
    report(agent_session, "tool.used", {"text": "<img src=x> \u202etxet"})
    html = render_event(newest(agent_session))
    assert "<img" not in html
    assert "&lt;img src=x&gt; \ufffdtxet" in html


def test_streamed_row_is_the_row_of_the_page(world, browse):
    agent_session = world.approved()
    assert render_event(newest(agent_session)) in page(browse(world.lead), agent_session)


def test_rendering_twice_gives_the_same_panel(world):
    """The stream sends a panel only when it differs from what the viewer has."""
    agent_session = issue(world.approved()).agent_session
    assert render_panel(agent_session.id, world.lead) == render_panel(agent_session.id, world.lead)
