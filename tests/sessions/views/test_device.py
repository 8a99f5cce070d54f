"""The code that the runner printed leads to the session (RFC 8628)."""

import pytest
from django.urls import reverse

from sessions import lifecycle


def test_page_asks_for_the_code(world, browse):
    assert "Enter a code" in browse(world.lead).get("/device").content.decode()


@pytest.mark.parametrize("spell", [str, str.lower, lambda code: code.replace("-", ""), lambda code: f" {code} "])
def test_code_leads_to_the_session(world, browse, spell):
    agent_session = world.request().agent_session
    answer = browse(world.lead).get("/device", {"user_code": spell(agent_session.user_code)})
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("session", args=[agent_session.id]))


def test_code_of_a_decided_request_still_leads_there(world, browse):
    agent_session = world.request().agent_session
    lifecycle.deny(agent_session.id, world.lead, agent_session.grant_hash)
    answer = browse(world.lead).get("/device", {"user_code": agent_session.user_code})
    assert answer.headers["Location"] == reverse("session", args=[agent_session.id])


def test_code_of_another_team_is_not_known(world, browse):
    agent_session = world.request().agent_session
    answer = browse(world.stranger).get("/device", {"user_code": agent_session.user_code})
    assert answer.status_code == 404
    assert "No request that you may see has this code." in answer.content.decode()
    assert agent_session.user_code in answer.content.decode()


@pytest.mark.parametrize("code", ["", "ABC", "BCDF-GHJK-LMNP"])
def test_what_is_no_code_is_said_so(world, browse, code):
    assert browse(world.lead).get("/device", {"user_code": code}).status_code == 422


def test_code_survives_signing_in(client, db):
    answer = client.get("/device?user_code=BCDF-GHJK")
    assert answer.headers["Location"] == "/accounts/login/?next=/device%3Fuser_code%3DBCDF-GHJK"
