"""What the kernel saw: files that were read and written, and programs that were started, inside a sandbox.

Observed from outside by fanotify(7), on the sandbox's own mounts: without the agent's help, and out of its reach.
"""

import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

CLOEXEC, NONBLOCK = 0x1, 0x2
ADD, MOUNT = 0x1, 0x10
CLOSE_WRITE, CLOSE_NOWRITE, OPEN_EXEC, OVERFLOW = 0x8, 0x10, 0x1000, 0x4000
AT_FDCWD = -100
# struct fanotify_event_metadata: length, version, reserved, metadata length, mask, file, pid.
METADATA = struct.Struct("=IBBHQii")
READ_AT_ONCE = 64 * 1024
KINDS = {OPEN_EXEC: "process.executed", CLOSE_WRITE: "file.write", CLOSE_NOWRITE: "file.read"}
# The same file again within this time is one event with a count; and so many different ones are told in it.
TOLD_EVERY_S, MOST_TOLD = 1.0, 200
# What tools touch by the thousand, and says nothing about what an agent does.
SKIPPED = (
    "*/.git/objects/*", "*/node_modules/*", "*/__pycache__/*", "*/site-packages/*", "/run/drawbridge/ca.pem",
    "*/ld-linux*.so*", "*/ld-musl*.so*", "/dev/*", "/proc/*", "/sys/*",
)  # fmt: skip

Report = Callable[[str, dict[str, object]], None]
Seen = tuple[str, str]


class Unobservable(Exception):
    """The kernel does not let us look: says why."""


@dataclass
class Noticed:
    """How often, and by which process first."""

    count: int
    pid: int
    program: str


class Observer:
    """Watches the mounts of one sandbox in a thread of its own, until `close`. `lost` counts what could not be told."""

    def __init__(self, pid: int, files: Sequence[str], programs: Sequence[str], report: Report) -> None:
        """`pid` is a process of the sandbox; `files` are mounts whose files count, `programs` those whose executions
        count. Raises Unobservable.
        """
        self._report = report
        self._noticed: dict[Seen, Noticed] = {}
        self.lost = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = self._called("fanotify_init", CLOEXEC | NONBLOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_LARGEFILE)
        try:
            for mount, mask in _masks(files, programs).items():
                self._mark(Path(f"/proc/{pid}/root"), mount, mask)
            # While this is open the mounts stay where they are, and files keep their whole paths to the last event.
            self._mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(self._queue)
            raise
        self._stops, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="kernel", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What was seen until now is told."""
        os.write(self._stop, b".")
        self._thread.join(5)
        for one in (self._queue, self._mounts, self._stops, self._stop):
            os.close(one)

    def _mark(self, root: Path, mount: str, mask: int) -> None:
        path = f"{root}{mount}".encode()
        with suppress(FileNotFoundError):
            self._called("fanotify_mark", self._queue, ADD | MOUNT, ctypes.c_uint64(mask), AT_FDCWD, path)

    def _called(self, name: str, *arguments: object) -> int:
        found = getattr(self._libc, name, None)
        if found is None:
            raise Unobservable("this system has no fanotify")
        answer = int(found(*arguments))
        if answer < 0:
            number = ctypes.get_errno()
            if number == 2:
                raise FileNotFoundError(number, name)
            raise Unobservable(f"{name}: {os.strerror(number)}" + (" (root may)" if number == 1 else ""))
        return answer

    def _watch(self) -> None:
        told = time.monotonic()
        stopping = False
        while not stopping:
            ready, _, _ = select.select([self._queue, self._stops], [], [], TOLD_EVERY_S)
            stopping = self._stops in ready
            while self._drain():
                pass
            if stopping or time.monotonic() - told >= TOLD_EVERY_S:
                self._tell()
                told = time.monotonic()

    def _drain(self) -> bool:
        """Take what is there. False if there was nothing."""
        try:
            data = os.read(self._queue, READ_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            # An event whose file cannot be opened any more.
            self.lost += 1
            return True
        for mask, file, pid in _events(data):
            if mask & OVERFLOW:
                self.lost += 1
            if file >= 0:
                try:
                    self._notice(mask, os.readlink(f"/proc/self/fd/{file}"), pid)
                finally:
                    os.close(file)
        return bool(data)

    def _notice(self, mask: int, path: str, pid: int) -> None:
        if any(fnmatch(path, pattern) for pattern in SKIPPED):
            return
        for bit, kind in KINDS.items():
            if mask & bit:
                known = self._noticed.get((kind, path))
                if known is not None:
                    known.count += 1
                elif len(self._noticed) < MOST_TOLD:
                    self._noticed[kind, path] = Noticed(1, pid, _program(pid))
                else:
                    self.lost += 1

    def _tell(self) -> None:
        noticed, self._noticed = self._noticed, {}
        for (kind, path), one in noticed.items():
            told: dict[str, object] = {"path": path.removesuffix(" (deleted)"), "count": one.count, "pid": one.pid}
            self._report(kind, {**told, "program": one.program, "seen_by": "kernel"})
        if self.lost:
            self._report("sandbox.unseen", {"count": self.lost})
            self.lost = 0


def _masks(files: Sequence[str], programs: Sequence[str]) -> Mapping[str, int]:
    masks = dict.fromkeys(programs, OPEN_EXEC)
    return {**masks, **dict.fromkeys(files, OPEN_EXEC | CLOSE_WRITE | CLOSE_NOWRITE)}


def _events(data: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    while at + METADATA.size <= len(data):
        length, _, _, _, mask, file, pid = METADATA.unpack_from(data, at)
        yield mask, file, pid
        at += length


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
