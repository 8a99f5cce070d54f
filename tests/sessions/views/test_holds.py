"""Legal holds on their page: who sees them, who places and who releases."""

import uuid

import pytest
from django.test import Client
from django.urls import reverse

from audit.event import LOG_STREAM
from audit.models import Event, Hold
from sessions import lifecycle
from sessions.models import Role
from tests.factories import World, events_of

LIST, PLACE = reverse("hold-list"), reverse("hold-place")


def asked(world: World, **changes: object) -> dict[str, object]:
    return {"what": "team", "value": world.team.slug, "reason": "Case 7 of 2026", **changes}


def on_team(world: World) -> Hold:
    return lifecycle.place_hold("team", world.team.id, world.security, "Case 7 of 2026")


def release_of(hold: Hold) -> str:
    return reverse("hold-release", args=[hold.pk])


@pytest.mark.parametrize("role", ["security", "admin"])
def test_hold_is_placed(world, browse, role):
    assert browse(getattr(world, role)).post(PLACE, asked(world)).status_code == 302
    hold = Hold.objects.get(value=world.team.id)
    event = events_of(LOG_STREAM)[-1]
    assert (event["kind"], event["id"]) == ("hold.placed", str(hold.pk))
    assert event["data"] == {"what": "team", "value": str(world.team.id), "reason": "Case 7 of 2026"}


@pytest.mark.parametrize("named", ["address", "id"])
def test_person_is_named_by_address_or_id(world, browse, named):
    value = world.lead.email.upper() if named == "address" else str(world.lead.pk)
    browse(world.admin).post(PLACE, asked(world, what="person", value=value))
    assert Hold.objects.get().value == world.lead.pk


def test_session_is_named_by_its_id(world, browse):
    run = world.approved()
    browse(world.admin).post(PLACE, asked(world, what="session", value=f" {run.pk} "))
    assert Hold.objects.get().value == run.pk


@pytest.mark.parametrize("role", ["lead", "auditor", "requester"])
def test_hold_is_not_placed_by_others(world, browse, role):
    before = Event.objects.count()
    assert browse(getattr(world, role)).post(PLACE, asked(world)).status_code == 403
    assert (Hold.objects.count(), Event.objects.count()) == (0, before)


@pytest.mark.parametrize(
    ("what", "value"),
    [("team", "no-such-team"), ("person", "nobody@example.test"), ("session", "nonsense"), ("session", uuid.uuid4())],
)
def test_nothing_that_is_not_there_is_held(world, browse, what, value):
    answer = browse(world.security).post(PLACE, asked(world, what=what, value=value))
    assert (answer.status_code, Hold.objects.count()) == (422, 0)
    assert f"There is no such {what} in your teams" in answer.content.decode()


def test_stranger_learns_nothing(world, browse):
    hold = on_team(world)
    lifecycle.create_team("their-own", "Their own", world.stranger)
    client = browse(world.stranger)
    assert client.post(PLACE, asked(world)).status_code == 422
    assert client.post(release_of(hold), {"reason": "x"}).status_code == 404
    assert "Case 7" not in client.get(LIST).content.decode()


@pytest.mark.parametrize("role", ["security", "admin", "auditor"])
def test_page_shows_what_is_held_and_why(world, browse, role):
    on_team(world)
    html = browse(getattr(world, role)).get(LIST).content.decode()
    assert world.team.name in html
    assert "Case 7 of 2026" in html
    assert ("Place the hold" in html, "Why it is released" in html) == ((role != "auditor"),) * 2


@pytest.mark.parametrize("role", ["lead", "requester"])
def test_page_shows_others_no_hold(world, browse, role):
    on_team(world)
    answer = browse(getattr(world, role)).get(LIST)
    assert (answer.status_code, "Case 7" in answer.content.decode()) == (200, False)


def test_hold_on_a_person_is_shown_by_their_name(world, browse):
    lifecycle.place_hold("person", world.lead.pk, world.admin, "Case 8")
    html = browse(world.auditor).get(LIST).content.decode()
    assert f"Person <bdi>{world.lead.name}</bdi>" in html


def test_hold_is_released(world, browse):
    hold = on_team(world)
    assert browse(world.security).post(release_of(hold), {"reason": "Case closed"}).status_code == 302
    hold.refresh_from_db()
    assert (hold.released_by, hold.released_at is not None) == (world.security.reference, True)
    expected = {"hold": str(hold.pk), "what": "team", "value": str(world.team.id), "reason": "Case closed"}
    assert (events_of(LOG_STREAM)[-1]["kind"], events_of(LOG_STREAM)[-1]["data"]) == ("hold.released", expected)


def test_hold_released_twice_is_a_conflict(world, browse):
    hold = on_team(world)
    lifecycle.release_hold(hold.pk, world.admin, "Case closed")
    assert browse(world.security).post(release_of(hold), {"reason": "Again"}).status_code == 409


@pytest.mark.parametrize("role", ["lead", "auditor", "requester"])
def test_hold_is_not_released_by_others(world, browse, role):
    hold = on_team(world)
    assert browse(getattr(world, role)).post(release_of(hold), {"reason": "x"}).status_code == 403
    assert Hold.objects.get().released_at is None


@pytest.mark.parametrize("reason", ["", "   "])
def test_reason_is_needed(world, browse, reason):
    hold = on_team(world)
    assert browse(world.security).post(release_of(hold), {"reason": reason}).status_code == 422
    assert browse(world.security).post(PLACE, asked(world, reason=reason)).status_code == 422
    assert Hold.objects.get().released_at is None


def test_same_thing_is_not_held_twice(world, browse):
    on_team(world)
    answer = browse(world.admin).post(PLACE, asked(world))
    assert "A hold covers this team already" in answer.content.decode()
    assert (answer.status_code, Hold.objects.count()) == (422, 1)


def test_person_who_left_is_held_through_the_team_they_were_in(world, browse):
    lifecycle.end_role(world.lead.memberships.get().pk, world.admin)
    browse(world.security).post(PLACE, asked(world, what="person", value=world.lead.email))
    assert Hold.objects.get().value == world.lead.pk


def test_security_of_another_team_releases_nothing(world, browse):
    hold = on_team(world)
    other = lifecycle.create_team("another-team", "Another", world.stranger)
    lifecycle.grant_role(other, world.lead, Role.SECURITY, world.stranger)
    assert browse(world.lead).post(release_of(hold), {"reason": "x"}).status_code == 403


@pytest.mark.parametrize("method", ["get", "head"])
def test_acts_refuse_to_be_got(world, browse, method):
    client = browse(world.security)
    assert getattr(client, method)(PLACE).status_code == 405
    assert getattr(client, method)(release_of(on_team(world))).status_code == 405
    assert client.post(LIST).status_code == 405


def test_nobody_is_asked_to_sign_in(world):
    for path in (LIST, PLACE, release_of(on_team(world))):
        assert Client().post(path, asked(world)).headers["Location"].split("?")[0] == reverse("account_login")


def test_acts_need_the_token_of_a_page(world, browse):
    client = browse(world.security)
    client.handler.enforce_csrf_checks = True
    assert client.post(PLACE, asked(world)).status_code == 403
    assert Hold.objects.count() == 0
