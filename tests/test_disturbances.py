"""What may go wrong around the log: a full disk, a lost object store, a clock that jumps. Nothing acknowledged is lost,
and the pages say what is wrong.
"""

import resource
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction

from audit import comparison, health, log, sequencing
from audit.event import NewEvent
from audit.integrator import Integrator, publisher
from audit.models import Event
from audit.sources import Folder
from audit.stores import tile_store
from audit.verify import Policy, verify
from tests.audit.formats.s3_server import Bucket, serving
from tests.audit.retention.conftest import KEY, ORIGIN, Aged, empty, migrated

__all__ = ["empty", "migrated"]


def append(stream: uuid.UUID, count: int = 10) -> None:
    events = [NewEvent("tool.call", stream, "person:p", "agent:a", {"n": n}, agent="agent:a") for n in range(count)]
    with transaction.atomic():
        log.append_batch(stream, events)


def integrator() -> Integrator:
    return Integrator(publisher(KEY.format()), threading.Event(), lambda line: None)


def problems() -> dict[str, str]:
    return {one.part: one.problem for one in health.problems()}


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond a few bytes: what a write meets on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_of_the_log_loses_nothing_and_is_told(empty: Aged) -> None:
    empty.act_as("integrator")
    stream, running = uuid.uuid4(), integrator()
    append(stream)
    assert running._turn()
    with full_disk():
        append(stream)
        assert not running._turn()
    told = problems()["log"]
    assert "The log cannot be written" in told
    assert "Events are kept, and signed for once it can." in told

    assert running._turn()
    assert problems() == {}
    assert empty.verified().opened.checkpoint.size == Event.objects.count() == 20


def test_a_log_whose_files_cannot_be_found_is_told(empty: Aged) -> None:
    empty.act_as("integrator")
    append(uuid.uuid4())
    running = integrator()
    running._turn()
    (empty.folder / "tile").rename(empty.folder / "elsewhere")
    append(uuid.uuid4())
    running._loaded = False
    assert not running._turn()
    assert "is missing" in problems()["log"]

    (empty.folder / "elsewhere").rename(empty.folder / "tile")
    assert running._turn()
    assert problems() == {}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Bucket, str]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    held = Bucket()
    with serving(held) as url:
        yield held, url


def test_a_lost_object_store_loses_nothing_and_is_told(empty: Aged, bucket: tuple[Bucket, str], settings: Any) -> None:
    empty.act_as("integrator")
    held, settings.S3_ENDPOINT_URL = bucket
    settings.LOG_STORE, settings.LOG_HEAD_STORE = "s3://bucket/log", "s3://bucket/head"
    stream, running = uuid.uuid4(), integrator()
    append(stream)
    assert running._turn()

    held.failures = ["before"] * 60
    append(stream)
    assert not running._turn()
    assert "The log cannot be written" in problems()["log"]

    held.failures = []
    assert running._turn()
    assert problems() == {}
    policy = Policy(ORIGIN, (KEY.verifier,))
    assert verify(Stored(), policy).opened.checkpoint.size == 20


class Stored:
    """The log in the bucket, as a verifier reads it."""

    def __init__(self) -> None:
        self.read = tile_store("s3://bucket/log").read

    def close(self) -> None:
        """Holds nothing open."""


@pytest.mark.parametrize("hours", [2, -2])
def test_events_before_and_after_a_jump_of_the_clock_are_all_there(empty: Aged, hours: int) -> None:
    """Forward and back: written in their order, signed for, in a partition of their own time."""
    empty.act_as("integrator")
    stream, running = uuid.uuid4(), integrator()
    append(stream)
    running._turn()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        append(stream)
        running._beat_at = -1000.0
        assert running._turn()
        way = "forward" if hours > 0 else "back"
        assert f"This machine's clock jumped {way} by 2 h" in problems()["clock"]
    append(stream)
    assert running._turn()

    size = empty.verified().opened.checkpoint.size
    assert comparison.compare(Folder(empty.folder), size) == size == 30
    numbers = Event.objects.filter(stream=stream).order_by("seq").values_list("seq", flat=True)
    assert list(numbers) == list(range(1, 31))


def test_a_partition_is_there_for_every_time_that_a_clock_may_show(empty: Aged) -> None:
    """Even for absurd ones: an event is never refused for want of a partition."""
    empty.act_as("integrator")
    stream = uuid.uuid4()
    for year in (1980, 2100):
        with time_machine.travel(datetime(year, 1, 1, tzinfo=UTC), tick=False):
            append(stream, 1)
    assert integrator()._turn()
    assert sequencing.head().published_size == 2
