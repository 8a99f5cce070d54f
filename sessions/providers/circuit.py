"""A provider that does not answer is left alone for a while, so that minting elsewhere goes on; and one that said when
it can be asked again is asked by no worker before that.

What one process learns about silence is its own. What a far end said of its limits is kept in Valkey for all workers;
without Valkey each finds out for itself. Kills take no notice of either: they have threads of their own.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from sessions.providers.contract import CredentialError

logger = structlog.get_logger()

MOST_SILENT, SHUT_S = 3, 5.0
VALKEY_TIMEOUT_S = 0.5
PREFIX = "drawbridge:wait:"


@dataclass
class Circuit:
    """Shut after MOST_SILENT silences in a row. After SHUT_S one call tries, the others wait for it."""

    name: str
    clock: Callable[[], float] = time.monotonic
    _silent: int = 0
    _shut_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Raises CredentialError(untouched=True) where it is shut."""
        self._enter()
        try:
            yield
        except CredentialError as error:
            self._heard(silent=error.silent)
            if error.retry_after_s:
                keep(self.name, error.retry_after_s)
            raise
        except BaseException:
            self._heard(silent=False)
            raise
        self._heard(silent=False)

    def _enter(self) -> None:
        wait_s = waits(self.name)
        if wait_s:
            said = f"{self.name} said that it can be asked again in {wait_s:.0f} seconds."
            raise CredentialError(said, untouched=True, retry_after_s=wait_s)
        with self._lock:
            if self._silent < MOST_SILENT:
                return
            at = self.clock()
            if at < self._shut_until:
                said = f"{self.name} has not answered {self._silent} times in a row, and is left alone for a moment."
                raise CredentialError(said, untouched=True, retry_after_s=self._shut_until - at)
            self._shut_until = at + SHUT_S

    def _heard(self, *, silent: bool) -> None:
        with self._lock:
            self._silent = self._silent + 1 if silent else 0
            if self._silent >= MOST_SILENT:
                self._shut_until = self.clock() + SHUT_S
                logger.warning("provider_left_alone", provider=self.name, silences=self._silent)


@lru_cache(4_096)
def circuit(name: str) -> Circuit:
    """Of one far end: a provider's kind and a slot, which names the server, owner or place."""
    return Circuit(name)


def waits(name: str) -> float:
    """Seconds until the far end wants to be asked again, as some worker was told."""
    try:
        left = _valkey().pttl(PREFIX + name)
    except redis.RedisError:
        return 0.0
    return max(0, left) / 1_000


def keep(name: str, seconds: float) -> None:
    try:
        _valkey().set(PREFIX + name, 1, px=max(1, round(seconds * 1_000)))
    except redis.RedisError:
        logger.warning("limit_not_shared", provider=name)


@cache
def _valkey() -> redis.Redis:
    return redis.Redis.from_url(
        settings.VALKEY_URL,
        socket_timeout=VALKEY_TIMEOUT_S,
        socket_connect_timeout=VALKEY_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
