"""The files of a spool: PATH.1, PATH.2 and so on. The last one takes what comes; each is deleted when all of it was
acknowledged. PATH.refused has what the far end would not take, PATH.lock says who has the spool.

A line is JSON and ends with a newline: what does not was torn by a crash, and never counted as kept.
"""

import fcntl
import os
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Usage

SEGMENT_BYTES = 1024 * 1024


class Taken(Usage):
    """Another process has this spool, and sends what is in it."""


@dataclass
class _Segment:
    """A file: how long it is as far as it counts, and how much of that was acknowledged."""

    path: Path
    size: int
    done: int = 0

    @property
    def spent(self) -> bool:
        return self.done == self.size


class Segments:
    """Lines on the disk, oldest first. One thread appends, another one reads and acknowledges.

    Opening raises Taken while another process has them. What the disk refuses is an OSError, and changes nothing.
    """

    def __init__(self, path: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path, self._segment_bytes = path, segment_bytes
        self._lock_file = _locked(_beside(path, "lock"))
        self._lock = threading.Lock()
        self._closed = False
        self._refused_bytes = _size(_beside(path, "refused"))
        numbers = _numbers(path) or [1]
        self._number = numbers[-1]
        self._file = _private(_beside(path, self._number), os.O_RDWR)
        self.torn_bytes = _torn_bytes(self._file)
        self._segments = deque(_Segment(one, _size(one)) for one in (_beside(path, number) for number in numbers))
        self._segments[-1].size -= self.torn_bytes
        # There may be bytes behind the size: from a write that failed, or that a crash cut off.
        self._doubtful = True
        _sync_folder(path.parent)

    @property
    def used(self) -> int:
        """Bytes that only an acknowledgement, or somebody who reads what was refused, can free."""
        with self._lock:
            return self._refused_bytes + sum(one.size for one in self._segments if not one.spent)

    @property
    def empty(self) -> bool:
        with self._lock:
            return all(one.spent for one in self._segments)

    def append(self, lines: bytes) -> None:
        """When it returns, the lines are on the disk."""
        with self._lock:
            active = self._segments[-1]
            if active.spent:
                self._doubtful, active.size, active.done = True, 0, 0
        if self._doubtful:
            os.ftruncate(self._file, active.size)
        self._doubtful = True
        _write(self._file, lines, active.size)
        os.fsync(self._file)
        self._doubtful = False
        with self._lock:
            active.size += len(lines)
        if active.size >= self._segment_bytes:
            self._begin_another()

    def read(self, most_lines: int, most_bytes: int) -> list[bytes]:
        """The oldest lines that were not acknowledged, out of one file. None are left if there are none."""
        with self._lock:
            oldest = next((one for one in self._segments if not one.spent), None)
            if oldest is None or self._closed:
                return []
            with oldest.path.open("rb") as file:
                file.seek(oldest.done)
                return _lines(file.read(min(oldest.size - oldest.done, most_bytes)), most_lines)

    def acknowledge(self, count_bytes: int) -> None:
        """Let go of this many bytes of what was read last, and of files that are done with."""
        with self._lock:
            if self._closed:
                return
            next(one for one in self._segments if not one.spent).done += count_bytes
            while len(self._segments) > 1 and self._segments[0].spent:
                self._segments.popleft().path.unlink(missing_ok=True)

    def set_aside(self, lines: bytes) -> None:
        """Keep what cannot be sent in the file beside."""
        path = _beside(self._path, "refused")
        with open(_private(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        self._refused_bytes = _size(path)

    def left(self) -> int:
        """How many lines were not acknowledged."""
        count = 0
        with self._lock:
            for one in self._segments:
                with one.path.open("rb") as file:
                    file.seek(one.done)
                    count += file.read(one.size - one.done).count(b"\n")
        return count

    def close(self) -> None:
        """Give the files to whoever comes next; delete them if nothing is left. Nobody may be appending."""
        with self._lock:
            self._closed = True
            if all(one.spent for one in self._segments):
                for one in self._segments:
                    one.path.unlink(missing_ok=True)
            os.close(self._file)
            os.close(self._lock_file)

    def _begin_another(self) -> None:
        path = _beside(self._path, self._number + 1)
        try:
            fresh = _private(path, os.O_RDWR)
        except OSError:
            # What was appended is safe. This file gets longer than it should; the next append tries again.
            return
        os.close(self._file)
        self._file, self._doubtful = fresh, True
        self._number += 1
        with self._lock:
            self._segments.append(_Segment(path, 0))
        _sync_folder(path.parent)


def _write(file: int, content: bytes, at: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, at)
        left, at = left[written:], at + written


def _lines(chunk: bytes, most: int) -> list[bytes]:
    """Whole lines with their ends; all of it where there is no end, which is no event then."""
    whole, end, _ = chunk.rpartition(b"\n")
    return [line + end for line in whole.split(b"\n")[:most]] if end else [chunk]


def _beside(path: Path, ending: object) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def _numbers(path: Path) -> list[int]:
    endings = (one.name.removeprefix(f"{path.name}.") for one in path.parent.glob(f"{path.name}.*"))
    return sorted(int(ending) for ending in endings if ending.isdecimal())


def _torn_bytes(file: int) -> int:
    """How much of the end of a file is no whole line."""
    size = os.fstat(file).st_size
    return size - (os.pread(file, size, 0).rfind(b"\n") + 1)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _private(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(path: Path) -> int:
    file = _private(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise Taken("Another command of this session is running, and sends its events.") from error
    return file


def _sync_folder(path: Path) -> None:
    """A new name is on the disk only when its folder is."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
