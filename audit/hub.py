"""One Valkey subscriber for each process, fanned out to everything in it that waits.

A waiter is never woken falsely late: when Valkey is away it wakes by itself each LOOK_S seconds.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context

import redis.asyncio
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from audit import notices

logger = structlog.get_logger()

LOOK_S = 1.0
LOOK_CONNECTED_S = 5.0


class Waiter:
    """Something that waits for any of its topics."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._event = asyncio.Event()

    def wake(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float = LOOK_CONNECTED_S) -> bool:
        """Return when woken, or when it is time to look anyway. True if woken."""
        look_s = LOOK_CONNECTED_S if self._hub.connected else LOOK_S
        try:
            async with asyncio.timeout(min(timeout_s, look_s)):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Hub:
    """Subscribes once to all of this product's topics, and wakes the waiters of each."""

    def __init__(self) -> None:
        self.connected = False
        self._waiters: dict[str, set[Waiter]] = {}
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def waiting(self, *topics: str) -> AsyncIterator[Waiter]:
        if self._task is None or self._task.done():
            # In a context of its own: not in that of the request which happened to come first.
            self._task = asyncio.create_task(self._listen(), name="hub", context=Context())
        waiter = Waiter(self)
        for topic in topics:
            self._waiters.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            for topic in topics:
                self._waiters[topic].discard(waiter)
                if not self._waiters[topic]:
                    del self._waiters[topic]

    async def _listen(self) -> None:
        # redis-py 8 has a socket timeout of 5 s unless told otherwise: a subscriber must not have one.
        client = redis.asyncio.Redis.from_url(settings.VALKEY_URL, socket_timeout=None, health_check_interval=10)
        while True:
            try:
                async with client.pubsub() as subscription:
                    await subscription.psubscribe(notices.PREFIX + "*")
                    async for message in subscription.listen():
                        self._hear(message)
            except (RedisError, OSError) as error:
                logger.warning("hub_disconnected", error=str(error))
            self.connected = False
            await asyncio.sleep(LOOK_S)

    def _hear(self, message: dict[str, object]) -> None:
        if message["type"] == "psubscribe":
            self.connected = True
            self._wake_all()
        elif message["type"] == "pmessage":
            channel = message["channel"]
            assert isinstance(channel, bytes)
            topic = channel.decode().removeprefix(notices.PREFIX)
            self._wake(topic)
            if topic.startswith(notices.STREAM):
                self._wake(notices.EVENTS)

    def _wake(self, topic: str) -> None:
        for waiter in self._waiters.get(topic, ()):
            waiter.wake()

    def _wake_all(self) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
