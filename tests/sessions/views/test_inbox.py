"""The inbox: what waits for me, what of mine waits for somebody else, and what is live."""

from sessions import lifecycle
from sessions.views import inbox as views_inbox
from sessions.views.inbox import render_inbox
from tests.factories import issue


def test_request_is_shown_with_its_grant_in_words(world, browse):
    agent_session = world.request("Find late shipments").agent_session
    html = browse(world.lead).get("/").content.decode()
    assert f'id="request-{agent_session.id}"' in html
    assert "Find late shipments" in html
    assert "Read rows of customers and orders in the database warehouse." in html
    assert "Approve for 1 hour" in html
    assert f'value="{agent_session.grant_hash}"' in html


def test_count_of_what_waits_stands_in_the_frame(world, browse):
    world.request()
    html = browse(world.lead).get("/agents/").content.decode()
    assert "<span>1</span>" in html


def test_own_request_waits_for_somebody_else(world, browse):
    world.request()
    html = browse(world.requester).get("/").content.decode()
    assert "Yours, waiting for somebody else" in html
    assert "Approve for" not in html


def test_security_may_deny_but_not_approve(world):
    world.request()
    html = render_inbox(world.security)
    assert "#deny" in html
    assert "Approve for" not in html


def test_auditor_has_nothing_to_decide(world):
    world.request()
    assert "Nothing waits for you." in render_inbox(world.auditor)


def test_most_urgent_request_comes_first(world):
    first, second = world.request("Older").agent_session, world.request("Newer").agent_session
    html = render_inbox(world.lead)
    assert html.index(str(first.id)) < html.index(str(second.id))


def test_live_session_has_its_kill_switch(world):
    agent_session = world.approved()
    issue(agent_session)
    html = render_inbox(world.lead)
    assert f'id="kill-{agent_session.id}"' in html


def test_auditor_sees_live_sessions_without_a_switch(world):
    agent_session = world.approved()
    html = render_inbox(world.auditor)
    assert f'id="session-{agent_session.id}"' in html
    assert f'id="kill-{agent_session.id}"' not in html


def test_decided_request_is_gone(world):
    agent_session = world.request().agent_session
    lifecycle.deny(agent_session.id, world.lead, agent_session.grant_hash)
    assert str(agent_session.id) not in render_inbox(world.lead)


def test_words_of_the_agent_cannot_act_or_hide(world):
    world.request("<b>bold</b> \u202eesrever \u200bhidden")
    html = render_inbox(world.lead)
    assert "&lt;b&gt;bold&lt;/b&gt; \ufffdesrever \ufffdhidden" in html


def test_live_and_loaded_inbox_are_the_same_html(world, browse):
    world.request()
    page = browse(world.lead).get("/").content.decode()
    token = page.split('data-csrf="')[1].split('"')[0]
    assert render_inbox(world.lead, token).split('name="csrfmiddlewaretoken"')[0] in page


def test_own_requests_beyond_the_fiftieth_are_counted(world, monkeypatch):
    monkeypatch.setattr(views_inbox, "MOST_CARDS", 2)
    for _ in range(3):
        world.request()
    html = render_inbox(world.requester)
    assert html.count('<article class="card request"') == 2
    assert "1 more of yours wait behind these." in html
