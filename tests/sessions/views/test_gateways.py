"""The page of the gateways, what a session's page says of them, and the notice where none serves."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from audit.event import now
from sessions import lifecycle, tokens
from sessions.lifecycle.gateways import STREAM
from sessions.models import AgentSession, Gateway, GatewayCut
from sessions.views.session import render_panel
from tests import factories
from tests.factories import cut, events_of, issue, kinds_of

NOTICE = "a gateway, and none has a lease: nothing gets out."


@pytest.fixture
def held(world):
    """A live session, and a gateway that passes things on for it."""
    agent_session = issue(world.approved()).agent_session
    gateway, _ = factories.gateway()
    lifecycle.record_hold(gateway, agent_session.id)
    return agent_session, gateway


@pytest.mark.parametrize("role", ["lead", "security", "admin"])
def test_page_shows_each_gateway_with_its_lease_and_sessions(world, browse, held, role):
    html = browse(getattr(world, role)).get(reverse("gateway-list")).content.decode()
    assert held[1].name in html
    assert "Lasts" in html
    assert '<td data-label="Sessions">1</td>' in html
    assert held[1].token_digest not in html


@pytest.mark.parametrize("role", ["auditor", "requester", "stranger"])
def test_page_does_not_exist_for_others(world, browse, held, role):
    client = browse(getattr(world, role))
    assert client.get(reverse("gateway-list")).status_code == 404
    assert client.post(reverse("gateway-retire", args=[held[1].pk])).status_code == 404
    assert reverse("gateway-list") not in client.get("/").content.decode()


@pytest.mark.parametrize(
    ("lease", "words"), [(None, "Never seen"), (timedelta(seconds=-1), "Ran out"), (timedelta(seconds=5), "Lasts")]
)
def test_lease_is_told_in_words(world, browse, lease, words):
    gateway, _ = factories.gateway(None)
    Gateway.objects.filter(pk=gateway.pk).update(lease_until=now() + lease if lease else None, started_at=now())
    row = browse(world.lead).get(reverse("gateway-list")).content.decode().split(f'id="gateway-{gateway.pk}"')[1]
    assert words in row.split("</tr>")[0]


def test_retired_gateway_is_retired_once(world, browse, held):
    client, path = browse(world.security), reverse("gateway-retire", args=[held[1].pk])
    assert client.post(path).status_code == 302
    assert client.post(path).status_code == 409
    gateway = Gateway.objects.get(pk=held[1].pk)
    assert (gateway.retired_by, events_of(STREAM)[-1]["kind"]) == (world.security, "gateway.retired")


def test_lead_may_look_and_not_retire(world, browse, held):
    client = browse(world.lead)
    assert client.post(reverse("gateway-retire", args=[held[1].pk])).status_code == 403
    assert "Retire</button>" not in client.get(reverse("gateway-list")).content.decode()
    assert Gateway.objects.get(pk=held[1].pk).retired_at is None


def test_retiring_by_get_is_no_way(world, browse, held):
    assert browse(world.security).get(reverse("gateway-retire", args=[held[1].pk])).status_code == 405


def test_command_prints_a_token_once(db, capsys):
    call_command("add_gateway", "edge-7")
    token = capsys.readouterr().out.strip()
    assert tokens.well_formed(token, tokens.GATEWAY_TOKEN)
    assert Gateway.objects.get(name="edge-7").token_digest == tokens.digest(token)
    assert token not in str(events_of(STREAM)[-1])
    with pytest.raises(CommandError, match="a gateway named edge-7 already"):
        call_command("add_gateway", "edge-7")


@pytest.mark.parametrize("name", ["", "Edge", "a b", "x" * 51, "a_b"])
def test_name_of_a_gateway_is_plain(db, name):
    with pytest.raises(CommandError, match="small letters, digits and hyphens"):
        call_command("add_gateway", name)


def test_panel_says_who_passes_things_on(world, held):
    assert "passes on what the grant allows, since" in render_panel(held[0].id, world.lead)


def test_panel_says_that_a_cut_is_not_acknowledged_and_then_that_it_is(world, held):
    lifecycle.kill(held[0].id, world.lead)
    assert "has not acknowledged the cut yet" in render_panel(held[0].id, world.lead)
    lifecycle.record_cuts(held[1], [cut(held[0].id)])
    ended_at = AgentSession.objects.get(pk=held[0].id).ended_at
    GatewayCut.objects.update(acknowledged_at=ended_at + timedelta(milliseconds=43))
    html = render_panel(held[0].id, world.lead)
    assert "cut 43 ms after the end: 2 connections closed in 1.5 ms" in html
    assert kinds_of(held[0].id)[-1] == "gateway.cut"


def test_panel_says_that_a_lease_lapsed(world, held):
    lifecycle.kill(held[0].id, world.lead)
    Gateway.objects.filter(pk=held[1].pk).update(lease_until=now() - timedelta(seconds=1))
    assert "passes nothing: its lease lapsed" in render_panel(held[0].id, world.lead)


def test_panel_of_a_suspended_session_counts_from_the_suspension(world, held):
    lifecycle.suspend(held[0].id, world.lead)
    lifecycle.record_cuts(held[1], [cut(held[0].id, connections=0)])
    html = render_panel(held[0].id, world.lead)
    assert "after the end: none was open" in html


def test_panel_without_egress_says_nothing_of_gateways(world):
    assert "gateways-title" not in render_panel(issue(world.approved()).agent_session_id, world.lead)


@pytest.fixture
def starved(db):
    """A session that needs a gateway, and none has a lease."""
    Gateway.objects.update(lease_until=None)
    world = factories.world(factories.egress_only())
    lifecycle.activate(world.approved().id)
    return world


def test_notice_says_that_sessions_are_shut_off(starved, browse):
    assert f"1 live session needs {NOTICE}" in browse(starved.auditor).get("/").content.decode()


def test_notice_is_gone_with_a_lease(starved, browse):
    factories.gateway()
    assert NOTICE not in browse(starved.lead).get("/").content.decode()


def test_notice_is_not_for_strangers_nor_for_sessions_without_egress(starved, world, browse):
    issue(world.approved())
    for person in (starved.stranger, world.lead):
        assert NOTICE not in browse(person).get("/").content.decode()


def test_purpose_that_speaks_of_egress_needs_no_gateway(db, browse):
    world = factories.world()
    Gateway.objects.update(lease_until=None)
    issue(world.approved(purpose='"type":"egress"'))
    assert NOTICE not in browse(world.lead).get("/").content.decode()
