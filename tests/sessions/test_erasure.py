"""A person is erased: nothing that names them is left to read. Proofs and dumps: tests/audit/retention."""

import uuid
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.db import ProgrammingError, connection

from audit.event import LOG_STREAM
from audit.models import Event, SubjectKey
from sessions import lifecycle, policy
from sessions.errors import Forbidden, Invalid, StateConflict
from sessions.models import AgentKey, AgentSession, Person, Role
from sessions.policy import Viewer
from tests.actors import signed_in
from tests.factories import World, events_of, issue, roles_of

PURPOSE = "Purpose-canary-81b0 for the orders"


def ended(world: World, purpose: str = PURPOSE) -> AgentSession:
    requested = world.request(purpose).agent_session
    return lifecycle.withdraw(requested.id, world.requester.reference)


def erase(world: World, person: Person) -> Person:
    return lifecycle.erase_person(person, world.admin, "They asked for it")


def test_erased_person_is_nobody_any_more(world: World) -> None:
    agent = world.agent
    person = erase(world, world.requester)
    assert (person.name, person.email, person.is_active) == ("Erased person", f"{person.pk}@erased.invalid", False)
    assert not person.has_usable_password()
    assert roles_of(person) == set()
    assert not AgentKey.objects.filter(agent=agent, revoked_at=None).exists()
    assert SubjectKey.objects.get(pk=person.reference).destroyed_at is not None


def test_event_of_an_erasure_names_nothing_personal(world: World) -> None:
    erase(world, world.lead)
    event = events_of(LOG_STREAM)[-1]
    expected = {"person": str(world.lead.pk), "teams": [str(world.team.pk)], "reason": "They asked for it"}
    assert (event["kind"], event["data"]) == ("person.erased", expected)
    raw = bytes(Event.objects.get(pk=event["id"]).body)
    assert b"They asked" not in raw
    assert world.lead.email.encode() not in raw


def test_what_was_logged_shows_as_erased_and_keeps_its_bytes(world: World) -> None:
    agent_session = ended(world)
    before = bytes(Event.objects.get(stream=agent_session.id, seq=1).body)
    erase(world, world.requester)
    assert bytes(Event.objects.get(stream=agent_session.id, seq=1).body) == before
    data = events_of(agent_session.id)[0]["data"]
    assert (data["purpose"], data["grant"]["purpose"], data["grant"]["person"]["name"]) == ("erased",) * 3
    assert data["grant"]["authorization_details"] == agent_session.grant.content["authorization_details"]


def test_rows_beside_the_log_forget_too(world: World) -> None:
    requested = world.request(PURPOSE).agent_session
    lifecycle.deny(requested.id, world.lead, requested.grant_hash, "Reason-canary-81b0")
    erase(world, world.requester)
    requested.refresh_from_db()
    content = requested.grant.content
    assert (requested.purpose, content["purpose"], content["person"]["name"]) == ("erased", "erased", "erased")
    assert content["person"]["id"] == str(world.requester.pk)
    assert requested.approvals.get().reason == ""


def test_other_people_keep_what_is_theirs(world: World) -> None:
    agent_session = ended(world)
    erase(world, world.lead)
    assert events_of(agent_session.id)[0]["data"]["purpose"] == PURPOSE
    agent_session.refresh_from_db()
    assert agent_session.purpose == PURPOSE


def test_ways_to_sign_in_are_gone(world: World) -> None:
    address = world.lead.email
    cookie, another = signed_in(world.lead), signed_in(world.admin)
    EmailAddress.objects.create(user=world.lead, email=address)
    AccessAttempt.objects.create(username=address, ip_address="127.0.0.1", failures_since_start=1)
    erase(world, world.lead)
    assert not EmailAddress.objects.filter(email=address).exists()
    assert not AccessAttempt.objects.filter(username=address).exists()
    assert list(Session.objects.filter(pk__in=[cookie, another]).values_list("pk", flat=True)) == [another]


@pytest.mark.parametrize("state", ["requested", "approved", "active"])
def test_person_with_a_live_session_is_not_erased(world: World, state: str) -> None:
    if state == "requested":
        world.request()
    else:
        agent_session = world.approved()
        if state == "active":
            issue(agent_session)
    with pytest.raises(Invalid, match=r"are live, or wait to be decided \(1\): end those first"):
        erase(world, world.requester)
    assert Person.objects.get(pk=world.requester.pk).erased_at is None


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("person", lambda world, run: world.requester.pk),
        ("team", lambda world, run: world.team.pk),
        ("session", lambda world, run: run.pk),
    ],
)
def test_person_under_legal_hold_is_not_erased(world: World, what: str, value: Any) -> None:
    agent_session = ended(world)
    hold = lifecycle.place_hold(what, value(world, agent_session), world.security, "Case 7")
    with pytest.raises(Invalid, match=r"Legal holds cover what is theirs \(1\)"):
        erase(world, world.requester)
    lifecycle.release_hold(hold.pk, world.security, "Case closed")
    assert erase(world, world.requester).erased_at is not None


def test_person_is_erased_once(world: World) -> None:
    erase(world, world.lead)
    lifecycle.grant_role(world.team, world.lead, Role.AUDITOR, world.admin)
    with pytest.raises(StateConflict):
        erase(world, world.lead)


def test_reason_is_needed(world: World) -> None:
    with pytest.raises(Invalid, match="Say why"):
        lifecycle.erase_person(world.lead, world.admin, "  ")


@pytest.mark.parametrize("role", ["lead", "security", "auditor", "requester", "stranger"])
def test_only_an_admin_erases(world: World, role: str) -> None:
    with pytest.raises(Forbidden):
        lifecycle.erase_person(world.second_lead, getattr(world, role), "Because")


def test_admin_of_one_team_does_not_erase_somebody_of_two(world: World) -> None:
    other = lifecycle.create_team("another-team", "Another", world.stranger)
    lifecycle.grant_role(other, world.lead, Role.LEAD, world.stranger)
    with pytest.raises(Forbidden, match="each of this person's teams"):
        erase(world, world.lead)


ONE, TWO, SELF, THEM = (uuid.UUID(int=number) for number in range(1, 5))
ADMIN, LEAD = frozenset({"admin"}), frozenset({"lead", "security", "auditor", "requester"})


@pytest.mark.parametrize(
    ("roles", "person", "teams", "allowed"),
    [
        ({ONE: ADMIN}, THEM, [ONE], True),
        ({ONE: ADMIN, TWO: ADMIN}, THEM, [ONE, TWO], True),
        ({ONE: ADMIN}, THEM, [ONE, TWO], False),
        ({ONE: ADMIN, TWO: LEAD}, THEM, [ONE, TWO], False),
        ({ONE: LEAD}, THEM, [ONE], False),
        ({ONE: ADMIN}, THEM, [], False),
        ({}, THEM, [ONE], False),
        ({ONE: ADMIN}, SELF, [ONE], False),
    ],
)
def test_may_erase(roles: Any, person: uuid.UUID, teams: list[uuid.UUID], allowed: bool) -> None:
    assert bool(policy.may_erase(Viewer(SELF, roles), person, teams)) is allowed


@pytest.mark.parametrize(
    ("role", "may_hold", "may_see"),
    [
        ("admin", True, True),
        ("security", True, True),
        ("auditor", False, True),
        ("lead", False, False),
        ("requester", False, False),
    ],
)
def test_may_hold_and_see_holds(role: str, may_hold: bool, may_see: bool) -> None:
    viewer = Viewer(SELF, {ONE: frozenset({role})})
    assert bool(policy.may_hold(viewer, [TWO, ONE])) is may_hold
    assert not policy.may_hold(viewer, [TWO])
    assert not policy.may_hold(viewer, [])
    assert bool(policy.may_see_holds(viewer, ONE)) is may_see
    assert not policy.may_see_holds(viewer, TWO)


def test_application_role_changes_no_grant_of_somebody_who_is_not_erased(world: World) -> None:
    with pytest.raises(ProgrammingError, match="this person is not erased"), connection.cursor() as cursor:
        cursor.execute("SELECT agent_sessions_erase(%s)", [world.requester.pk])


def test_request_on_its_way_does_not_bring_them_back(world: World) -> None:
    erase(world, world.requester)
    with pytest.raises(ProgrammingError, match="the person was erased"):
        world.request()
