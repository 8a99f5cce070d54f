"""The files of a spool: what counts, in which order, and when they go."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.segments import Segments, Taken


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events"


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir() if one.suffix != ".lock")


def line(number: int) -> bytes:
    return b'{"n":%d}\n' % number


def test_lines_are_read_in_their_order_until_they_are_acknowledged(path: Path) -> None:
    segments = Segments(path)
    segments.append(line(1) + line(2))
    segments.append(line(3))

    assert segments.read(2, 1000) == segments.read(2, 1000) == [line(1), line(2)]
    segments.acknowledge(16)
    assert segments.read(2, 1000) == [line(3)]
    segments.acknowledge(8)
    assert (segments.read(2, 1000), segments.empty, segments.used) == ([], True, 0)


def test_a_read_has_whole_lines_only(path: Path) -> None:
    segments = Segments(path)
    segments.append(line(1) + line(2) + line(3))

    assert segments.read(10, 20) == [line(1), line(2)]


def test_a_file_goes_when_all_of_it_was_acknowledged(path: Path) -> None:
    segments = Segments(path, segment_bytes=16)
    for number in range(5):
        segments.append(line(number))
    assert names(path) == ["events.1", "events.2", "events.3"]

    segments.acknowledge(8)
    assert names(path) == ["events.1", "events.2", "events.3"]
    segments.acknowledge(8)
    assert names(path) == ["events.2", "events.3"]


def test_the_last_file_is_used_again_when_it_was_acknowledged(path: Path) -> None:
    segments = Segments(path)
    for number in range(100):
        segments.append(line(number % 10))
        segments.acknowledge(8)

    assert path.with_name("events.1").stat().st_size == 8
    segments.close()
    assert names(path) == []


def test_files_of_an_earlier_run_come_in_the_order_of_their_numbers(path: Path) -> None:
    for number in (9, 10):
        path.with_name(f"events.{number}").write_bytes(line(number))
    path.with_name("events.refused").write_bytes(b"x" * 5)
    segments = Segments(path)
    segments.append(line(11))

    assert (segments.left(), segments.used) == (3, 8 + 18 + 5)
    assert segments.read(10, 1000) == [line(9)]
    segments.acknowledge(8)
    assert segments.read(10, 1000) == [line(10), line(11)]
    assert names(path) == ["events.10", "events.refused"]


def test_a_write_that_failed_leaves_no_trace(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments, fsync = Segments(path), os.fsync
    segments.append(line(1))

    def refuse(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        segments.append(line(2))
    assert (segments.left(), segments.read(10, 1000)) == (1, [line(1)])
    monkeypatch.setattr(os, "fsync", fsync)
    segments.append(line(3))
    assert path.with_name("events.1").read_bytes() == line(1) + line(3)


def test_what_was_torn_is_cut_off_by_the_next_line(path: Path) -> None:
    path.with_name("events.1").write_bytes(line(1) + b'{"n":')
    segments = Segments(path)
    assert (segments.torn_bytes, segments.left()) == (5, 1)

    segments.append(line(2))
    assert path.with_name("events.1").read_bytes() == line(1) + line(2)


def test_where_no_next_file_can_be_opened_the_last_one_goes_on(path: Path) -> None:
    segments = Segments(path, segment_bytes=8)
    path.with_name("events.2").mkdir()
    segments.append(line(1))
    segments.append(line(2))
    assert segments.read(10, 1000) == [line(1), line(2)]

    path.with_name("events.2").rmdir()
    segments.append(line(3))
    segments.append(line(4))
    assert path.with_name("events.2").read_bytes() == line(4)


def test_a_spool_belongs_to_one_until_it_is_closed(path: Path) -> None:
    first = Segments(path)
    with pytest.raises(Taken, match="Another command"):
        Segments(path)

    first.append(line(1))
    first.close()
    assert Segments(path).read(10, 1000) == [line(1)]


def test_after_the_end_nothing_is_read_or_deleted(path: Path) -> None:
    first = Segments(path)
    first.append(line(1))
    first.close()
    first.acknowledge(8)

    assert first.read(10, 1000) == []
    assert names(path) == ["events.1"]


STEPS = st.lists(
    st.tuples(st.just("append"), st.integers(1, 4))
    | st.tuples(st.just("acknowledge"), st.integers(1, 4))
    | st.tuples(st.just("reopen"), st.just(0)),
    max_size=25,
)


@given(STEPS)
def test_whatever_happens_the_files_hold_what_was_not_acknowledged(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, count, waiting = Path(folder) / "events", 0, list[bytes]()
        segments = Segments(path, segment_bytes=20)
        for step, number in steps:
            if step == "append":
                fresh = [b'{"n":%d}\n' % one for one in range(count, count + number)]
                segments.append(b"".join(fresh))
                waiting, count = waiting + fresh, count + number
            elif step == "acknowledge":
                lines = segments.read(number, 1000)
                assert lines == waiting[: len(lines)]
                if lines:
                    segments.acknowledge(sum(map(len, lines)))
                waiting = waiting[len(lines) :]
            else:
                segments.close()
                segments = Segments(path, segment_bytes=20)
                # What a file had that was acknowledged before it went is read again: the far end knows it.
                found = everything(path)
                assert found[len(found) - len(waiting) :] == waiting
                waiting = found
            assert segments.left() == len(waiting)
        segments.close()


def everything(path: Path) -> list[bytes]:
    found = [one for one in path.parent.glob("events.*") if one.suffix[1:].isdecimal()]
    ordered = sorted(found, key=lambda one: int(one.suffix[1:]))
    return [line for one in ordered for line in one.read_bytes().splitlines(keepends=True)]
