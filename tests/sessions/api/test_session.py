"""Status, credentials, replacement and end, with the session's token."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from sessions import lifecycle
from sessions.models import Credential
from tests import factories
from tests.serving import Agent, kill, mint


def test_a_credential_is_handed_over_once_and_opens_the_database(agent: Agent) -> None:
    [credential] = agent.begin().post("/credentials").json()

    login = {name: credential[name] for name in ("host", "port", "dbname", "password")}
    with psycopg.connect(**login, user=credential["username"]) as connection:
        [count] = connection.execute("SELECT count(*) FROM orders").fetchone()
    assert count > 0
    assert (credential["type"], credential["generation"]) == ("postgresql", 1)
    assert agent.post("/credentials").json() == []
    assert factories.kinds_of(uuid.UUID(agent.session_id)).count("credential.delivered") == 1


def test_credentials_that_two_ask_for_at_once_go_to_one(agent: Agent) -> None:
    agent.begin()
    with ThreadPoolExecutor(5) as pool:
        taken = [answer.json() for answer in pool.map(lambda _: agent.post("/credentials"), range(5))]

    assert sorted(map(len, taken)) == [0, 0, 0, 0, 1]


def test_status_names_credentials_but_never_their_secrets(agent: Agent) -> None:
    [credential] = agent.begin().post("/credentials").json()
    answer = agent.get()

    assert answer.json()["state"] == "active"
    assert [one["delivered"] for one in answer.json()["credentials"]] == [True]
    assert credential["password"] not in answer.text
    assert agent.token not in answer.text


def test_status_is_held_until_the_state_is_another(agent: Agent) -> None:
    agent.begin()
    found: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: found.append(agent.get(wait="30", state="active").json()))
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    kill(uuid.UUID(agent.session_id))
    thread.join()

    assert time.monotonic() - began < 1
    assert (found[0]["state"], found[0]["end_reason"], found[0]["killed"]) == ("ended", "killed", True)


def test_status_answers_at_once_where_the_state_is_another_already(agent: Agent) -> None:
    agent.begin()
    began = time.monotonic()

    assert agent.get(wait="30", state="requested").json()["state"] == "active"
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("query", [{"wait": "61"}, {"wait": "-1"}, {"wait": "x"}, {"state": "flying"}])
def test_a_wait_that_makes_no_sense_is_refused(agent: Agent, query: dict[str, str]) -> None:
    agent.ask()

    assert agent.get(**query).json()["code"] == "invalid"


def test_a_lost_credential_is_replaced(agent: Agent) -> None:
    [lost] = agent.begin().post("/credentials").json()
    answer = agent.post(f"/credentials/{lost['id']}/replace")
    mint(uuid.UUID(agent.session_id))
    [fresh] = agent.post("/credentials", Prefer="wait=10").json()

    assert (answer.status_code, answer.json()["generation"]) == (202, 2)
    assert (fresh["generation"], fresh["id"] == answer.json()["id"]) == (2, True)
    rotating = [e for e in factories.events_of(uuid.UUID(agent.session_id)) if e["kind"] == "credential.rotating"]
    assert [event["act"]["sub"].partition(":")[0] for event in rotating] == ["agent"]


def test_a_credential_that_was_not_handed_over_is_not_replaced(agent: Agent) -> None:
    agent.begin()
    credential = Credential.objects.get(agent_session=agent.session_id)

    assert agent.post(f"/credentials/{credential.id}/replace").json()["code"] == "state_conflict"


def test_a_credential_that_is_being_replaced_is_not_replaced_again(agent: Agent) -> None:
    [lost] = agent.begin().post("/credentials").json()
    codes = [agent.post(f"/credentials/{lost['id']}/replace").status_code for _ in range(2)]

    assert codes == [202, 409]


def test_another_sessions_credential_is_not_found(agent: Agent, http: httpx.Client, world: factories.World) -> None:
    [mine] = agent.begin().post("/credentials").json()
    other = Agent(http, world.key).begin()

    assert other.post(f"/credentials/{mine['id']}/replace").status_code == 404


@pytest.mark.parametrize("path", ["", "/credentials", "/end"])
def test_another_sessions_token_finds_nothing(
    agent: Agent, http: httpx.Client, world: factories.World, path: str
) -> None:
    agent.begin()
    other = Agent(http, world.key).begin()
    other.session_id = agent.session_id
    answer = other.post(path, {}) if path else other.get()

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/credentials"])
def test_the_agents_key_alone_takes_no_credential_and_reports_nothing(agent: Agent, path: str) -> None:
    agent.begin()
    agent.token = ""

    assert agent.post(path, {"events": []}).status_code == 401


def test_the_end_is_reported_and_revokes(agent: Agent) -> None:
    agent.begin()
    ended = agent.post("/end", {"exit_code": 0, "summary": "done"}).json()

    assert (ended["state"], ended["end_reason"]) == ("ended", "completed")
    event = factories.events_of(uuid.UUID(agent.session_id))[-1]
    assert (event["kind"], event["data"]["exit_code"], event["data"]["summary"]) == ("session.completed", 0, "done")
    assert agent.post("/end").json()["code"] == "session_ended"
    assert agent.post("/credentials").json()["code"] == "session_ended"


def test_the_agents_key_may_end_its_session(agent: Agent) -> None:
    agent.begin()
    agent.token = ""

    assert agent.post("/end").json()["end_reason"] == "completed"


def test_a_killed_session_gives_nothing_any_more(agent: Agent) -> None:
    agent.begin()
    kill(uuid.UUID(agent.session_id))

    assert agent.post("/credentials").json()["code"] == "session_killed"
    assert agent.post("/end").json()["code"] == "session_killed"
    assert agent.get().json()["killed"] is True


def test_a_held_credential_request_ends_with_the_session(agent: Agent) -> None:
    agent.begin().post("/credentials")
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(agent.post("/credentials", Prefer="wait=30")))
    thread.start()
    time.sleep(0.3)
    lifecycle.complete(uuid.UUID(agent.session_id), "agent:test")
    thread.join(5)

    assert answers[0].json()["code"] == "session_ended"
