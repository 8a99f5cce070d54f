"""Events on their way to the disk: together, in their order, and never passed over."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from gateway import record
from gateway.errors import Denied
from gateway.record import Recorder
from runner.spool import Spool


class Disk:
    """A spool that answers when it is told to."""

    def __init__(self) -> None:
        self.offers: list[tuple[list[dict[str, Any]], Callable[[bool], None] | None]] = []

    def offer(self, lines: Sequence[bytes], then: Callable[[bool], None] | None = None) -> None:
        self.offers.append(([json.loads(line) for line in lines], then))

    def kinds(self) -> list[list[str]]:
        return [[one["kind"] for one in lines] for lines, _ in self.offers]

    def answers(self, kept: bool = True) -> None:
        then = self.offers[-1][1]
        assert then is not None
        then(kept)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def recorder(disk: Disk) -> Recorder:
    return Recorder(cast(Spool, disk))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_comes_together_is_written_together_and_what_comes_meanwhile_next(disk: Disk, recorder: Recorder) -> None:
    async def work() -> None:
        first = [asyncio.create_task(recorder.keep("s", kind, {})) for kind in ("a", "b")]
        await turns()
        recorder.note("s", "c", {})
        third = asyncio.create_task(recorder.keep("s", "d", {}))
        await turns()
        assert disk.kinds() == [["a", "b"]]
        assert not any(one.done() for one in first)
        disk.answers()
        await turns()
        assert all(one.done() for one in first)
        assert disk.kinds() == [["a", "b"], ["c", "d"]]
        disk.answers()
        assert await third

    asyncio.run(work())


def test_what_nobody_waits_for_is_written_in_a_moment(disk: Disk, recorder: Recorder) -> None:
    async def work() -> None:
        recorder.note("s", "a", {})
        recorder.note("s", "b", {})
        await turns()
        assert disk.kinds() == []
        await asyncio.sleep(record.GATHER_S * 2)
        assert disk.kinds() == [["a", "b"]]

    asyncio.run(work())


def test_what_is_left_at_the_end_is_handed_on(disk: Disk, recorder: Recorder) -> None:
    async def work() -> None:
        recorder.note("s", "a", {})

    asyncio.run(work())
    recorder.close()
    assert disk.kinds() == [["a"]]


def test_a_disk_that_refuses_or_says_nothing_lets_nothing_pass(
    disk: Disk, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "KEPT_WITHIN_S", 0.05)

    async def work() -> None:
        refused = asyncio.create_task(recorder.keep("s", "a", {}))
        await turns()
        disk.answers(kept=False)
        with pytest.raises(Denied, match="cannot keep its record"):
            await refused
        with pytest.raises(Denied, match="cannot keep its record"):
            await recorder.keep("s", "b", {})

    asyncio.run(work())


def test_a_silent_disk_does_not_fill_the_memory(
    disk: Disk, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "MOST_WAITING", 10)

    async def work() -> None:
        writing = asyncio.create_task(recorder.keep("s", "a", {}))
        await turns()
        for _ in range(30):
            recorder.note("s", "b", {})
        with pytest.raises(Denied):
            await recorder.keep("s", "c", {})
        disk.answers()
        await writing
        await asyncio.sleep(record.GATHER_S * 2)
        assert disk.kinds() == [["a"], ["b"] * 10]

    asyncio.run(work())
    assert capsys.readouterr().out.count("event_lost") == 20


def test_control_characters_become_what_the_log_can_hold(disk: Disk, recorder: Recorder) -> None:
    async def work() -> None:
        kept = asyncio.create_task(recorder.keep("s", "a", {"path": "/a\0b\ud800c\x1b", "none": None, "n": 1}))
        await turns()
        disk.answers()
        await kept

    asyncio.run(work())
    assert disk.offers[0][0][0]["data"] == {"gateway": "", "path": "/a\ufffdb\ufffdc\ufffd", "n": 1}
