"""What the probes said: on the agent's page, on the request's, and as a condition of a profile."""

from datetime import timedelta

import pytest
import time_machine

from audit.event import now
from sessions import lifecycle
from sessions.errors import Invalid
from tests import factories
from tests.factories import World, verified
from tests.sessions.views.conftest import Browse


def test_never_verified_is_said_in_red(world: World, browse: Browse) -> None:
    client = browse(world.lead)
    assert "never verified" in client.get(f"/agents/{world.agent.id}/").content.decode()
    assert "drawbridge verify --report" in client.get(f"/agents/{world.agent.id}/verification").content.decode()
    requested = world.request().agent_session
    assert "never verified" in client.get(f"/sessions/{requested.id}/").content.decode()


def test_what_held_and_what_crossed_is_told_probe_by_probe(world: World, browse: Browse) -> None:
    lifecycle.record_verification(world.agent, verified("held", "crossed", "skipped"))
    client = browse(world.auditor)
    page = client.get(f"/agents/{world.agent.id}/verification").content.decode()
    assert "1 of 3 probes crossed the boundary" in page
    assert page.index("N02") < page.index("N01")
    only = client.get(f"/agents/{world.agent.id}/verification?show=held").content.decode()
    assert "N01" in only
    assert "N02" not in only


def test_a_held_probe_without_a_crossing_control_does_not_count(world: World) -> None:
    said = verified("held", "held")
    said["report"][0]["control"] = "held"
    made = lifecycle.record_verification(world.agent, said)
    assert (made.held, made.unknown, made.passed) == (1, 1, True)


def test_an_earlier_run_can_be_read(world: World, browse: Browse) -> None:
    old = lifecycle.record_verification(world.agent, verified("crossed"))
    lifecycle.record_verification(world.agent, verified("held"))
    page = browse(world.lead).get(f"/agents/{world.agent.id}/verification?run={old.id}").content.decode()
    assert "1 of 1 probes crossed" in page


def test_a_stranger_sees_nothing(world: World, browse: Browse) -> None:
    assert browse(world.stranger).get(f"/agents/{world.agent.id}/verification").status_code == 404


@pytest.fixture
def demanding(db: None) -> World:
    return factories.world({**factories.CONTENT, "sandbox": "required", "verified_within_days": 7})


@pytest.mark.parametrize(
    ("outcomes", "days", "said"),
    [
        ((), 0, "never verified"),
        (("held", "crossed"), 0, "1 probes crossed"),
        (("skipped",), 0, "proved nothing"),
        (("held",), 8, "more than 7 days ago"),
    ],
)
def test_an_approval_needs_the_verification_that_the_profile_demands(
    demanding: World, outcomes: tuple[str, ...], days: int, said: str
) -> None:
    if outcomes:
        lifecycle.record_verification(demanding.agent, verified(*outcomes))
    with time_machine.travel(now() + timedelta(days=days)):
        requested = demanding.request().agent_session
        with pytest.raises(Invalid, match=said):
            lifecycle.approve(requested.id, demanding.lead, requested.grant_hash)


def test_with_it_the_approval_goes_through(demanding: World) -> None:
    lifecycle.record_verification(demanding.agent, verified("held", "skipped"))
    assert demanding.approved().state == "approved"
