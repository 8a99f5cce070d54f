"""What was denied to a profile's sessions, and the rule that is made of it."""

from datetime import date, timedelta

import pytest

from audit import log
from audit.event import now
from sessions import denied
from sessions.lifecycle.changes import event_of
from tests.factories import World, issue
from tests.sessions.views.conftest import Browse


def refused(world: World, *places: dict[str, object]) -> None:
    agent_session = issue(world.approved()).agent_session
    for place in places:
        data = {"port": 443, "code": "no_rule", **place}
        log.append(event_of(agent_session, "egress.denied", "gateway:edge", data, outcome="denied"))


PULLS = {"host": "api.github.com", "method": "GET", "path": "/repos/acme/api/pulls/7"}


def test_places_are_gathered_by_method_and_the_beginning_of_their_path(world: World) -> None:
    refused(world, PULLS, {**PULLS, "path": "/repos/acme/api/issues"}, {**PULLS, "method": "POST"})
    found = {(one.method, one.path): one.count for one in denied.places(world.profile)}
    assert found == {("GET", "/repos/acme/"): 2, ("POST", "/repos/acme/"): 1}


def test_sessions_are_counted_once(world: World) -> None:
    for _ in range(2):
        refused(world, PULLS, PULLS)
    [place] = denied.places(world.profile)
    assert (place.count, len(place.sessions), place.location) == (4, 2, "https://api.github.com/repos/acme/")


@pytest.mark.parametrize("code", ["names_disagree", "hidden_name", "secret_leak", "bad_request", "address_not_allowed"])
def test_attacks_and_faults_are_no_wishes(world: World, code: str) -> None:
    refused(world, {**PULLS, "code": code})
    assert denied.places(world.profile) == []


@pytest.mark.parametrize(
    ("host", "known"),
    [("o1.ingest.sentry.io", True), ("sentry.io", True), ("notsentry.io", False), ("statsig.anthropic.com", True),
     ("api.anthropic.com", False)],
)  # fmt: skip
def test_noise_is_known_by_its_domain_and_kept_apart(world: World, browse: Browse, host: str, known: bool) -> None:
    refused(world, {"host": host, "mode": "dns", "port": 53})
    page = browse(world.lead).get(f"/profiles/{world.profile.id}/denied").content.decode()
    assert ("Known noise" in page) is known
    assert host in page


def test_a_rule_is_proposed_narrow_and_with_its_last_day(world: World, browse: Browse) -> None:
    refused(world, PULLS)
    last = (now() + timedelta(days=14)).date().isoformat()
    sent = {"location": "https://api.github.com/repos/acme/", "methods": "GET", "until": last}
    answer = browse(world.lead).post(f"/profiles/{world.profile.id}/denied/rule", sent)
    assert answer.status_code == 302
    version = world.profile.versions.first()
    assert (version.number, version.published_at) == (2, None)
    assert version.content["authorization_details"][-1] == {
        "type": "egress",
        "locations": ["https://api.github.com/repos/acme/"],
        "actions": ["GET"],
        "until": last,
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"until": "2020-01-01"}, "at most 90 days"),
        ({"until": (date.today() + timedelta(days=200)).isoformat()}, "at most 90 days"),
        ({"methods": "*", "location": "https://api.github.com/"}, "Not a whole host with all methods"),
        ({"methods": "CONNECT"}, "never passed on"),
        ({"location": "ftp://x"}, "cannot be a location"),
    ],
)
def test_trusting_a_whole_domain_is_not_offered(
    world: World, browse: Browse, changed: dict[str, str], said: str
) -> None:
    last = (now() + timedelta(days=14)).date().isoformat()
    sent = {"location": "https://api.github.com/repos/acme/", "methods": "GET", "until": last, **changed}
    refused(world, PULLS)
    answer = browse(world.lead).post(f"/profiles/{world.profile.id}/denied/rule", sent)
    assert answer.status_code == 422
    assert world.profile.versions.count() == 1
    if sent["location"] == "https://api.github.com/repos/acme/":
        assert said in answer.content.decode()


def test_who_may_not_propose_has_no_form(world: World, browse: Browse) -> None:
    refused(world, PULLS)
    assert "Turn into a rule" not in browse(world.auditor).get(f"/profiles/{world.profile.id}/denied").content.decode()
    assert browse(world.stranger).get(f"/profiles/{world.profile.id}/denied").status_code == 404
