"""An agent's key and token are worth as much as the person who answers for it."""

import pytest

from sessions import lifecycle
from sessions.api import callers
from sessions.models import Membership, Person
from tests.factories import World, issue
from tests.factories import world as make_world


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def test_key_of_an_owner_without_a_role_in_the_team_is_refused(world: World) -> None:
    assert callers.agent_of_key(world.key) is not None
    lifecycle.end_role(Membership.objects.get(person=world.requester, ended_at=None).pk, world.admin)
    assert callers.agent_of_key(world.key) is None


def test_token_of_a_person_who_left_is_refused(world: World) -> None:
    agent_session = issue(world.approved()).agent_session
    token = lifecycle.issue_session_token(agent_session.id)
    assert callers.session_of_token(token) is not None
    Person.objects.filter(pk=world.requester.pk).update(is_active=False)
    assert callers.session_of_token(token) is None
