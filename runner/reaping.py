"""Waiting for a process while signals are handled, however close to the waiting they come.

A signal that arrives just before waitpid(2) blocks would be handled by Python only when that returns.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def waited(pid: int, options: int = 0) -> int:
    """The wait status of a child; `options` as for waitpid(2). From the main thread."""
    with _woken() as wakes:
        while True:
            found, status = os.waitpid(pid, options | os.WNOHANG)
            if found:
                return status
            select.select([wakes], [], [])
            with suppress(BlockingIOError):
                os.read(wakes, 512)


@contextmanager
def _woken() -> Iterator[int]:
    """A descriptor that is readable after each signal, also that of a child that has ended or stopped."""
    wakes, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    previous = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        yield wakes
    finally:
        signal.set_wakeup_fd(previous)
        signal.signal(signal.SIGCHLD, before)
        os.close(wakes)
        os.close(wake)
