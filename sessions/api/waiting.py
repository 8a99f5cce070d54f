"""Long polls: hold a request until something is so. No database connection is held meanwhile."""

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.http import HttpRequest

from audit.hub import hub
from audit.notices import state_topic

T = TypeVar("T")

_held: Counter[uuid.UUID] = Counter()

LONGEST_WAIT_S = 60
MOST_HELD, MOST_HELD_EACH = 256, 16
# RFC 7240: preferences are separated by commas, their parameters by semicolons.
_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,6})"?\s*(?=$|[,;])', re.IGNORECASE)


def preferred_wait_s(request: HttpRequest) -> int:
    """The seconds of `Prefer: wait=30`, at most LONGEST_WAIT_S; 0 where it does not ask for any."""
    match = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(match[1]), LONGEST_WAIT_S) if match else 0


async def until(
    agent_session_id: uuid.UUID, wait_s: float, look: Callable[[], Awaitable[T]], ready: Callable[[T], bool]
) -> T:
    """What `look` found once it was ready, or when the time is over. Looks after each change of the session.

    Each held request keeps a thread of this process, so they are counted: one too many is answered at once.
    """
    if wait_s <= 0 or _held[agent_session_id] >= MOST_HELD_EACH or _held.total() >= MOST_HELD:
        return await look()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    with _holding(agent_session_id):
        return await _until(agent_session_id, deadline, look, ready)


@contextmanager
def _holding(agent_session_id: uuid.UUID) -> Iterator[None]:
    _held[agent_session_id] += 1
    try:
        yield
    finally:
        _held[agent_session_id] -= 1
        if not _held[agent_session_id]:
            del _held[agent_session_id]


async def _until(
    agent_session_id: uuid.UUID, deadline: float, look: Callable[[], Awaitable[T]], ready: Callable[[T], bool]
) -> T:
    loop = asyncio.get_running_loop()
    async with hub().waiting(state_topic(agent_session_id)) as waiter:
        while True:
            found = await look()
            left = deadline - loop.time()
            if ready(found) or left <= 0:
                return found
            await waiter.wait(left)
