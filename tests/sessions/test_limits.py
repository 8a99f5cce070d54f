"""What one agent, or one profile, may take of everybody's room."""

import threading

import pytest
from django.db import connections

from sessions import lifecycle
from sessions.errors import Invalid, LifecycleError
from sessions.lifecycle import requests
from sessions.models import Membership, Role
from tests import factories
from tests.factories import CONTENT, World


def test_agent_with_many_open_requests_gets_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_PENDING", 2)
    world.request()
    world.request()
    with pytest.raises(Invalid, match="2 requests of this agent wait for a decision already"):
        world.request()


def test_profile_that_is_too_long_is_refused_with_a_sentence(world: World) -> None:
    with pytest.raises(Invalid, match="may have 20000 characters"):
        lifecycle.propose_profile_version(world.profile, {**CONTENT, "summary": "x" * 30_000}, world.admin)


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
