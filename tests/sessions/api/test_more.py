"""The API by which a runner asks for more, and reports what the probes said."""

import threading

import httpx
import pytest

from sessions import lifecycle
from sessions.models import Addition
from tests import factories
from tests.serving import Agent

DETAILS = [{"type": "egress", "locations": ["https://api.example.org/v1/"], "actions": ["GET"]}]


@pytest.fixture
def session(agent: Agent) -> tuple[str, dict[str, str]]:
    """A running session's id, and its token as a header."""
    agent.begin()
    return agent.session_id, {"Authorization": f"Bearer {agent.token}"}


def test_it_asks_waits_and_hears_the_decision(http: httpx.Client, world: factories.World, session) -> None:
    session_id, token = session
    body = {"authorization_details": DETAILS, "reason": "The schema is there", "duration": 600}
    asked = http.post(f"/sessions/{session_id}/additions", json=body, headers=token)
    assert asked.status_code == 201, asked.text
    assert asked.json()["verification_uri"].endswith(f"/sessions/{session_id}/more")
    addition = Addition.objects.get(agent_session=session_id)
    threading.Timer(0.5, lifecycle.approve_addition, (addition.id, world.lead, addition.sha256)).start()
    answer = http.get(f"/sessions/{session_id}/additions/1?wait=20", headers=token).json()
    assert answer["state"] == "approved"
    assert answer["ends_at"] is not None


@pytest.mark.parametrize("body", [{}, {"authorization_details": [], "reason": "x"}, {"authorization_details": DETAILS}])
def test_bad_requests_are_problems(http: httpx.Client, session, body) -> None:
    session_id, token = session
    assert http.post(f"/sessions/{session_id}/additions", json=body, headers=token).status_code == 422


def test_another_sessions_token_reaches_nothing(http: httpx.Client, agent: Agent, session) -> None:
    _, token = session
    other = agent.ask().json()["session_id"]
    body = {"authorization_details": DETAILS, "reason": "x"}
    assert http.post(f"/sessions/{other}/additions", json=body, headers=token).status_code == 404
    assert http.get(f"/sessions/{other}/additions/1", headers=token).status_code == 404


def test_a_verification_is_kept(http: httpx.Client, world: factories.World) -> None:
    headers = {"Authorization": f"Bearer {world.key}"}
    answer = http.post("/agent/verifications", json=factories.verified("held", "skipped"), headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["held"] == 1
    assert world.agent.verifications.get().total == 2


def test_bytes_that_a_probe_saw_are_kept_readable(http: httpx.Client, world: factories.World) -> None:
    said = factories.verified("held")
    said["report"][0]["saw"] = "\x15\x03\x00"
    answer = http.post("/agent/verifications", json=said, headers={"Authorization": f"Bearer {world.key}"})
    assert answer.status_code == 201, answer.text
    assert world.agent.verifications.get().report[0]["saw"] == "\ufffd" * 3


@pytest.mark.parametrize("changed", [{"report": []}, {"sandbox": ""}, {"extra": 1}, {"probes": 0}])
def test_a_report_of_another_shape_is_refused(http: httpx.Client, world: factories.World, changed) -> None:
    headers = {"Authorization": f"Bearer {world.key}"}
    answer = http.post("/agent/verifications", json=factories.verified(**changed), headers=headers)
    assert answer.status_code == 422
    assert not world.agent.verifications.exists()
