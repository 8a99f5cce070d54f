"""The fleet, looked at for all who watch it in this process: each changed lane is rendered once for all who may see it.

Events of any stream wake it, and no more than one look in PACE_S comes of them, however many events and viewers there
are. Each viewer takes the difference to what they have, at their own pace; nothing is kept for those who are slow.
"""

import asyncio
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import structlog

from audit import notices, sse
from audit.hub import Waiter, hub
from sessions import audience
from sessions import fleet as fleets
from sessions.audience import Gone, SignIn
from sessions.broadcast import in_thread
from sessions.fleet import Standing, Survey
from sessions.look import snapshot
from sessions.policy import Viewer
from sessions.views import fleet, lookup
from sessions.views.fleet import Wanted

logger = structlog.get_logger()

# What comes just after a look is shown within a second.
PACE_S = 0.7
# For so long after an event its density may still be on its way.
SETTLES = timedelta(seconds=5)


class Shown(NamedTuple):
    """One lane as all with the same rights have it."""

    session_id: uuid.UUID
    version: tuple[object, ...]
    frame: bytes


class Picture(NamedTuple):
    """What one viewer is to have."""

    facts: bytes
    lanes: tuple[Shown, ...]


@dataclass(eq=False)
class Watcher:
    """One viewer: what they want, and what they have. `picture` is None if they may not see anything any more."""

    sign_in: SignIn
    wanted: Wanted
    asked: bool = field(default=False, init=False)
    picture: Picture | None = field(default=None, init=False)
    facts: bytes = field(default=b"", init=False)
    versions: Mapping[uuid.UUID, tuple[object, ...]] = field(default_factory=dict, init=False)
    woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def news(self) -> bytes:
        """What differs from what they have: the order first, which makes the places of new lanes. Raises Gone."""
        if not self.asked:
            return b""
        if self.picture is None:
            raise Gone
        facts, lanes = self.picture
        fresh = [lane.frame for lane in lanes if self.versions.get(lane.session_id) != lane.version]
        frames = fresh if facts == self.facts else [facts, *fresh]
        self.facts, self.versions = facts, {lane.session_id: lane.version for lane in lanes}
        return b"".join((*frames, sse.HEARTBEAT)) if frames else b""


class Looker:
    """Looks for many at once, and remembers the frames that it made last."""

    def __init__(self) -> None:
        self._frames: dict[tuple[uuid.UUID, int, bool], Shown] = {}

    def look(self, asked: Sequence[tuple[SignIn, Wanted]]) -> tuple[list[Picture | None], bool]:
        """A picture for each, None for whoever is gone; and whether something has just happened.

        All of it is one snapshot of the database: nothing that happened after somebody lost the right is in it.
        """
        with snapshot():
            viewers = audience.viewers([sign_in for sign_in, _ in asked])
            teams = {team for viewer in viewers if viewer for team in lookup.teams_of(viewer)}
            survey = fleets.survey(teams, {wanted.minutes for _, wanted in asked})
        made: dict[tuple[object, ...], Picture] = {}
        pictures = []
        for viewer, (_, wanted) in zip(viewers, asked, strict=True):
            pictures.append(self._shared(survey, viewer, wanted, made) if viewer else None)
        alive = {standing.agent_session.pk for standing in survey.standings}
        self._frames = {key: shown for key, shown in self._frames.items() if key[0] in alive}
        return pictures, any(_unsettled(survey, standing) for standing in survey.standings)

    def _shared(
        self, survey: Survey, viewer: Viewer, wanted: Wanted, made: dict[tuple[object, ...], Picture]
    ) -> Picture:
        """One picture for all who want the same and have the same rights: roles, and sessions on their behalf."""
        theirs = any(standing.agent_session.person_id == viewer.id for standing in survey.standings)
        key = (wanted, frozenset(viewer.roles.items()), viewer.id if theirs else None)
        if key not in made:
            chosen = fleet.lanes(survey, wanted, lookup.teams_of(viewer))
            lanes = [self._lane(survey, one, wanted.minutes, fleet.may_kill(viewer, one)) for one in chosen.shown]
            made[key] = Picture(sse.frame("fragment", fleet.render_facts(chosen, wanted, viewer)), tuple(lanes))
        return made[key]

    def _lane(self, survey: Survey, standing: Standing, minutes: int, kill: bool) -> Shown:
        lane = fleet.render_lane(survey, standing, minutes, kill)
        key = (lane.session_id, minutes, kill)
        known = self._frames.get(key)
        if known is None or known.version != lane.version:
            known = self._frames[key] = Shown(lane.session_id, lane.version, sse.frame("fragment", lane.fragment))
        return known


class FleetWatch:
    """Between two awaits nothing of it changes."""

    def __init__(self, heartbeat_s: float) -> None:
        self.over = False
        self._heartbeat_s = heartbeat_s
        self._watchers: set[Watcher] = set()
        self._waiter: Waiter | None = None
        self._looker = Looker()

    @contextmanager
    def watched_by(self, watcher: Watcher) -> Iterator[None]:
        self._watchers.add(watcher)
        if self._waiter is not None:
            self._waiter.wake()
        try:
            yield
        finally:
            self._watchers.discard(watcher)

    @property
    def empty(self) -> bool:
        return not self._watchers

    def start(self) -> None:
        # In a context of its own: not in that of the request which happened to come first.
        self._task = asyncio.create_task(self._run(), name="fleet", context=Context())
        self._task.add_done_callback(self._ended)

    def stop(self) -> None:
        self.over = True
        self._task.cancel()

    async def next_for(self, watcher: Watcher) -> bytes:
        """What is new for a viewer, or a heartbeat. Raises Gone."""
        watcher.woken.clear()
        news = watcher.news()
        if news:
            return news
        try:
            async with asyncio.timeout(self._heartbeat_s):
                await watcher.woken.wait()
        except TimeoutError:
            return sse.HEARTBEAT
        return watcher.news()

    async def _run(self) -> None:
        async with hub().waiting(notices.FLEET, notices.EVENTS) as self._waiter:
            while True:
                began = time.monotonic()
                asked = list(self._watchers)
                wishes = [(watcher.sign_in, watcher.wanted) for watcher in asked]
                pictures, busy = await in_thread(self._looker.look, wishes)
                for watcher, picture in zip(asked, pictures, strict=True):
                    watcher.asked, watcher.picture = True, picture
                    watcher.woken.set()
                await asyncio.sleep(max(PACE_S - (time.monotonic() - began), 0))
                if not busy:
                    await self._waiter.wait(self._heartbeat_s)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Said once for all who watch; their browsers come back by themselves."""
        if not task.cancelled() and task.exception() is not None:
            logger.error("fleet_watch_failed", exc_info=task.exception())
        self.over = True
        for watcher in self._watchers:
            watcher.woken.set()


_running: dict[asyncio.AbstractEventLoop, FleetWatch] = {}


@contextmanager
def watching(watcher: Watcher, heartbeat_s: float) -> Iterator[FleetWatch]:
    """This event loop's look at the fleet, which goes on as long as somebody watches."""
    loop = asyncio.get_running_loop()
    if loop not in _running or _running[loop].over:
        _running[loop] = FleetWatch(heartbeat_s)
        _running[loop].start()
    shared = _running[loop]
    try:
        with shared.watched_by(watcher):
            yield shared
    finally:
        if shared.empty:
            shared.stop()
            if _running.get(loop) is shared:
                del _running[loop]


def _unsettled(survey: Survey, standing: Standing) -> bool:
    return standing.newest is not None and survey.at - standing.newest.recorded_at < SETTLES
