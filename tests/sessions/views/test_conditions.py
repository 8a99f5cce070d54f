"""Under which conditions a session runs: said to whoever approves, on its page and on its profile's."""

import uuid

import pytest
from django.urls import reverse

from audit.event import now, timestamp
from audit.uuid7 import uuid7
from sessions import lifecycle, words
from sessions.api import events
from sessions.errors import Invalid
from sessions.models import AgentSession
from sessions.views.session import render_panel
from tests import factories
from tests.factories import CONTENT, issue

RISKY = "It may run without a sandbox: then only its credentials limit what it reaches."
STRICT = {**CONTENT, "sandbox": "required", "on_finding": "kill", "verified_within_days": 7}
SILENT = {name: value for name, value in CONTENT.items() if name != "sandbox"}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"sandbox": "maybe"}, "sandbox is either required or optional."),
        ({"on_finding": True}, "on_finding is either note or kill."),
        ({"verified_within_days": 0}, "verified_within_days must be a whole number from 1 to 366."),
        ({"verified_within_days": "7"}, "verified_within_days must be a whole number from 1 to 366."),
        ({"verified_within_days": True}, "verified_within_days must be a whole number from 1 to 366."),
        ({"sandboxes": 1}, "Unknown field 'sandboxes'."),
    ],
)
def test_nonsense_in_a_version_is_refused(world, changed, problem):
    with pytest.raises(Invalid) as refused:
        lifecycle.propose_profile_version(world.profile, {**CONTENT, **changed}, world.admin)
    assert refused.value.problems == (problem,)


def test_version_that_does_not_say_demands_a_sandbox(world):
    version = lifecycle.propose_profile_version(world.profile, SILENT, world.admin)
    assert version.conditions == {"sandbox": "required", "on_finding": "note", "verified_within_days": None}


DIES = "postgresql:warehouse: a kill ends it at once. If nobody kills it: its lease ends it."


def test_grant_holds_the_conditions_that_were_approved(db):
    content = factories.world(STRICT).request().agent_session.grant.content
    assert content["conditions"] == {"sandbox": "required", "on_finding": "kill", "verified_within_days": 7}
    assert [one.text for one in words.of_grant(content).conditions] == [
        "It runs inside a sandbox only.",
        "Its sandbox must have withstood all probes within the last 7 days.",
        "A leak or an evasion that a gateway finds ends it at once.",
        DIES,
    ]


def test_grant_of_before_there_were_conditions_is_still_read(world):
    content = world.request().agent_session.grant.content
    del content["conditions"]
    assert [one.text for one in words.of_grant(content).conditions] == [DIES]


@pytest.mark.parametrize("path", ["inbox", "session", "profile"])
def test_risk_is_said_in_red_to_whoever_approves(world, browse, path):
    agent_session = world.request().agent_session
    args = {"inbox": [], "session": [agent_session.pk], "profile": [world.profile.pk]}[path]
    html = browse(world.lead).get(reverse(path, args=args)).content.decode()
    before, _ = html.split(RISKY, 1)
    assert before.rpartition('<p class="')[2].startswith('problem"')


def test_required_sandbox_is_no_risk(db, browse):
    world = factories.world(STRICT)
    agent_session = world.request().agent_session
    html = browse(world.lead).get(reverse("session", args=[agent_session.pk])).content.decode()
    assert "It runs inside a sandbox only." in html
    assert RISKY not in html


def report(agent_session, **data):
    """As its runner does."""
    agent_session.refresh_from_db()
    raw = {"id": str(uuid7()), "kind": "sandbox.started", "occurred_at": timestamp(now()), "data": data}
    [receipt] = events.take(events.reporter_of(agent_session, now()), [raw], now())
    return receipt["answer"]


@pytest.fixture
def running(committed):
    world = factories.world()
    return world, issue(world.approved()).agent_session


def test_session_without_a_sandbox_says_so_in_red(running):
    world, agent_session = running
    assert '<p class="problem" id="no-sandbox">' in render_panel(agent_session.id, world.lead)


def test_sandbox_that_its_runner_reports_is_named(running):
    world, agent_session = running
    assert report(agent_session, sandbox="bubblewrap", version="0.11.0") == "stored"
    html = render_panel(agent_session.id, world.lead)
    assert "Its runner reports the sandbox bubblewrap 0.11.0." in html
    assert "no-sandbox" not in html


def test_sandbox_that_was_reported_first_stays(running):
    _, agent_session = running
    report(agent_session, sandbox="docker", version="28")
    report(agent_session, sandbox="none at all")
    assert AgentSession.objects.get(pk=agent_session.pk).sandbox == "docker 28"


@pytest.mark.parametrize("data", [{}, {"sandbox": None}, {"sandbox": {"a": 1}}])
def test_report_that_names_no_sandbox_is_none(running, data):
    world, agent_session = running
    report(agent_session, **data)
    assert "no-sandbox" in render_panel(agent_session.id, world.lead)


def test_session_that_is_over_is_not_reproached(running):
    world, agent_session = running
    lifecycle.kill(agent_session.id, world.lead)
    assert "no-sandbox" not in render_panel(agent_session.id, world.lead)
    assert uuid.UUID(str(agent_session.pk))
