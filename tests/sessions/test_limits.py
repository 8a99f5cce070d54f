"""What one agent, or one profile, may take of everybody's room."""

import threading
from typing import Any

import pytest
from django.db import connections

from sessions import lifecycle
from sessions.errors import Invalid, LifecycleError
from sessions.models import Membership, Role
from tests import factories
from tests.factories import CONTENT, READ_ORDERS, World


def wide(objects: int, places: int) -> list[dict[str, Any]]:
    """Details with many tables of long names."""
    names = [f"postgresql://warehouse/{'s' * 40}.{'t' * 45}{number:03}" for number in range(places)]
    return [{**READ_ORDERS, "locations": names, "actions": ["read", "write", "delete"]} for _ in range(objects)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"summary": "x" * 50_000}, "may have 40,000 bytes"),
        ({"summary": "\N{SNOWMAN}" * 15_000}, "may have 40,000 bytes"),
        ({"summary": "\ud800"}, "cannot carry"),
        ({"summary": float("inf")}, "cannot carry"),
        ({"summary": ["x"]}, "summary must be text"),
        ({"authorization_details": wide(6, 50)}, "may have 20,000 bytes"),
    ],
)
def test_profile_that_no_event_can_hold_is_refused_with_a_sentence(
    world: World, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        lifecycle.propose_profile_version(world.profile, {**CONTENT, **changed}, world.admin)


def test_request_that_no_event_can_hold_is_refused_with_a_sentence(db: None) -> None:
    world = factories.world({**CONTENT, "authorization_details": wide(3, 50)})
    with pytest.raises(Invalid, match="may have 20,000 bytes"):
        world.request(details=wide(20, 50))


def test_largest_request_can_be_narrowed_to_the_most_objects(db: None) -> None:
    """Places that keep different actions become objects of their own: the grant may grow, and still fits its event."""
    world = factories.world({**CONTENT, "authorization_details": wide(1, 7) * 16})
    asked = world.request().agent_session
    keeps = [("read",), ("write",), ("delete",), ("read", "write"), ("read", "delete"), ("write", "delete")]
    details = [
        {**each, "locations": [place], "actions": list(actions)}
        for each in wide(1, 7) * 16
        for place, actions in zip(each["locations"], keeps, strict=False)
    ]
    approved = lifecycle.approve(asked.id, world.lead, asked.grant_hash, lifecycle.Narrower(details, 60))
    assert len(approved.grant.content["authorization_details"]) == 96


@pytest.mark.usefixtures("committed")
def test_two_admins_who_end_each_other_leave_one() -> None:
    world = factories.world()
    lifecycle.grant_role(world.team, world.lead, Role.ADMIN, world.admin)
    roles = Membership.objects.filter(team=world.team, role=Role.ADMIN, ended_at=None)
    of = {role.person_id: role.pk for role in roles}
    together = threading.Barrier(2)

    def end(pk: int, by: object) -> None:
        together.wait()
        try:
            lifecycle.end_role(pk, by)  # type: ignore[arg-type]
        except LifecycleError:
            pass
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=end, args=(of[world.lead.pk], world.admin)),
        threading.Thread(target=end, args=(of[world.admin.pk], world.lead)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert roles.all().count() == 1
