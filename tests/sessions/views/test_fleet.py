"""The fleet: one lane for each live session, the most urgent first, with the switch on each."""

import dataclasses
import re
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit import log
from audit.event import now
from audit.models import Event
from sessions import fleet as fleets
from sessions import lifecycle
from sessions.lifecycle.changes import event_of
from sessions.models.agents import Framework
from sessions.models.people import Role
from sessions.parties import agent_of, viewer
from sessions.views import fleet, lookup
from sessions.views.fleet import Wanted
from tests import factories
from tests.factories import issue, kinds_of


@pytest.fixture(autouse=True)
def _nothing_is_revoked(monkeypatch):
    monkeypatch.setattr("sessions.revoking.start", lambda ids: [])


def report(agent_session, outcome="success", kind="db.statement", ago=timedelta(0), **data):
    """One event of the agent, written to the log so long ago."""
    event = event_of(agent_session, kind, agent_of(agent_session), data or {"statement": "SELECT 1"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audit.log.now", lambda: now() - ago)
        log.append(dataclasses.replace(event, outcome=outcome))


def shown(person, **query):
    wanted, teams = Wanted.from_query(query), lookup.teams_of(viewer(person))
    lanes = fleet.lanes(fleets.survey(teams, [wanted.minutes]), wanted, teams)
    return [one.agent_session for one in lanes.shown]


def html_of(browse, person, query=""):
    answer = browse(person).get(f"/fleet/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def ids(html):
    return re.findall(r'<li id="lane-([0-9a-f-]+)"', html)


def test_page_shows_who_does_what_for_whom(world, browse):
    agent_session = issue(world.approved(purpose="Find <late> shipments")).agent_session
    report(agent_session, statement="SELECT 42", rows=3)
    html = html_of(browse, world.auditor)
    assert ids(html) == [str(agent_session.id)]
    for text in ("shipping-bot", "Find &lt;late&gt; shipments", "Active", "Requester", "SELECT 42", "3 rows", "ends "):
        assert text in html


def test_page_takes_no_other_method(world, browse):
    assert browse(world.lead).post("/fleet/").status_code == 405


@pytest.mark.parametrize("path", ["/fleet/", "/fleet/stream"])
def test_nobody_sees_it_without_signing_in(client, db, path):
    answer = client.get(path)
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/accounts/login/")


def test_stranger_sees_no_session_of_other_teams(world, browse):
    world.approved()
    elsewhere = factories.world()
    theirs = elsewhere.approved()
    assert ids(html_of(browse, world.stranger)) == []
    assert ids(html_of(browse, elsewhere.auditor)) == [str(theirs.id)]
    assert shown(elsewhere.auditor, team=str(world.team.id)) == []


def test_only_live_sessions_have_a_lane(world):
    world.request()
    over = issue(world.approved()).agent_session
    lifecycle.complete(over.id, agent_of(over), {})
    live = world.approved()
    assert shown(world.lead) == [live]


def test_killed_session_stays_for_a_while_without_a_switch(world, browse, monkeypatch):
    credential = issue(world.approved())
    lifecycle.kill(credential.agent_session_id, world.lead)
    html = html_of(browse, world.lead)
    assert "1 of 1 not proven dead yet" in html
    assert 'class="kill"' not in html
    monkeypatch.setattr(lookup, "JUST_KILLED", timedelta(0))
    assert shown(world.lead) == []


def test_nothing_live_says_so(world, browse):
    assert "No agent is at work" in html_of(browse, world.lead)
    world.approved()
    html = html_of(browse, world.lead, "?q=nothing-like-it")
    assert "No live session matches" in html
    assert "No agent is at work" not in html


@pytest.mark.parametrize(("role", "may"), [("lead", True), ("security", True), ("requester", True), ("auditor", False)])
def test_switch_is_for_those_who_may(world, browse, role, may):
    path = reverse("session-kill", args=[world.approved().id])
    assert (f'hx-post="{path}"' in html_of(browse, getattr(world, role))) is may


def test_kill_from_a_lane_answers_with_the_lane(world, browse):
    agent_session = issue(world.approved()).agent_session
    lane = fleet.lane_id(agent_session.id)
    htmx = {"HX-Request": "true", "HX-Target": lane, "HX-Current-URL": "http://testserver/fleet/?minutes=60"}
    answer = browse(world.security).post(reverse("session-kill", args=[agent_session.id]), headers=htmx)
    html = answer.content.decode()
    assert answer.status_code == 200
    assert html.startswith(f'<li id="{lane}"')
    assert 'aria-label="60 minutes up to' in html
    assert "1 of 1 not proven dead yet" in html
    assert "session.killed" in kinds_of(agent_session.id)


def test_switch_carries_the_token_of_the_viewer(world, browse):
    world.approved()
    client = browse(world.lead)
    tokens = set()
    for _ in range(2):
        html = client.get("/fleet/").content.decode()
        tokens |= set(re.findall(r'<form class="sight-act".*?name="csrfmiddlewaretoken" value="(\w*)"', html, re.S))
    assert all(len(token) == 64 for token in tokens)
    assert len(tokens) == 2


def test_newest_refusal_comes_first_then_newest_activity(world):
    idle, busy, refused, failed = [issue(world.approved()).agent_session for _ in range(4)]
    report(refused, outcome="denied", ago=timedelta(minutes=4))
    report(failed, outcome="failure", ago=timedelta(minutes=2))
    report(idle, ago=timedelta(minutes=16))
    report(busy)
    assert shown(world.lead) == [failed, refused, busy, idle]


def test_refusal_before_the_strip_counts_and_does_not_come_first(world):
    old, busy = [issue(world.approved()).agent_session for _ in range(2)]
    report(old, outcome="denied", ago=timedelta(minutes=30))
    report(old, ago=timedelta(minutes=20))
    report(busy)
    assert shown(world.lead) == [busy, old]
    assert shown(world.lead, minutes="60") == [old, busy]
    assert shown(world.lead, refused="1") == [old]


def test_finding_counts_as_an_alarm(world):
    quiet, found = [issue(world.approved()).agent_session for _ in range(2)]
    report(found, kind="finding", text="talks to a host that nobody knows", ago=timedelta(minutes=1))
    report(quiet)
    assert shown(world.lead) == [found, quiet]


def test_stable_order_is_by_start_whatever_happens(world):
    made = [issue(world.approved()).agent_session for _ in range(3)]
    report(made[1], outcome="denied")
    assert shown(world.lead, order="started") == made


def test_sender_cannot_hide_a_refusal_in_the_past(world):
    agent_session = issue(world.approved()).agent_session
    event = event_of(agent_session, "http.request", agent_of(agent_session), {"host": "x.example"})
    log.append(dataclasses.replace(event, outcome="denied", occurred_at=now() - timedelta(days=300)))
    [standing] = fleets.survey([world.team.id], [15]).standings
    assert standing.alarmed(now() - timedelta(minutes=1))


def test_filters_narrow_the_lanes(world):
    other = lifecycle.register_agent(world.team, world.requester, "etl-nightly", Framework.CLAUDE_CODE)
    first = world.approved(purpose="Find late shipments")
    request = lifecycle.Request(world.profile, "Load yesterday's orders")
    asked = lifecycle.request_session(other, request).agent_session
    second = lifecycle.approve(asked.id, world.lead, asked.grant_hash)
    assert shown(world.lead, q="YESTERDAY") == [second]
    assert shown(world.lead, q="shipping-bot") == [first]
    assert shown(world.lead, agent=str(other.id)) == [second]
    assert len(shown(world.lead, team=str(world.team.id))) == 2
    assert shown(world.lead, agent=str(uuid.uuid4())) == []


def test_nonsense_in_the_url_is_ignored():
    nonsense = {"minutes": "9999", "team": "x", "agent": "'", "order": "random", "refused": "yes", "q": "\0"}
    assert Wanted.from_query(nonsense) == Wanted()


def test_page_keeps_the_filters_in_its_form_and_its_stream(world, browse):
    html = html_of(browse, world.lead, "?q=a%22b&minutes=60&order=started&refused=1")
    assert 'value="a&quot;b"' in html
    assert '<option value="60" selected>' in html
    assert 'data-stream="/fleet/stream?q=a%22b&amp;refused=1&amp;minutes=60&amp;order=started"' in html


def test_page_of_too_many_says_how_many_are_left_out(world, browse, monkeypatch):
    monkeypatch.setattr(fleet, "MOST", 2)
    for _ in range(3):
        world.approved()
    html = html_of(browse, world.lead)
    assert len(ids(html)) == 2
    assert "1 more is not shown" in html
    assert "<b>3</b>" in html


def test_reading_is_logged_once_with_its_filters(world, browse):
    world.approved()
    html_of(browse, world.auditor, "?q=late&minutes=5")
    [event] = [one for one in factories.events_of(world.auditor.id) if one["kind"] == "log.read"]
    assert event["data"] == {"what": "fleet", "q": "late", "minutes": "5"}


def test_number_of_queries_does_not_depend_on_how_many_lanes(world, browse):
    client = browse(world.lead)
    counts = []
    for _ in range(2):
        for _ in range(3):
            report(issue(world.approved()).agent_session, outcome="denied")
        lifecycle.kill(issue(world.approved()).agent_session_id, world.lead)
        client.get("/fleet/")
        with CaptureQueriesContext(connection) as queries:
            client.get("/fleet/")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_events_of_any_number_are_counted_up_to_a_hundred(world):
    agent_session = issue(world.approved()).agent_session
    event = event_of(agent_session, "db.statement", agent_of(agent_session), {"statement": "SELECT 1"})
    many = [dataclasses.replace(event, id=uuid.uuid4(), outcome="denied") for _ in range(120)]
    log.append_batch(agent_session.id, many)
    survey = fleets.survey([world.team.id], [15])
    assert survey.standings[0].alarm.refused == 100
    assert "100+ refused" in re.sub(
        r"<svg.*?</svg>", "", fleet.render_lane(survey, survey.standings[0], 15, True).fragment
    )


def test_lane_is_rendered_again_only_when_it_has_changed(world):
    agent_session = issue(world.approved()).agent_session

    def lane():
        survey = fleets.survey([world.team.id], [15])
        return fleet.render_lane(survey, survey.standings[0], 15, False)

    first = lane()
    assert lane() is first
    report(agent_session)
    assert lane().version != first.version


def test_viewer_of_two_teams_sees_both(world):
    elsewhere = factories.world()
    lifecycle.grant_role(elsewhere.team, world.auditor, Role.AUDITOR, elsewhere.admin)
    both = [world.approved(), elsewhere.approved()]
    assert shown(world.auditor, order="started") == both
    assert shown(world.auditor, team=str(elsewhere.team.id)) == both[1:]


def test_log_knows_nothing_of_a_lane_that_has_no_event(world):
    agent_session = world.approved()
    assert Event.objects.filter(stream=agent_session.id).count() == 2
    survey = fleets.one(agent_session.id, 15)
    empty = dataclasses.replace(survey.standings[0], newest=None, told=None)
    assert empty.age_class(survey.at) == len(fleets.AGES_S)
    assert "Nothing has happened yet" in fleet.render_lane(survey, empty, 15, False).fragment
