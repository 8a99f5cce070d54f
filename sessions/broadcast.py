"""One reading of a session for all who watch it in this process with the same filters.

Each viewer keeps a place of their own, and takes what comes after it from what all share, at their own pace: nobody
waits for a slow one, and nothing is kept for them. Whoever is behind what is kept reads alone until they are back.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import structlog
from asgiref.sync import sync_to_async
from django.db import close_old_connections

from audit import notices, sse, timeline
from audit.hub import Waiter, hub
from audit.timeline import Filters
from sessions.audience import Gone, SignIn
from sessions.look import Fragments, Look, look
from sessions.panel import May

logger = structlog.get_logger()

# Rows that are kept for those who join or are a little behind.
KEPT_BYTES = 256 * 1024

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run database work in a thread, and give its connection back at once: a stream holds none while it waits."""

    def run() -> T:
        try:
            return act(*args, **kwargs)
        finally:
            close_old_connections()

    return await sync_to_async(run, thread_sensitive=False)()


@dataclass(eq=False)
class Place:
    """How far one viewer is: the last number that they have, and the fragments as they have them.

    `may` is what the last look that asked about them said; None if they may not see it.
    """

    sign_in: SignIn
    cursor: int
    shown: Fragments = field(default=(), init=False)
    asked: bool = field(default=False, init=False)
    may: May | None = field(default=None, init=False)
    edition: int = field(default=0, init=False)
    beats: int = field(default=0, init=False)
    woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)


class Broadcast:
    """What is new in one session. Between two awaits nothing of it changes."""

    def __init__(self, session_id: uuid.UUID, filters: Filters, heartbeat_s: float) -> None:
        self.over = False
        self._heartbeat_s = heartbeat_s
        self._session_id, self._filters = session_id, filters
        self._places: set[Place] = set()
        self._waiter: Waiter | None = None
        self._said_at = time.monotonic()
        self._beats = 0
        # All matching rows after `floor`, up to `position`.
        self._floor = self._position = 0
        self._rows: deque[tuple[int, bytes]] = deque()
        self._after: dict[int, bytes] = {}
        # Counts how often these changed, which is quicker to compare.
        self._fragments: Mapping[May, Fragments] = {}
        self._edition = 1

    @contextmanager
    def watched_from(self, place: Place) -> Iterator[None]:
        """As long as the block lasts, looks ask about this viewer too."""
        self._places.add(place)
        if self._waiter is not None:
            self._waiter.wake()
        try:
            yield
        finally:
            self._places.discard(place)

    @property
    def empty(self) -> bool:
        return not self._places

    def start(self) -> None:
        # In a context of its own: not in that of the request which happened to come first.
        self._task = asyncio.create_task(self._run(), name="broadcast", context=Context())
        self._task.add_done_callback(self._ended)

    def stop(self) -> None:
        self.over = True
        self._task.cancel()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Said once for all who watch; their browsers come back by themselves."""
        if not task.cancelled() and task.exception() is not None:
            logger.error("broadcast_failed", session=str(self._session_id), exc_info=task.exception())
        self.over = True
        self._wake(self._places)

    async def _run(self) -> None:
        """Look whenever something may have changed, and tell all."""
        topics = notices.stream_topic(self._session_id), notices.state_topic(self._session_id)
        async with hub().waiting(*topics) as self._waiter:
            last = await in_thread(timeline.last_seq, self._session_id)
            self._floor = self._position = max(0, last - timeline.REPLAY)
            while True:
                asked = list(self._places)
                sign_ins = [place.sign_in for place in asked]
                found = await in_thread(look, self._session_id, self._filters, self._position, sign_ins)
                self._take(found, asked)
                # All who were woken have taken theirs before the next look uses the processor.
                await asyncio.sleep(0)
                if not found.more:
                    await self._waiter.wait(self._heartbeat_s)

    async def next_for(self, place: Place) -> bytes:
        """What is new for a viewer, or a heartbeat; nothing if it is to be asked again. Raises Gone."""
        place.woken.clear()
        if place.cursor < self._floor:
            return await self._alone(place)
        news = self._news(place)
        if news:
            return news
        await place.woken.wait()
        news = self._news(place)
        beats, place.beats = place.beats, self._beats
        return sse.HEARTBEAT if not news and beats != self._beats else news

    async def _alone(self, place: Place) -> bytes:
        """A page for one who is behind what is kept."""
        found = await in_thread(look, self._session_id, self._filters, place.cursor, [place.sign_in])
        if found.rights == [None]:
            raise Gone
        place.cursor = found.position
        return b"".join(row for _, row in found.rows)

    def _news(self, place: Place) -> bytes:
        if not place.asked or place.cursor < self._floor:
            return b""
        if place.may is None:
            raise Gone
        rows = self._rows_after(place.cursor)
        place.cursor = max(place.cursor, self._position)
        if place.edition == self._edition:
            return rows
        place.edition = self._edition
        fragments = self._fragments.get(place.may, ())
        fresh = [one for one in fragments if one not in place.shown]
        place.shown = fragments
        return b"".join((rows, *fresh, sse.HEARTBEAT)) if fresh else rows

    def _rows_after(self, cursor: int) -> bytes:
        if cursor not in self._after:
            self._after[cursor] = b"".join(row for seq, row in self._rows if seq > cursor)
        return self._after[cursor]

    def _take(self, found: Look, asked: list[Place]) -> None:
        """Wake all if there is something for all, or if they heard nothing for long; else those for whom there is."""
        told = []
        for place, may in zip(asked, found.rights, strict=True):
            if not place.asked or place.may != may:
                place.asked, place.may, place.edition = True, may, 0
                told.append(place)
        quiet = time.monotonic() - self._said_at >= self._heartbeat_s
        changed = not found.more and found.fragments != self._fragments
        if changed:
            self._fragments, self._edition = found.fragments, self._edition + 1
        if found.rows:
            self._forget()
            self._rows.extend(found.rows)
        self._position = found.position
        self._after = {}
        if found.rows or changed or quiet:
            self._said_at, told = time.monotonic(), asked
            self._beats += quiet
        self._wake(told)

    @staticmethod
    def _wake(places: Iterable[Place]) -> None:
        for place in places:
            place.woken.set()

    def _forget(self) -> None:
        """Before more comes: so that what was found last is there until all could take it."""
        kept = sum(len(row) for _, row in self._rows)
        while kept > KEPT_BYTES:
            self._floor, row = self._rows.popleft()
            kept -= len(row)


_running: dict[tuple[asyncio.AbstractEventLoop, uuid.UUID, Filters], Broadcast] = {}


@contextmanager
def watching(session_id: uuid.UUID, filters: Filters, place: Place, heartbeat_s: float) -> Iterator[Broadcast]:
    """This event loop's broadcast of the session with these filters, which runs as long as somebody watches it."""
    key = (asyncio.get_running_loop(), session_id, filters)
    if key not in _running or _running[key].over:
        _running[key] = Broadcast(session_id, filters, heartbeat_s)
        _running[key].start()
    shared = _running[key]
    try:
        with shared.watched_from(place):
            yield shared
    finally:
        if shared.empty:
            shared.stop()
            if _running.get(key) is shared:
                del _running[key]
