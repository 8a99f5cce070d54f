"""Who may have an evidence file, and which streams it reads."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit import evidence
from audit.event import now
from audit.models import Export
from sessions import exports, lifecycle, policy
from sessions.errors import Forbidden
from sessions.exports import Asked
from sessions.models import Membership, Role
from sessions.parties import viewer
from sessions.policy import Viewer
from tests import factories
from tests.factories import World

TEAM, OTHER = uuid.uuid4(), uuid.uuid4()


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ((), False),
        (("requester",), False),
        (("lead",), True),
        (("security",), True),
        (("auditor",), True),
        (("admin",), True),
        (("requester", "auditor"), True),
    ],
)
def test_right_to_export_follows_the_role(roles: tuple[str, ...], allowed: bool) -> None:
    verdict = policy.may_export(Viewer(uuid.uuid4(), {TEAM: frozenset(roles)}), TEAM)
    assert (bool(verdict), bool(verdict.why)) == (allowed, not allowed)


def test_role_in_another_team_does_not_count() -> None:
    assert not policy.may_export(Viewer(uuid.uuid4(), {OTHER: frozenset({"admin"})}), TEAM)


@pytest.mark.parametrize(("teams", "allowed"), [((TEAM,), True), ((TEAM, OTHER), False), ((), False)])
def test_file_needs_the_right_in_each_of_its_teams(teams: tuple[uuid.UUID, ...], allowed: bool) -> None:
    auditor = Viewer(uuid.uuid4(), {TEAM: frozenset({"auditor"}), OTHER: frozenset({"requester"})})
    assert bool(exports.may_have(auditor, Asked(evidence.PERSON, uuid.uuid4(), teams))) is allowed


def test_what_was_asked_is_read_back_from_its_row() -> None:
    asked = Asked(evidence.PERIOD, TEAM, (TEAM,), now(), now() + timedelta(days=1))
    assert Asked.of(asked.selection()) == asked


def test_session_reads_its_own_stream_only(world: World) -> None:
    agent_session = world.request().agent_session
    assert exports.streams_of(exports.of_session(agent_session)) == [agent_session.id]


def test_period_reads_the_team_and_its_sessions(world: World) -> None:
    other = factories.world()
    other.request()
    agent_session = world.request().agent_session
    found = exports.streams_of(exports.of_period(world.team, None, None))
    assert set(found) == {world.team.id, agent_session.id}


def test_sessions_that_came_after_the_period_are_left_out(world: World) -> None:
    before = now()
    world.request()
    assert exports.streams_of(exports.of_period(world.team, None, before)) == [world.team.id]


def test_person_is_looked_for_in_the_viewers_teams_only(world: World) -> None:
    other = factories.world()
    lifecycle.grant_role(other.team, world.lead, Role.LEAD, other.admin)
    asked = exports.of_person(world.lead, viewer(world.auditor))
    assert asked.teams == (world.team.id,)
    assert other.team.id not in exports.streams_of(asked)


def test_what_a_person_read_is_for_those_who_see_all_their_teams(world: World) -> None:
    assert world.lead.id in exports.streams_of(exports.of_person(world.lead, viewer(world.auditor)))
    other = factories.world()
    lifecycle.grant_role(other.team, world.lead, Role.LEAD, other.admin)
    assert world.lead.id not in exports.streams_of(exports.of_person(world.lead, viewer(world.auditor)))


def test_requester_may_not_ask(world: World) -> None:
    agent_session = world.request().agent_session
    with pytest.raises(Forbidden, match="Only a lead, security, an auditor or an admin"):
        exports.ask(world.requester, exports.of_session(agent_session))
    assert not Export.objects.filter(by=world.requester.id).exists()


def test_right_that_was_lost_ends_the_file(world: World) -> None:
    asked = exports.of_session(world.request().agent_session)
    lifecycle.end_role(Membership.objects.get(person=world.auditor, ended_at=None).id, world.admin)
    assert not exports.may_have(viewer(world.auditor), asked)


def export_of(world: World) -> Export:
    return exports.ask(world.auditor, exports.of_session(world.request().agent_session))


def test_only_one_worker_takes_a_row(world: World) -> None:
    export = export_of(world)
    assert exports.Claim.take(export.id) is not None
    assert exports.Claim.take(export.id) is None


def test_row_of_a_worker_that_is_gone_is_taken_over(world: World) -> None:
    export = export_of(world)
    first = exports.Claim.take(export.id)
    assert first is not None
    Export.objects.filter(pk=export.id).update(touched_at=now() - timedelta(minutes=2))
    assert exports.Claim.take(export.id) is not None
    with pytest.raises(exports.Overtaken):
        first.touch()


def test_failure_is_said_in_the_log_and_on_the_row(world: World) -> None:
    export = export_of(world)
    claim = exports.Claim.take(export.id)
    assert claim is not None
    claim.failed("no space is left")
    export.refresh_from_db()
    event = factories.events_of(world.team.id)[-1]
    assert (export.state, export.error) == ("failed", "no space is left")
    assert (event["kind"], event["outcome"], event["data"]["problem"]) == (
        "log.exported",
        "failure",
        "no space is left",
    )


@pytest.mark.parametrize("state", ["ready", "failed", "expired"])
def test_row_that_is_done_is_taken_by_nobody(world: World, state: str) -> None:
    export = export_of(world)
    Export.objects.filter(pk=export.id).update(state=state)
    assert exports.Claim.take(export.id) is None


def test_file_goes_after_its_day(world: World, settings: Any, tmp_path: Path) -> None:
    settings.EXPORT_FOLDER = str(tmp_path)
    export = export_of(world)
    exports.file_of(export).write_bytes(b"x")
    Export.objects.filter(pk=export.id).update(state="ready", expires_at=now() - timedelta(seconds=1))
    exports.tidy()
    export.refresh_from_db()
    assert (export.state, exports.file_of(export).exists()) == ("expired", False)


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """Which rows a worker was woken for: the broker is not what is tested."""
    found: list[uuid.UUID] = []
    record: Callable[[uuid.UUID], None] = found.append
    monkeypatch.setattr(exports, "wake", record)
    return found


def test_row_that_nobody_took_is_woken_again(world: World, woken: list[uuid.UUID]) -> None:
    export = export_of(world)
    exports.tidy()
    assert export.id not in woken
    Export.objects.filter(pk=export.id).update(touched_at=now() - timedelta(minutes=2))
    exports.tidy()
    assert export.id in woken


def test_row_that_no_worker_could_finish_fails(world: World, woken: list[uuid.UUID]) -> None:
    export = export_of(world)
    long_ago = now() - timedelta(hours=7)
    Export.objects.filter(pk=export.id).update(state="running", touched_at=long_ago, made_at=long_ago)
    exports.tidy()
    export.refresh_from_db()
    assert (export.state, woken) == ("failed", [])
