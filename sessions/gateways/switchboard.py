"""One LISTEN connection for each process, fanned out to every gateway's stream in it.

A notice that was lost is made up for by a look at the newest transitions, each LOOK_S seconds.
"""

import asyncio
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError

from sessions.gateways.notices import CHANGED, CHANNEL, OVER
from sessions.models import Gateway, Transition
from sessions.models.runs import LIVE, State
from sessions.threads import in_thread

logger = structlog.get_logger()

LOOK_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
# Numbers are given out before the commit: so far behind the highest one that was seen another may still come.
STRAGGLING = 500


@dataclass(eq=False)
class Line:
    """What one gateway is still to be told. `cut` once it may be told nothing any more."""

    gateway: uuid.UUID
    over: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    cut: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> list[dict[str, list[str]]]:
        """What came since the last time."""
        self.woken.clear()
        news = [{OVER: sorted(self.over)}] if self.over else []
        news += [{CHANGED: sorted(self.changed)}] if self.changed else []
        self.over, self.changed = set(), set()
        return news


@dataclass
class Moves:
    """The transitions that were seen, by their numbers; `newest` is the highest of them, None before the first look."""

    newest: int | None = None
    seen: frozenset[int] = frozenset()

    def look(self) -> tuple[set[uuid.UUID], dict[str, set[str]]]:
        """The gateways that are in use, and what happened since the last look; nothing is new at the first."""
        alive = set(Gateway.objects.filter(retired_at=None).values_list("pk", flat=True))
        first = self.newest is None
        if self.newest is None:
            self.newest = Transition.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        rows = list(
            Transition.objects.filter(pk__gt=self.newest - STRAGGLING).values_list(
                "pk", "agent_session_id", "from_state", "to_state"
            )
        )
        fresh = [] if first else [row for row in rows if row[0] not in self.seen]
        self.seen = frozenset(row[0] for row in rows)
        self.newest = max(self.seen, default=self.newest)
        return alive, {
            OVER: {str(pk) for _, pk, before, to in fresh if before in LIVE and to != State.ACTIVE},
            CHANGED: {str(pk) for _, pk, _, to in fresh if to == State.ACTIVE},
        }


class Switchboard:
    """Between two awaits nothing of it changes."""

    def __init__(self) -> None:
        self._lines: set[Line] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @contextmanager
    def connected(self, gateway: uuid.UUID) -> Iterator[Line]:
        """As long as the block lasts, the line hears everything."""
        line = Line(gateway)
        self._lines.add(line)
        self._start()
        try:
            yield line
        finally:
            self._lines.discard(line)
            if not self._lines:
                self._stop()

    def _start(self) -> None:
        if not self._tasks:
            # In contexts of their own: not in that of the request which happened to come first.
            parts = (self._listen(), self._look())
            self._tasks = [asyncio.create_task(part, name="switchboard", context=Context()) for part in parts]

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _listen(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**_where(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    pause = FIRST_PAUSE_S
                    async for notice in connection.notifies():
                        self._tell(json.loads(notice.payload))
            except (psycopg.Error, OSError) as error:
                logger.warning("switchboard_disconnected", error=str(error).strip())
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _look(self) -> None:
        moves = Moves()
        while True:
            try:
                alive, news = await in_thread(moves.look)()
            except DatabaseError as error:
                logger.warning("switchboard_blind", error=str(error).strip())
            else:
                self._tell(news)
                self._cut(alive)
            await asyncio.sleep(LOOK_S)

    def _tell(self, news: Mapping[str, Iterable[str]]) -> None:
        over, changed = set(news.get(OVER, ())), set(news.get(CHANGED, ()))
        if not over and not changed:
            return
        for line in self._lines:
            line.over |= over
            line.changed |= changed
            line.woken.set()

    def _cut(self, alive: set[uuid.UUID]) -> None:
        for line in self._lines:
            if line.gateway not in alive:
                line.cut = True
                line.woken.set()


def _where() -> dict[str, Any]:
    """How to connect by ourselves: the pool's connections cannot listen. A dead one is noticed by its keepalives."""
    database = settings.DATABASES["default"]
    return {
        "host": database["HOST"],
        "port": database["PORT"],
        "dbname": database["NAME"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "connect_timeout": 3,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "application_name": "drawbridge-gateways",
    }


_boards: dict[asyncio.AbstractEventLoop, Switchboard] = {}


def switchboard() -> Switchboard:
    """That of the running event loop."""
    return _boards.setdefault(asyncio.get_running_loop(), Switchboard())
