"""The command that runs in a session: a process group of its own, in front of the terminal if there is one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Protocol

from runner.errors import RunnerError
from runner.reaping import waited

GRACE_S = 5.0
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class CannotStart(RunnerError):
    """126: it cannot be run; 127: there is no such command. As shells have it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Command(Protocol):
    """What runs in a session, however it is held."""

    @property
    def pid(self) -> int: ...

    def wait(self) -> int:
        """Its exit code, or 128 and the signal that ended it. From the main thread."""

    def end(self) -> None:
        """End it, and all that it started. From any thread."""


class Child:
    """A running command. `end` may be called from any thread; everything else belongs to the main thread."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], stdout: int | None = None) -> None:
        try:
            self._process = subprocess.Popen(list(argv), env=dict(env), stdout=stdout, process_group=0)
        except FileNotFoundError as error:
            raise CannotStart(f"There is no command {argv[0]!r}.", 127) from error
        except OSError as error:
            raise CannotStart(f"{argv[0]!r} cannot be run: {error.strerror}.", 126) from error
        self._terminal = sys.stdin.fileno() if _has_terminal() else None
        self._give_terminal(self._process.pid)
        for number in FORWARDED:
            signal.signal(number, self._forward)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> int:
        """Its exit code, or 128 and the signal that ended it."""
        while True:
            status = waited(self.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            self._stopped(os.WSTOPSIG(status))
        self._give_terminal(os.getpgrp())
        self._process.returncode = code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def end(self) -> None:
        """SIGTERM to the whole group, and SIGKILL after GRACE_S to what is left of it."""
        self._signal_group(signal.SIGTERM)
        self._signal_group(signal.SIGCONT)
        deadline = time.monotonic() + GRACE_S
        while self._signal_group(0) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal_group(signal.SIGKILL)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self._signal_group(number)

    def _signal_group(self, number: int) -> bool:
        """False if nobody is left in it."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _stopped(self, by: int) -> None:
        """Ctrl-Z: give the shell its terminal, stop as the command did, and go on together."""
        if self._terminal is None:
            return
        # It may have asked for the terminal before it was given it; that is no reason for us to stop.
        if by not in (signal.SIGTTIN, signal.SIGTTOU):
            self._give_terminal(os.getpgrp())
            os.kill(os.getpid(), signal.SIGSTOP)
        self._give_terminal(self.pid)
        self._signal_group(signal.SIGCONT)

    def _give_terminal(self, group: int) -> None:
        if self._terminal is None:
            return
        # Whoever is not in front is stopped for this, unless the signal is ignored.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError):
            os.tcsetpgrp(self._terminal, group)
        signal.signal(signal.SIGTTOU, before)


def _has_terminal() -> bool:
    """Whether we are in front of a terminal, so that it is ours to give."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
