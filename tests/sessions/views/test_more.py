"""The page on which a running session gets more, and the list of those that ask."""

import pytest

from audit import log
from sessions import lifecycle
from sessions.lifecycle.changes import event_of
from sessions.models import AgentSession
from tests.factories import World, issue, wish
from tests.sessions.views.conftest import Browse


@pytest.fixture
def running(world: World) -> AgentSession:
    return issue(world.approved()).agent_session


def test_a_lead_reads_it_and_approves(world: World, running: AgentSession, browse: Browse) -> None:
    addition = lifecycle.request_addition(running.id, wish())
    client = browse(world.lead)
    page = client.get(f"/sessions/{running.id}/more").content.decode()
    assert "May GET on https://api.example.org/v1/ and below it." in page
    assert "The tests need the schema from there" in page
    answer = client.post(f"/sessions/{running.id}/more/1/approve", {"grant_hash": addition.sha256})
    assert answer.status_code == 302
    addition.refresh_from_db()
    assert addition.state == "approved"
    assert "Asked for in its middle" in client.get(f"/sessions/{running.id}/").content.decode()


def test_a_denial_says_why(world: World, running: AgentSession, browse: Browse) -> None:
    addition = lifecycle.request_addition(running.id, wish())
    sent = {"grant_hash": addition.sha256, "reason": "Not today"}
    assert browse(world.lead).post(f"/sessions/{running.id}/more/1/deny", sent).status_code == 302
    assert "Not today" in browse(world.auditor).get(f"/sessions/{running.id}/more").content.decode()


def test_who_may_not_decide_sees_no_button_and_cannot_post(world: World, running: AgentSession, browse: Browse) -> None:
    addition = lifecycle.request_addition(running.id, wish())
    client = browse(world.requester)
    assert "Approve for" not in client.get(f"/sessions/{running.id}/more").content.decode()
    answer = client.post(f"/sessions/{running.id}/more/1/approve", {"grant_hash": addition.sha256})
    assert answer.status_code == 403


def test_a_stranger_sees_nothing(world: World, running: AgentSession, browse: Browse) -> None:
    lifecycle.request_addition(running.id, wish())
    client = browse(world.stranger)
    for path in ("more", "more/1/approve"):
        sent = client.get if path == "more" else client.post
        assert sent(f"/sessions/{running.id}/{path}").status_code == 404


def test_what_was_refused_lately_is_there_each_place_once(world: World, running: AgentSession, browse: Browse) -> None:
    data = {"host": "evil.example", "port": 443, "code": "no_rule", "evasion": True}
    for _ in range(3):
        log.append(event_of(running, "egress.denied", "gateway:edge", data, outcome="denied"))
    page = browse(world.lead).get(f"/sessions/{running.id}/more").content.decode()
    assert page.count("evil.example:443") == 1
    assert "Evasion" in page


def test_the_inbox_says_who_asks(world: World, running: AgentSession, browse: Browse) -> None:
    lifecycle.request_addition(running.id, wish())
    assert f"/sessions/{running.id}/more" in browse(world.lead).get("/").content.decode()
    assert f"/sessions/{running.id}/more" not in browse(world.auditor).get("/").content.decode()
