"""An agent's key and token are worth as much as the person who answers for it."""

import threading

import httpx
import pytest
from django.db import connections

from sessions import lifecycle
from sessions.api import callers, polling
from sessions.api.callers import SessionCaller
from sessions.api.problems import Code, Refusal
from sessions.models import Membership, Person
from tests.factories import World, issue
from tests.factories import world as make_world
from tests.serving import Agent


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def begun(world: World) -> tuple[str, SessionCaller]:
    agent_session = issue(world.approved()).agent_session
    return lifecycle.issue_session_token(agent_session.id), SessionCaller(agent_session.id)


def leave(world: World) -> None:
    """The requester keeps the account, and has no role in the team any more."""
    lifecycle.end_role(Membership.objects.get(person=world.requester, ended_at=None).pk, world.admin)


def leave_elsewhere(world: World) -> None:
    """In a thread of its own, which keeps no connection."""
    try:
        leave(world)
    finally:
        connections.close_all()


def test_key_of_an_owner_without_a_role_in_the_team_is_refused(world: World) -> None:
    assert callers.agent_of_key(world.key) is not None
    leave(world)
    assert callers.agent_of_key(world.key) is None


def test_token_of_a_person_who_left_is_refused(world: World) -> None:
    token, _ = begun(world)
    assert callers.session_of_token(token) is not None
    Person.objects.filter(pk=world.requester.pk).update(is_active=False)
    assert callers.session_of_token(token) is None


def test_token_of_a_person_without_a_role_in_the_team_is_refused(world: World) -> None:
    token, _ = begun(world)
    leave(world)
    assert callers.session_of_token(token) is None


def test_held_request_ends_when_its_person_leaves(world: World) -> None:
    """A held request looks by `reached`, with the caller that it began with."""
    _, caller = begun(world)
    assert callers.reached(caller, caller.agent_session_id).state == "active"
    leave(world)
    with pytest.raises(Refusal) as refused:
        callers.reached(caller, caller.agent_session_id)
    assert refused.value.code is Code.UNAUTHENTICATED


def test_poll_for_a_person_who_left_is_denied(world: World) -> None:
    agent_session = world.request().agent_session
    assert not polling.is_final(polling.standing_of(agent_session.id))
    leave(world)
    refused = polling.answer(polling.standing_of(agent_session.id))
    assert refused is not None
    assert refused.error is polling.Error.ACCESS_DENIED


@pytest.mark.usefixtures("committed")
def test_long_poll_is_answered_once_its_person_has_left(server: str) -> None:
    world = make_world()
    with httpx.Client(base_url=f"{server}/api/v1", timeout=20, trust_env=False) as http:
        agent = Agent(http, world.key).begin()
        leaving = threading.Timer(0.5, leave_elsewhere, [world])
        leaving.start()
        answer = agent.get(wait="15")
        leaving.join()
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
