"""What the three services have in common: prepare on first start, run, answer."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stack.errors import StackError
from stack.process import Command, Leashed, rotate

READY_SECONDS = 60.0


class Service(Protocol):
    """A server of the stack. `prepare` is idempotent and cheap when there is nothing left to do."""

    name: str

    def prepare(self) -> None:
        """Make its files on first start."""

    def command(self) -> Command:
        """How to run it."""

    def answers(self) -> bool:
        """Whether it serves requests now."""


def launch(service: Service, log_path: Path, held_fds: tuple[int, ...] = ()) -> Leashed:
    """Start a prepared service and wait until it answers."""
    rotate(log_path)
    running = Leashed(service.command(), log_path, held_fds)
    try:
        wait_until(service.answers, running)
    except StackError:
        running.stop()
        raise
    return running


def wait_until(answers: Callable[[], bool], running: Leashed, seconds: float = READY_SECONDS) -> None:
    """Return once `answers` does; StackError with the last log lines if the process ends or takes too long."""
    deadline = time.monotonic() + seconds
    name = running.command.name
    while not answers():
        code = running.exit_code()
        if code is not None:
            raise StackError(
                f"{name} ended with code {code} while starting. Its log {running.log_path} ends with:\n"
                f"{running.last_lines()}"
            )
        if time.monotonic() > deadline:
            raise StackError(
                f"{name} does not answer after {seconds:.0f} s. Its log {running.log_path} ends with:\n"
                f"{running.last_lines()}"
            )
        time.sleep(0.02)
