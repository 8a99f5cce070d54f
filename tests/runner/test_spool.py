"""Events on their way: in order, at least once, and never lost in silence, whatever is away, full or killed."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner import spool as spool_module
from runner.errors import Busy, Refused, Unreachable
from runner.segments import Taken
from runner.shapes import MOST_AT_ONCE, MOST_BYTES, Event, Receipt
from runner.spool import Spool
from tests.serving import REPOSITORY
from tests.waiting import becomes


class FarEnd:
    """Takes batches; first it raises each of `troubles`, and it rejects events that say so."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles, self.batches = list(troubles), list[list[dict[str, Any]]]()

    def __call__(self, lines: Sequence[bytes]) -> list[Receipt]:
        if self.troubles:
            raise self.troubles.pop(0)
        events = [json.loads(line) for line in lines]
        self.batches.append(events)
        return [Receipt(event["id"], *self.answer(event)) for event in events]

    def answer(self, event: dict[str, Any]) -> tuple[str, str | None]:
        why = event["data"].get("reject")
        return ("rejected", why) if why else ("stored", None)

    @property
    def ids(self) -> list[str]:
        return [event["id"] for batch in self.batches for event in batch]


class Away(FarEnd):
    def __call__(self, lines: Sequence[bytes]) -> list[Receipt]:
        raise Unreachable("away")


class Gate(FarEnd):
    """Answers only when it is let to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, lines: Sequence[bytes]) -> list[Receipt]:
        self.reached.set()
        assert self.open.wait(20)
        return super().__call__(lines)


def step(**data: object) -> Event:
    return Event("agent.step", data)


def left_over(path: Path, *events: Event) -> None:
    """As a run leaves it that could not send."""
    away = Spool(path, Away())
    assert all(away.add(event) for event in events)
    assert away.close(0) == len(events)


def files(path: Path) -> set[str]:
    return {one.name for one in path.parent.iterdir()} - {f"{path.name}.lock"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events"


def test_events_are_sent_in_order_and_the_files_are_gone(path: Path) -> None:
    far, sent = FarEnd(), [step(n=n) for n in range(450)]
    one = Spool(path, far)

    assert all(one.add(event) for event in sent)
    assert one.close() == 0
    assert far.ids == [event.id for event in sent]
    assert files(path) == set()


def test_an_event_is_on_the_disk_when_add_returns(path: Path) -> None:
    one, event = Spool(path, Away()), step(text="ünïcode")

    assert one.add(event)
    assert path.with_name("events.1").read_bytes() == event.line() + b"\n"
    one.close(0)


def test_the_files_are_for_the_owner_alone(path: Path) -> None:
    left_over(path, step())

    assert {oct(one.stat().st_mode & 0o777) for one in path.parent.iterdir()} == {"0o600"}


def test_a_far_end_that_comes_back_gets_everything(path: Path) -> None:
    far, event = FarEnd(Unreachable("away"), Unreachable("away")), step()
    one = Spool(path, far)
    one.add(event)

    assert one.close(10) == 0
    assert far.ids == [event.id]


def test_what_could_not_be_sent_is_sent_by_the_next_run(path: Path) -> None:
    events = [step(n=n) for n in range(3)]
    left_over(path, *events)

    far = FarEnd()
    assert Spool(path, far).close() == 0
    assert far.ids == [event.id for event in events]


def test_a_batch_has_at_most_a_thousand_events(path: Path) -> None:
    left_over(path, *[step() for _ in range(MOST_AT_ONCE + 1)])
    far = FarEnd()

    assert Spool(path, far).close() == 0
    assert [len(batch) for batch in far.batches] == [MOST_AT_ONCE, 1]


def test_a_batch_has_at_most_four_mebibytes(path: Path) -> None:
    sizes: list[int] = []

    class Scale(FarEnd):
        def __call__(self, lines: Sequence[bytes]) -> list[Receipt]:
            sizes.append(sum(map(len, lines)))
            return super().__call__(lines)

    left_over(path, step(text="x" * 3_000_000), step(text="x" * 3_000_000))
    assert Spool(path, Scale()).close() == 0
    assert len(sizes) == 2
    assert max(sizes) <= MOST_BYTES


def test_a_last_line_that_was_cut_off_is_left_out_and_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = step()
    left_over(path, event)
    with path.with_name("events.1").open("ab") as file:
        file.write(step().line()[:20])
    far = FarEnd()

    assert Spool(path, far).close() == 0
    assert far.ids == [event.id]
    assert "cut off half-way" in capsys.readouterr().err


def test_a_line_that_is_no_json_holds_nothing_up(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = step()
    path.with_name("events.1").write_bytes(b"\0\0garbage\n" + event.line() + b"\n")
    far = FarEnd()

    assert Spool(path, far).close() == 0
    assert far.ids == [event.id]
    assert json.loads(path.with_name("events.refused").read_text())["why"] == "It is not JSON."
    assert "1 events were refused" in capsys.readouterr().err


def test_a_batch_that_is_refused_is_kept_beside_and_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [step(n=1), step(n=2)]
    left_over(path, *events)

    assert Spool(path, FarEnd(Refused("It is over.", status=409, code="session_ended"))).close() == 0
    kept = [json.loads(line) for line in path.with_name("events.refused").read_text().splitlines()]
    assert [(one["why"], one["event"]) for one in kept] == [("It is over.", event.content()) for event in events]
    assert "2 events were refused" in capsys.readouterr().err


def test_only_the_rejected_events_of_a_batch_are_kept_beside(path: Path) -> None:
    bad = step(reject="It is too long.")
    left_over(path, step(), bad, step())
    far = FarEnd()

    assert Spool(path, far).close() == 0
    (kept,) = path.with_name("events.refused").read_text().splitlines()
    assert (json.loads(kept)["event"]["id"], json.loads(kept)["why"]) == (bad.id, "It is too long.")
    assert files(path) == {"events.refused"}


def test_a_busy_far_end_is_waited_for(path: Path) -> None:
    far, event = FarEnd(Busy("busy", wait_s=0.05), Busy("busy", wait_s=0.05)), step()
    one = Spool(path, far)
    one.add(event)

    assert one.close() == 0
    assert (far.ids, files(path)) == ([event.id], set())


def test_a_far_end_that_stays_busy_is_left_alone_and_nothing_is_lost(path: Path) -> None:
    far = FarEnd(Busy("busy", wait_s=60))
    one = Spool(path, far)
    one.add(step())
    assert becomes(lambda: not far.troubles, within_s=5)

    assert one.close(0.1) == 1
    assert far.batches == []


def test_a_batch_that_is_too_large_is_halved(path: Path) -> None:
    far = FarEnd(Refused("Too large.", status=413, code="too_large"))
    left_over(path, *[step() for _ in range(5)])

    assert Spool(path, far).close() == 0
    assert [len(batch) for batch in far.batches] == [2, 2, 1]
    assert files(path) == set()


def test_when_it_is_full_new_events_are_refused_and_their_number_is_recorded(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = Gate()
    one = Spool(path, far, limit_bytes=8_000)
    kept = [one.add(step(text="x" * 1_000)) for _ in range(12)]
    assert (kept.count(True), kept.count(False), kept[-1]) == (6, 6, False)
    assert capsys.readouterr().err.count("no more events are kept") == 1

    far.open.set()
    assert one.close() == 0
    told = [event for batch in far.batches for event in batch if event["kind"] == "agent.spool_full"]
    assert [(event["data"]["count"], event["outcome"]) for event in told] == [(6, "failure")]
    assert len(far.ids) == 7


def test_what_was_lost_until_the_end_is_recorded_for_the_next_run(path: Path) -> None:
    one = Spool(path, Away(), limit_bytes=3_000)
    kept = [one.add(step(text="x" * 1_000)) for _ in range(4)]

    assert one.close(0.3) == kept.count(True) + 1
    far = FarEnd()
    assert Spool(path, far).close() == 0
    assert far.batches[-1][-1]["data"]["count"] == kept.count(False) == 2


def test_what_was_acknowledged_does_not_stay_on_the_disk(path: Path) -> None:
    far, longest = FarEnd(), 0
    one = Spool(path, far, limit_bytes=16_000)
    for count in range(1, 41):
        assert one.add(step(text="x" * 1_000))
        assert becomes(lambda count=count: len(far.ids) == count, within_s=5)
        longest = max(longest, sum(file.stat().st_size for file in path.parent.iterdir()))

    assert longest < 6_000
    assert one.close() == 0


def test_a_second_process_of_the_same_spool_is_told(path: Path) -> None:
    first = Spool(path, FarEnd())

    with pytest.raises(Taken):
        Spool(path, FarEnd())
    first.close()
    assert Spool(path, FarEnd()).close() == 0


def test_whoever_was_sending_at_the_end_touches_nothing_afterwards(path: Path) -> None:
    slow, event = Gate(), step()
    first = Spool(path, slow)
    first.add(event)
    assert slow.reached.wait(5)
    assert first.close(0) == 1

    far = Gate()
    second = Spool(path, far)
    slow.open.set()
    assert becomes(lambda: slow.ids == [event.id], within_s=5)
    far.open.set()
    assert second.close() == 0
    assert far.ids == [event.id]


def test_a_disk_that_hangs_does_not_hold_add_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far, hangs, fsync = FarEnd(), threading.Event(), os.fsync
    one = Spool(path, far)
    monkeypatch.setattr(spool_module, "KEPT_WITHIN_S", 0.05)
    monkeypatch.setattr(os, "fsync", lambda file: (hangs.wait(20), fsync(file)))

    assert one.add(step()) is False
    monkeypatch.setattr(spool_module, "KEPT_WITHIN_S", 5.0)
    hangs.set()
    assert one.close() == 0
    assert len(far.ids) == 1


def test_events_that_come_together_share_a_flush(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes, fsync = list[int](), os.fsync
    one = Spool(path, Away())
    monkeypatch.setattr(os, "fsync", lambda file: (flushes.append(file), threading.Event().wait(0.01), fsync(file)))
    threads = [threading.Thread(target=one.add, args=(step(n=n),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(flushes) < 20
    assert one.close(0) == 20


def test_an_event_after_the_end_is_not_kept_and_that_is_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = Spool(path, FarEnd())
    one.close()

    assert one.add(step()) is False
    assert "is lost" in capsys.readouterr().err


FULL_DISK = """
import json, resource, sys, time
from pathlib import Path
from runner.errors import Unreachable
from runner.shapes import Event, Receipt
from runner.spool import Spool
sent = []
away = sys.argv[2] == "away"
def send(lines):
    if away:
        raise Unreachable("away")
    sent.extend(json.loads(line)["data"]["n"] for line in lines)
    return [Receipt(None, "stored", None) for _ in lines]
spool = Spool(Path(sys.argv[1]), send)
resource.setrlimit(resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))
if not away:
    while not spool.add(Event("agent.step", {"n": 0})): pass
kept = [spool.add(Event("agent.step", {"n": n, "text": "x" * 1000})) for n in (1, 2, 3, 4)]
kept.append(spool.add(Event("agent.step", {"n": 5, "text": "x" * 2600})))
began = time.monotonic()
left = spool.close(2)
print(json.dumps([kept, sorted(set(sent)), left, time.monotonic() - began]))
"""


def full_disk(path: Path, far: str) -> tuple[list[Any], str]:
    """A process for which no file may have more than 2,500 bytes: a write is cut off half-way, then refused."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), far], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), ended.stderr


def test_events_are_sent_from_memory_while_the_disk_is_full(path: Path) -> None:
    (kept, sent, left, took_s), said = full_disk(path, "there")

    assert (sent, left, kept[-1]) == ([0, 1, 2, 3, 4, 5], 0, False)
    assert took_s < 1
    assert "cannot be written" in said


def test_with_a_full_disk_and_nobody_there_what_is_lost_is_said_and_the_rest_is_whole(path: Path) -> None:
    (kept, _, left, took_s), said = full_disk(path, "away")

    assert (kept, left) == ([True, True, False, False, False], 2)
    assert "3 events could not be kept in" in said
    assert took_s < 3
    far = FarEnd()
    assert Spool(path, far).close() == 0
    assert [event["data"]["n"] for event in far.batches[0]] == [1, 2]
