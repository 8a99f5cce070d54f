"""What a session's viewers share: read once for all, at each one's own pace, without a gap and without a double."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from django.db import OperationalError

from audit import sse
from audit.timeline import Filters
from sessions import broadcast, lifecycle
from sessions.audience import Gone, SignIn, digest
from sessions.broadcast import Broadcast, Place, in_thread, watching
from sessions.look import Look, look
from sessions.models import AgentSession, Membership, Person
from tests import actors, factories
from tests.e2e.watching import active_session, append

pytestmark = pytest.mark.usefixtures("committed")
QUIET_S = 600.0
BEAT_S = 0.05


@pytest.fixture
def world() -> factories.World:
    return factories.world()


@pytest.fixture
def watched(world: factories.World) -> AgentSession:
    """Active, with eight events in its stream."""
    agent_session = active_session(world)
    append(agent_session, ["tool.called", "db.statement", "file.read", "db.statement"])
    return agent_session


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many viewers each look asked about, in the order of the looks."""
    counted: list[int] = []

    def counting(session_id: object, filters: Filters, after: int, sign_ins: list[SignIn]) -> Look:
        counted.append(len(sign_ins))
        return look(session_id, filters, after, sign_ins)  # type: ignore[arg-type]

    monkeypatch.setattr(broadcast, "look", counting)
    return counted


def place(person: Person, cursor: int) -> Place:
    return Place(SignIn(actors.signed_in(person), str(person.id), digest(person.password)), cursor)


def numbers(taken: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"^id: (\d+)$", taken, re.MULTILINE)]


async def taken(shared: Broadcast, viewer: Place, until: int) -> list[int]:
    """The numbers that a viewer gets, up to one."""
    found: list[int] = []
    while not found or found[-1] < until:
        found += numbers(await shared.next_for(viewer))
    return found


async def panel(shared: Broadcast, viewer: Place) -> bytes:
    """What a viewer gets together with the next fragment."""
    while b"event: fragment" not in (news := await shared.next_for(viewer)):
        pass
    return news


def run(act: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await act()

    asyncio.run(limited())


def test_all_viewers_of_the_same_filters_share_one_reading(
    world: factories.World, watched: AgentSession, looks: list[int]
) -> None:
    viewers = [place(person, 8) for person in [world.lead, world.auditor, world.lead] * 20]

    async def act() -> None:
        with ExitStack() as stack:
            [shared] = {stack.enter_context(watching(watched.id, Filters(), one, QUIET_S)) for one in viewers}
            await asyncio.gather(*(panel(shared, one) for one in viewers))
            looks.clear()
            await in_thread(append, watched, ["db.statement"])
            got = await asyncio.gather(*(taken(shared, one, 9) for one in viewers))
        assert got == [[9]] * 60
        assert set(looks) == {60}
        assert len(looks) < 10

    run(act)


def test_other_filters_have_a_reading_of_their_own(world: factories.World, watched: AgentSession) -> None:
    async def act() -> None:
        every, some = place(world.lead, 0), place(world.lead, 0)
        with (
            watching(watched.id, Filters(), every, QUIET_S) as all_events,
            watching(watched.id, Filters(frozenset({"db"})), some, QUIET_S) as statements,
        ):
            assert await taken(all_events, every, 8) == [1, 2, 3, 4, 5, 6, 7, 8]
            assert await taken(statements, some, 8) == [6, 8]

    run(act)


def test_a_viewer_who_comes_later_gets_what_is_kept_from_their_own_place(
    world: factories.World, watched: AgentSession
) -> None:
    async def act() -> None:
        first, second, third = place(world.lead, 8), place(world.auditor, 3), place(world.security, 999)
        with watching(watched.id, Filters(), first, QUIET_S) as shared:
            await panel(shared, first)
            with watching(watched.id, Filters(), second, QUIET_S), watching(watched.id, Filters(), third, QUIET_S):
                assert await taken(shared, second, 8) == [4, 5, 6, 7, 8]
                assert numbers(await panel(shared, third)) == []

    run(act)


def test_a_viewer_behind_what_is_kept_catches_up_alone_and_joins(
    world: factories.World, watched: AgentSession, monkeypatch: pytest.MonkeyPatch, looks: list[int]
) -> None:
    monkeypatch.setattr(broadcast, "KEPT_BYTES", 0)
    append(watched, ["db.statement"] * 250)

    async def act() -> None:
        ahead, behind = place(world.lead, 258), place(world.auditor, 0)
        with (
            watching(watched.id, Filters(), ahead, QUIET_S) as shared,
            watching(watched.id, Filters(), behind, QUIET_S),
        ):
            await panel(shared, ahead)
            assert await taken(shared, behind, 258) == list(range(1, 259))
            assert looks.count(1) == 2
            await in_thread(append, watched, ["db.statement"])
            assert await taken(shared, ahead, 259) == await taken(shared, behind, 259) == [259]

    run(act)


def test_a_slow_viewer_holds_nobody_and_loses_nothing(
    world: factories.World, watched: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "KEPT_BYTES", 0)

    async def act() -> None:
        slow, quick = place(world.lead, 8), place(world.auditor, 8)
        with watching(watched.id, Filters(), slow, QUIET_S) as shared, watching(watched.id, Filters(), quick, QUIET_S):
            await panel(shared, slow)
            for last in range(9, 14):
                await in_thread(append, watched, ["db.statement"])
                assert await taken(shared, quick, last) == [last]
            assert [seq for seq, _ in shared._rows] == [13]
            assert await taken(shared, slow, 13) == [9, 10, 11, 12, 13]

    run(act)


def test_a_change_without_a_matching_row_reaches_the_viewers(world: factories.World, watched: AgentSession) -> None:
    async def act() -> None:
        viewer = place(world.lead, 8)
        with watching(watched.id, Filters(frozenset({"nothing"})), viewer, QUIET_S) as shared:
            assert b'data-version="active' in await panel(shared, viewer)
            await in_thread(lifecycle.kill, watched.id, world.security)
            assert b'data-version="ended' in await panel(shared, viewer)

    run(act)


def test_whoever_lost_the_right_gets_nothing_that_came_after(world: factories.World, watched: AgentSession) -> None:
    def lose_and_append() -> None:
        lifecycle.end_role(Membership.objects.get(person=world.auditor, ended_at=None).id, world.admin)
        append(watched, ["db.statement"])

    async def act() -> None:
        loser, other = place(world.auditor, 8), place(world.lead, 8)
        with watching(watched.id, Filters(), loser, QUIET_S) as shared, watching(watched.id, Filters(), other, QUIET_S):
            await asyncio.gather(panel(shared, loser), panel(shared, other))
            await in_thread(lose_and_append)
            assert await taken(shared, other, 9) == [9]
            with pytest.raises(Gone):
                await taken(shared, loser, 9)

    run(act)


def test_whoever_lost_the_right_cannot_catch_up_either(
    world: factories.World, watched: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "KEPT_BYTES", 0)
    append(watched, ["db.statement"] * 250)

    async def act() -> None:
        stranger, other = place(world.stranger, 0), place(world.lead, 258)
        with watching(watched.id, Filters(), other, QUIET_S) as shared:
            await panel(shared, other)
            with watching(watched.id, Filters(), stranger, QUIET_S), pytest.raises(Gone):
                await shared.next_for(stranger)

    run(act)


def test_a_right_that_changes_brings_the_panel_that_belongs_to_it(
    world: factories.World, watched: AgentSession
) -> None:
    async def act() -> None:
        viewer = place(world.auditor, 8)
        with watching(watched.id, Filters(), viewer, BEAT_S) as shared:
            assert b'id="kill"' not in await panel(shared, viewer)
            await in_thread(lifecycle.grant_role, world.team, world.auditor, "lead", world.admin)
            assert b'id="kill"' in await panel(shared, viewer)

    run(act)


def test_a_quiet_broadcast_beats(world: factories.World, watched: AgentSession) -> None:
    async def act() -> None:
        viewer = place(world.lead, 8)
        with watching(watched.id, Filters(), viewer, BEAT_S) as shared:
            await panel(shared, viewer)
            heard = [await shared.next_for(viewer) for _ in range(3)]
        assert sse.HEARTBEAT in heard
        assert set(heard) <= {sse.HEARTBEAT, b""}

    run(act)


def test_a_broadcast_ends_with_its_last_viewer(world: factories.World, watched: AgentSession) -> None:
    async def act() -> None:
        first, second = place(world.lead, 8), place(world.auditor, 8)
        with watching(watched.id, Filters(), first, QUIET_S) as shared:
            with watching(watched.id, Filters(), second, QUIET_S) as same:
                assert same is shared
            assert not shared.over
        assert shared.over
        with watching(watched.id, Filters(), first, QUIET_S) as fresh:
            assert fresh is not shared
        assert not [key for key in broadcast._running if key[1] == watched.id]

    run(act)


def test_a_look_that_fails_ends_the_broadcast_and_says_so(
    world: factories.World, watched: AgentSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*asked: object) -> Look:
        raise OperationalError("the database is away")

    monkeypatch.setattr(broadcast, "look", failing)

    async def act() -> None:
        viewer = place(world.lead, 8)
        with watching(watched.id, Filters(), viewer, QUIET_S) as shared:
            assert await shared.next_for(viewer) == b""
            assert shared.over

    run(act)
    assert "broadcast_failed" in capsys.readouterr().out
