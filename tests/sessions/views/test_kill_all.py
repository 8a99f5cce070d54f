"""The switch for the whole fleet: one click, and the page shows how far the proofs are."""

import pytest
from django.urls import reverse

from sessions import lifecycle
from sessions.models import AgentSession, Revocation
from tests import factories
from tests.factories import issue

PATH = "/fleet/kill"


@pytest.fixture
def started(monkeypatch):
    """The revocations that the page began; nothing is revoked here."""
    ids = []
    monkeypatch.setattr("sessions.revoking.start", lambda revocation_ids: ids.extend(revocation_ids) or [])
    return ids


@pytest.fixture
def live(world, started):
    return [issue(world.approved(purpose=purpose)).agent_session for purpose in ("Find late", "Find early", "Count")]


def states(world):
    return sorted(AgentSession.objects.filter(team=world.team).values_list("end_reason", flat=True))


@pytest.mark.parametrize("role", ["lead", "security", "admin", "requester"])
def test_one_click_kills_all_and_begins_to_revoke(world, browse, live, started, role):
    answer = browse(getattr(world, role)).post(PATH)
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("fleet"))
    assert states(world) == ["killed"] * 3
    assert sorted(started) == sorted(Revocation.objects.values_list("pk", flat=True).filter(reason="killed"))


def test_filters_of_the_page_narrow_it_down(world, browse, live):
    answer = browse(world.lead).post(f"{PATH}?q=find")
    assert answer.headers["Location"] == f"{reverse('fleet')}?q=find"
    assert states(world) == ["", "killed", "killed"]


def test_sessions_of_other_teams_are_left_alone(world, browse, live):
    other = factories.world()
    issue(other.approved())
    browse(world.lead).post(PATH)
    assert states(other) == [""]


@pytest.mark.parametrize(("role", "status"), [("auditor", 403), ("stranger", 404)])
def test_who_may_not_kill_kills_nothing(world, browse, live, role, status):
    assert browse(getattr(world, role)).post(PATH).status_code == status
    assert states(world) == ["", "", ""]


def test_nothing_to_kill_is_no_error(world, browse, started):
    assert browse(world.lead).post(PATH).status_code == 302


def test_getting_it_kills_nothing(world, browse, live):
    assert browse(world.lead).get(PATH).status_code == 405


def test_it_needs_the_token_of_a_page(world, browse, live):
    client = browse(world.lead)
    client.handler.enforce_csrf_checks = True
    assert client.post(PATH).status_code == 403
    assert states(world) == ["", "", ""]


def test_button_says_how_many(world, browse, live):
    html = browse(world.lead).get("/fleet/").content.decode()
    assert "Kill all 3 live sessions</button>" in html
    assert (
        "Kill all 2 live sessions that you chose</button>" in browse(world.lead).get("/fleet/?q=find").content.decode()
    )
    assert 'id="kill-all"' not in browse(world.auditor).get("/fleet/").content.decode()


def test_page_shows_how_far_the_proofs_are(world, browse, live):
    lifecycle.kill_all([one.pk for one in live], world.lead)
    revocation = Revocation.objects.filter(credential__agent_session=live[0]).get()
    lifecycle.record_revoked(revocation.pk, {})
    lifecycle.record_proven(revocation.pk, {})
    html = browse(world.lead).get("/fleet/").content.decode()
    assert "3 just killed: 1 of 3 credentials dead, 2 not yet." in html
    assert '<progress max="3" value="1">' in html
