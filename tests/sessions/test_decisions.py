"""Who may decide what, on exactly which bytes."""

import hashlib

import pytest
from django.db import IntegrityError, transaction

from audit import canonical
from audit.event import now
from sessions import lifecycle
from sessions.errors import Forbidden, GrantChanged, Invalid, StateConflict
from sessions.models import Approval, Credential
from tests.factories import READ_ORDERS, WRITE_SHIPMENTS, World, events_of


def test_request_builds_the_grant_that_is_asked_for(world: World) -> None:
    agent_session = world.request("Find late shipments", duration_s=600).agent_session
    grant = agent_session.grant
    assert hashlib.sha256(bytes(grant.body)).hexdigest() == agent_session.grant_hash
    assert canonical.dumps(grant.content) == bytes(grant.body)
    assert grant.content["authorization_details"] == [READ_ORDERS, WRITE_SHIPMENTS]
    assert grant.content["limits"] == {"duration": 600, "credential_ttl": 600}
    assert grant.content["session"] == str(agent_session.id)


def test_request_for_more_than_the_profile_offers_is_refused(world: World) -> None:
    wider = {**READ_ORDERS, "locations": ["postgresql://warehouse/public.payments"]}
    with pytest.raises(Invalid, match=r"does not offer read on postgresql://warehouse/public\.payments"):
        world.request(details=[wider])


def test_request_longer_than_the_profile_offers_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="between 60 and 3600 seconds"):
        world.request(duration_s=3601)


def test_request_without_purpose_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="Say what the session is for"):
        world.request("  ")


def test_approval_mints_from_the_approved_bytes(world: World) -> None:
    agent_session = world.approved()
    credential = agent_session.credentials.get()
    assert (credential.grant_hash, credential.state) == (agent_session.grant_hash, "intent")
    assert credential.content == [READ_ORDERS, WRITE_SHIPMENTS]
    hashes = {event["data"]["grant_hash"] for event in events_of(agent_session.id)}
    assert hashes == {agent_session.grant_hash}


def test_approval_of_another_hash_is_refused(world: World) -> None:
    agent_session = world.request().agent_session
    with pytest.raises(GrantChanged):
        lifecycle.approve(agent_session.id, world.lead, "0" * 64)
    agent_session.refresh_from_db()
    assert (agent_session.state, agent_session.credentials.count()) == ("requested", 0)


def test_approve_with_less_is_a_new_grant(world: World) -> None:
    asked = world.request().agent_session
    less = lifecycle.Narrower(details=[READ_ORDERS], duration_s=300)
    approved = lifecycle.approve(asked.id, world.lead, asked.grant_hash, less)
    assert approved.grant_hash != asked.grant_hash
    assert approved.duration_s == 300
    assert approved.credentials.get().content == [READ_ORDERS]
    assert events_of(asked.id)[-1]["data"]["asked_hash"] == asked.grant_hash


def test_approve_with_more_is_refused(world: World) -> None:
    asked = world.request(details=[READ_ORDERS]).agent_session
    more = lifecycle.Narrower(details=[READ_ORDERS, WRITE_SHIPMENTS], duration_s=300)
    with pytest.raises(Invalid, match="does not offer"):
        lifecycle.approve(asked.id, world.lead, asked.grant_hash, more)


def test_nobody_approves_for_their_own_agent(world: World) -> None:
    lifecycle.grant_role(world.team, world.requester, "lead", world.admin)
    agent_session = world.request().agent_session
    with pytest.raises(Forbidden, match="somebody else has to decide"):
        lifecycle.approve(agent_session.id, world.requester, agent_session.grant_hash)


def test_constraint_refuses_an_own_approval_without_the_policy(world: World) -> None:
    agent_session = world.request().agent_session
    with pytest.raises(IntegrityError, match="approval_by_another"), transaction.atomic():
        _approval(agent_session, person=world.requester, on_behalf_of=world.requester)


def test_trigger_refuses_an_approval_that_names_another_owner(world: World) -> None:
    agent_session = world.request().agent_session
    with pytest.raises(IntegrityError, match="another person than its session"), transaction.atomic():
        _approval(agent_session, person=world.requester, on_behalf_of=world.lead)


@pytest.mark.parametrize("role", ["security", "auditor", "requester", "admin", "stranger"])
def test_only_a_lead_approves(world: World, role: str) -> None:
    agent_session = world.request().agent_session
    with pytest.raises(Forbidden):
        lifecycle.approve(agent_session.id, getattr(world, role), agent_session.grant_hash)


def test_second_decision_loses(world: World) -> None:
    agent_session = world.request().agent_session
    lifecycle.approve(agent_session.id, world.lead, agent_session.grant_hash)
    with pytest.raises(StateConflict, match="is approved now"):
        lifecycle.deny(agent_session.id, world.second_lead, agent_session.grant_hash)
    assert Approval.objects.filter(agent_session=agent_session).count() == 1


def test_inactive_lead_decides_nothing(world: World) -> None:
    agent_session = world.request().agent_session
    world.lead.is_active = False
    world.lead.save()
    with pytest.raises(Forbidden):
        lifecycle.approve(agent_session.id, world.lead, agent_session.grant_hash)


def test_role_that_was_ended_decides_nothing(world: World) -> None:
    agent_session = world.request().agent_session
    lifecycle.end_role(world.lead.memberships.get().pk, world.admin)
    with pytest.raises(Forbidden):
        lifecycle.approve(agent_session.id, world.lead, agent_session.grant_hash)


def test_event_names_person_agent_and_who_acted(world: World) -> None:
    agent_session = world.approved()
    asked, approved = events_of(agent_session.id)
    assert (asked["sub"], asked["act"]) == (world.requester.reference, {"sub": world.agent.reference})
    assert (approved["sub"], approved["act"]) == (world.requester.reference, {"sub": world.lead.reference})
    assert approved["agent"] == world.agent.reference


def test_denied_session_has_no_credential(world: World) -> None:
    agent_session = world.request().agent_session
    lifecycle.deny(agent_session.id, world.lead, agent_session.grant_hash, "not today")
    assert not Credential.objects.filter(agent_session=agent_session).exists()
    assert events_of(agent_session.id)[-1]["data"]["reason"] == "not today"


def _approval(agent_session, **people):  # type: ignore[no-untyped-def]
    return Approval.objects.create(
        agent_session=agent_session,
        grant_hash=agent_session.grant_hash,
        decision="approved",
        decided_at=now(),
        **people,
    )
