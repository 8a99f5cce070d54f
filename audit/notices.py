"""Wake-ups over Valkey. They carry no data and may be lost: whoever waits for one also looks by itself, less often.

Publishing never blocks and never fails the caller: one background thread sends.
"""

import queue
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial

import redis
import structlog
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = structlog.get_logger()

PREFIX = "drawbridge:"
FLEET = "fleet"
# What is published for any stream wakes whoever waits for this, too. Nobody publishes it.
STREAM = "stream:"
EVENTS = f"{STREAM}*"
_LONGEST_QUEUE = 10_000
_SILENT_S = 1.0


class Sender:
    """A daemon thread that runs small jobs against the broker, in order.

    It drops them when it falls far behind, and for a second after one failed: a broker that is away must not be
    asked a thousand times, and whoever waits looks by themselves.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], object]] = queue.Queue(_LONGEST_QUEUE)
        self._started = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], object]) -> None:
        self._start()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            logger.warning("notice_dropped", reason="the broker does not keep up; waiters look by themselves")

    def _start(self) -> None:
        with self._started:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        silent_until = 0.0
        while True:
            job = self._jobs.get()
            if time.monotonic() < silent_until:
                continue
            try:
                job()
            except Exception as error:  # noqa: BLE001 - a wake-up that fails is only late, and must not end the thread
                silent_until = time.monotonic() + _SILENT_S
                logger.warning("notice_failed", error=str(error))


sender = Sender()
_client: redis.Redis | None = None


def client() -> redis.Redis:
    """This process's client for short commands."""
    global _client
    if _client is None:
        once = Retry(NoBackoff(), 0)
        _client = redis.Redis.from_url(settings.VALKEY_URL, socket_connect_timeout=1, socket_timeout=2, retry=once)
    return _client


def stream_topic(stream: uuid.UUID) -> str:
    """For those who show each event."""
    return f"{STREAM}{stream}"


def state_topic(stream: uuid.UUID) -> str:
    """For those who wait for a change of what may be had, and not for each event."""
    return f"state:{stream}"


def publish(topic: str) -> None:
    """Wake whoever waits for the topic, soon."""
    sender.submit(lambda: client().publish(PREFIX + topic, b""))


def after_commit(topic: str) -> None:
    """Publish when the current transaction commits."""
    transaction.on_commit(partial(publish, topic))
