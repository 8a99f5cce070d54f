"""The token endpoint: RFC 8628's contract, the long poll, and that the token is given out once."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sessions import lifecycle
from sessions.models import AgentSession
from tests import factories
from tests.serving import DEVICE_GRANT, Agent, approve, kill


def forget_polls(agent: Agent) -> None:
    AgentSession.objects.filter(pk=agent.session_id).update(polled_at=None)


def test_a_poll_before_the_decision_is_pending(agent: Agent) -> None:
    agent.ask()
    answer = agent.poll()

    assert (answer.status_code, answer.json()["error"]) == (400, "authorization_pending")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_a_poll_that_comes_too_early_is_slowed_down_by_five_seconds(agent: Agent) -> None:
    agent.ask()
    errors = [agent.poll().json()["error"] for _ in range(3)]

    assert errors == ["authorization_pending", "slow_down", "slow_down"]
    assert AgentSession.objects.get(pk=agent.session_id).poll_interval_s == 15


def test_polls_at_the_same_moment_count_as_too_early(agent: Agent) -> None:
    agent.ask()
    with ThreadPoolExecutor(6) as pool:
        errors = [answer.json()["error"] for answer in pool.map(lambda _: agent.poll(), range(6))]

    assert errors.count("authorization_pending") == 1
    assert errors.count("slow_down") == 5


def test_a_denied_request_is_denied(agent: Agent, world: factories.World) -> None:
    agent.ask()
    lifecycle.deny(uuid.UUID(agent.session_id), world.lead, AgentSession.objects.get(pk=agent.session_id).grant_hash)

    assert agent.poll().json()["error"] == "access_denied"


def test_a_lapsed_request_is_expired(agent: Agent) -> None:
    agent.ask()
    lifecycle.lapse(uuid.UUID(agent.session_id))

    assert agent.poll().json()["error"] == "expired_token"


def test_a_session_that_was_killed_before_its_token_was_taken_is_denied(agent: Agent) -> None:
    agent.ask()
    approve(uuid.UUID(agent.session_id))
    kill(uuid.UUID(agent.session_id))

    assert agent.poll().json()["error"] == "access_denied"


def test_an_approved_session_gives_its_token_out_once(agent: Agent) -> None:
    agent.ask()
    approve(uuid.UUID(agent.session_id))
    given = agent.poll()
    forget_polls(agent)
    again = agent.poll()

    row = AgentSession.objects.get(pk=agent.session_id)
    assert given.json()["token_type"] == "Bearer"
    assert given.json()["grant_hash"] == row.grant_hash
    assert given.json()["authorization_details"] == row.grant.content["authorization_details"]
    assert 3590 < given.json()["expires_in"] <= 3600
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert factories.kinds_of(row.id).count("session.token_issued") == 1


def test_a_token_that_two_ask_for_at_once_goes_to_one(agent: Agent) -> None:
    agent.ask()

    def held(_: int) -> httpx.Response:
        forget_polls(agent)
        return agent.poll(wait_s=20)

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(held, range(4))
        time.sleep(0.5)
        approve(uuid.UUID(agent.session_id))
        codes = sorted(answer.status_code for answer in answers)

    assert codes[0] == 200
    assert codes.count(200) == 1


def test_a_long_poll_answers_soon_after_the_session_began(agent: Agent) -> None:
    agent.ask()
    answered: list[float] = []

    def hold() -> None:
        assert agent.poll(wait_s=30).status_code == 200
        answered.append(time.time())

    thread = threading.Thread(target=hold)
    thread.start()
    time.sleep(0.5)
    begun = approve(uuid.UUID(agent.session_id))
    thread.join()

    assert begun.active_at is not None
    assert answered[0] - begun.active_at.timestamp() < 0.5


def test_a_long_poll_that_nobody_decides_on_is_pending_after_its_time(agent: Agent) -> None:
    agent.ask()
    began = time.monotonic()
    answer = agent.poll(wait_s=1)

    assert answer.json()["error"] == "authorization_pending"
    assert 0.9 < time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"device_code": "dbd_" + "0" * 38}, "invalid_grant"),
        ({"device_code": ""}, "invalid_grant"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
    ],
)
def test_what_is_no_device_code_is_refused(agent: Agent, sent: dict[str, str], error: str) -> None:
    agent.ask()

    assert agent.poll(**sent).json()["error"] == error


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"grant_type=" + DEVICE_GRANT.encode(), "application/x-www-form-urlencoded"),
        (b"device_code=a&device_code=b", "application/x-www-form-urlencoded"),
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"[" * 30_000, "application/json"),
        (b'{"device_code": 5}', "application/json"),
        (b'{"grant_type": [], "device_code": "x"}', "application/json"),
    ],
)
def test_garbage_is_an_oauth_error(http: httpx.Client, body: bytes, content_type: str) -> None:
    answer = http.post("/token", content=body, headers={"Content-Type": content_type})

    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_request", "unsupported_grant_type")


def test_json_is_taken_as_well_as_a_form(agent: Agent, http: httpx.Client) -> None:
    agent.ask()
    answer = http.post("/token", json={"grant_type": DEVICE_GRANT, "device_code": agent.device_code})

    assert answer.json()["error"] == "authorization_pending"
