"""Approving, approving less, denying, withdrawing."""

import pytest
from django.urls import reverse

from sessions import lifecycle
from sessions.models import Approval, Credential
from tests.factories import READ_ORDERS, WRITE_SHIPMENTS, kinds_of


def path(act, agent_session):
    return reverse(f"session-{act}", args=[agent_session.id])


def test_approve_grants_exactly_what_was_read(world, browse):
    agent_session = world.request().agent_session
    answer = browse(world.lead).post(path("approve", agent_session), {"grant_hash": agent_session.grant_hash})
    agent_session.refresh_from_db()
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("session", args=[agent_session.id]))
    assert agent_session.state == "approved"
    assert Credential.objects.get(agent_session=agent_session).grant_hash == agent_session.grant_hash
    assert kinds_of(agent_session.id) == ["session.requested", "session.approved"]


def test_approve_of_another_grant_decides_nothing(world, browse):
    agent_session = world.request().agent_session
    answer = browse(world.lead).post(path("approve", agent_session), {"grant_hash": "0" * 64})
    agent_session.refresh_from_db()
    assert (answer.status_code, agent_session.state) == (409, "requested")
    assert "The request changed after you opened it." in answer.content.decode()
    assert "Reload the page" in answer.content.decode()


@pytest.mark.parametrize("grant_hash", ["", "zz", "0" * 63])
def test_approve_without_a_hash_decides_nothing(world, browse, grant_hash):
    agent_session = world.request().agent_session
    answer = browse(world.lead).post(path("approve", agent_session), {"grant_hash": grant_hash})
    agent_session.refresh_from_db()
    assert (answer.status_code, agent_session.state) == (422, "requested")


@pytest.mark.parametrize("act", ["approve", "deny"])
def test_second_decision_is_told_that_somebody_was_first(world, browse, act):
    agent_session = world.request().agent_session
    lifecycle.approve(agent_session.id, world.second_lead, agent_session.grant_hash)
    asked = {"grant_hash": agent_session.grant_hash, "reason": "Too broad"}
    answer = browse(world.lead).post(path(act, agent_session), asked)
    assert answer.status_code == 409
    assert "The request is approved now" in answer.content.decode()
    assert Approval.objects.get(agent_session=agent_session).person == world.second_lead


def test_approve_less_makes_a_narrower_grant(world, browse):
    agent_session = world.request().agent_session
    asked = {
        "grant_hash": agent_session.grant_hash,
        "keep": ["0:1:read", "1:0:read"],
        "duration_s": "900",
    }
    answer = browse(world.lead).post(path("approve-less", agent_session), asked)
    agent_session.refresh_from_db()
    content = agent_session.grant.content
    assert (answer.status_code, agent_session.state) == (302, "approved")
    assert content["limits"]["duration"] == 900
    assert content["authorization_details"] == [
        {**READ_ORDERS, "locations": ["postgresql://warehouse/public.orders"]},
        {**WRITE_SHIPMENTS, "actions": ["read"]},
    ]


def test_approve_less_page_says_that_it_is_less(world, browse):
    agent_session = world.request().agent_session
    asked = {"grant_hash": agent_session.grant_hash, "keep": ["0:1:read"], "duration_s": "900"}
    answer = browse(world.lead).post(path("approve-less", agent_session), asked, follow=True)
    assert "less was approved than was asked for" in answer.content.decode()


@pytest.mark.parametrize(
    ("keep", "duration", "said"),
    [
        ([], "900", "Nothing is left to grant: deny the request instead."),
        (["0:0:delete"], "900", "Select a valid choice. 0:0:delete is not one of the available choices."),
        (["0:0:read"], "7200", "Select a valid choice. 7200 is not one of the available choices."),
        (["0:0:read"], "soon", "Select a valid choice. soon is not one of the available choices."),
    ],
)
def test_approve_less_of_more_or_nothing_decides_nothing(world, browse, keep, duration, said):
    agent_session = world.request().agent_session
    asked = {"grant_hash": agent_session.grant_hash, "keep": keep, "duration_s": duration}
    answer = browse(world.lead).post(path("approve-less", agent_session), asked)
    agent_session.refresh_from_db()
    assert (answer.status_code, agent_session.state) == (422, "requested")
    assert said in answer.content.decode()


def test_approve_less_keeps_what_was_ticked_when_it_fails(world, browse):
    agent_session = world.request().agent_session
    asked = {"grant_hash": "0" * 64, "keep": ["0:1:read"], "duration_s": "900"}
    answer = browse(world.lead).post(path("approve-less", agent_session), asked)
    html = answer.content.decode()
    assert answer.status_code == 409
    assert 'value="0:1:read" checked' in html
    assert 'value="0:0:read" checked' not in html
    assert '<option value="900" selected>' in html


def test_deny_tells_the_reason(world, browse):
    agent_session = world.request().agent_session
    asked = {"grant_hash": agent_session.grant_hash, "reason": "Not on a Friday"}
    answer = browse(world.security).post(path("deny", agent_session), asked, follow=True)
    agent_session.refresh_from_db()
    assert agent_session.state == "denied"
    assert "Not on a Friday" in answer.content.decode()


def test_deny_keeps_what_was_written_when_it_fails(world, browse):
    agent_session = world.request().agent_session
    asked = {"grant_hash": "0" * 64, "reason": "A long explanation"}
    answer = browse(world.lead).post(path("deny", agent_session), asked)
    html = answer.content.decode()
    assert answer.status_code == 409
    assert '<details id="deny" data-keep="deny" open>' in html
    assert ">\nA long explanation</textarea>" in html


def test_deny_that_comes_too_late_shows_what_was_written(world, browse):
    agent_session = world.approved()
    asked = {"grant_hash": agent_session.grant_hash, "reason": "A long explanation"}
    answer = browse(world.second_lead).post(path("deny", agent_session), asked)
    assert answer.status_code == 409
    assert "What you wrote: <bdi>A long explanation</bdi>" in answer.content.decode()


def test_deny_with_too_long_a_reason_keeps_it(world, browse):
    agent_session = world.request().agent_session
    asked = {"grant_hash": agent_session.grant_hash, "reason": "x" * 501}
    answer = browse(world.lead).post(path("deny", agent_session), asked)
    agent_session.refresh_from_db()
    assert (answer.status_code, agent_session.state) == (422, "requested")
    assert "x" * 501 in answer.content.decode()


def test_person_withdraws_their_own_request(world, browse):
    agent_session = world.request().agent_session
    browse(world.requester).post(path("withdraw", agent_session))
    agent_session.refresh_from_db()
    assert agent_session.state == "withdrawn"
    assert kinds_of(agent_session.id)[-1] == "session.withdrawn"


def test_withdraw_comes_too_late(world, browse):
    agent_session = world.approved()
    assert browse(world.requester).post(path("withdraw", agent_session)).status_code == 409
