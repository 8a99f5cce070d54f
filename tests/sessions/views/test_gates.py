"""Every route of the pages against those who may not use it, and against the wrong method."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import Event
from sessions import lifecycle
from tests.factories import CONTENT, World


@dataclass(frozen=True)
class Route:
    """How to reach one route of a world, and who of the team may only look."""

    name: str
    args: Callable[[World], list[object]]
    readers: tuple[str, ...] = ("auditor",)


def session_of(world: World) -> list[object]:
    return [world.request().agent_session.pk]


def live_session_of(world: World) -> list[object]:
    return [world.approved().pk]


def key_of(world: World) -> list[object]:
    return [world.agent.pk, world.agent.keys.get().pk]


def proposed(world: World) -> list[object]:
    return [world.profile.pk, lifecycle.propose_profile_version(world.profile, CONTENT, world.admin).pk]


def role_of(world: World) -> list[object]:
    return [world.team.slug, world.security.memberships.get().pk]


def team_of(world: World) -> list[object]:
    return [world.team.slug]


LOOKS = [
    Route("session", session_of),
    Route("agent", lambda world: [world.agent.pk]),
    Route("profile", lambda world: [world.profile.pk]),
    Route("profile-propose", lambda world: [world.profile.pk]),
    Route("people", team_of),
]
ACTS = [
    Route("session-approve", session_of, ("auditor", "admin", "security", "requester")),
    Route("session-approve-less", session_of, ("auditor", "admin", "security", "requester")),
    Route("session-deny", session_of, ("auditor", "admin", "requester")),
    Route("session-withdraw", session_of, ("auditor", "lead", "security", "admin")),
    Route("session-kill", live_session_of),
    Route("agent-key-issue", lambda world: [world.agent.pk], ("auditor", "lead", "security")),
    Route("agent-key-revoke", key_of),
    Route("profile-propose", lambda world: [world.profile.pk], ("auditor", "requester")),
    Route("profile-publish", proposed, ("auditor", "requester", "admin")),
    Route("people-add", team_of, ("auditor", "lead", "security", "requester")),
    Route("people-grant", team_of, ("auditor", "lead", "security", "requester")),
    Route("people-end", role_of, ("auditor", "lead", "security", "requester")),
]
PAGES = ("inbox", "device", "session-list", "agent-list", "profile-list")
names = {"ids": lambda route: route.name}


def sound_input(world: World) -> dict[str, object]:
    """What any of the acts needs to be told, so that only the right is missing."""
    newest = world.team.agent_sessions.order_by("-id").first()
    return {
        "grant_hash": newest.grant_hash if newest else "",
        "keep": ["0:0:read"],
        "duration_s": 900,
        "content": '{"authorization_details": [], "limits": {}}',
        "email": "new@example.test",
        "name": "New Person",
        "role": "lead",
        "person": world.security.pk,
    }


@pytest.mark.parametrize("route", LOOKS, **names)
def test_page_is_shown_to_whoever_has_a_role_in_the_team(world, browse, route):
    path = reverse(route.name, args=route.args(world))
    assert browse(world.auditor).get(path).status_code == 200


@pytest.mark.parametrize("route", LOOKS, **names)
def test_page_does_not_exist_for_a_stranger(world, browse, route):
    path = reverse(route.name, args=route.args(world))
    assert browse(world.stranger).get(path).status_code == 404


@pytest.mark.parametrize("name", PAGES)
def test_page_refuses_to_be_posted_to(world, browse, name):
    assert browse(world.lead).post(reverse(name)).status_code == 405


@pytest.mark.parametrize("name", PAGES)
def test_page_of_somebody_without_a_team_is_empty(world, browse, name):
    world.approved()
    answer = browse(world.stranger).get(reverse(name))
    assert answer.status_code == 200
    assert "shipping-bot" not in answer.content.decode()


@pytest.mark.parametrize("route", [route for route in ACTS if route.name != "profile-propose"], **names)
def test_act_refuses_to_be_got(world, browse, route):
    path = reverse(route.name, args=route.args(world))
    assert browse(world.lead).get(path).status_code == 405


def acts() -> int:
    """All events but those of reading: who is refused sees the page, and that they read it is logged."""
    return Event.objects.exclude(kind="log.read").count()


@pytest.mark.parametrize("route", ACTS, **names)
def test_act_of_nobody_changes_nothing(world, route):
    path = reverse(route.name, args=route.args(world))
    before = acts()
    answer = Client().post(path, sound_input(world))
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, reverse("account_login"))
    assert acts() == before


@pytest.mark.parametrize("route", ACTS, **names)
def test_act_does_not_exist_for_a_stranger(world, browse, route):
    path = reverse(route.name, args=route.args(world))
    before = acts()
    assert browse(world.stranger).post(path, sound_input(world)).status_code == 404
    assert acts() == before


@pytest.mark.parametrize(
    ("route", "role"),
    [pytest.param(route, role, id=f"{route.name}-{role}") for route in ACTS for role in route.readers],
)
def test_act_is_refused_to_whoever_may_only_look(world, browse, route, role):
    path = reverse(route.name, args=route.args(world))
    before = acts()
    assert browse(getattr(world, role)).post(path, sound_input(world)).status_code == 403
    assert acts() == before


@pytest.mark.parametrize("route", ACTS, **names)
def test_act_needs_the_token_of_a_page(world, browse, route):
    path = reverse(route.name, args=route.args(world))
    client = browse(world.lead)
    client.handler.enforce_csrf_checks = True
    before = acts()
    answer = client.post(path, sound_input(world))
    assert (answer.status_code, "Open the page again" in answer.content.decode()) == (403, True)
    assert acts() == before
