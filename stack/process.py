"""One process on a leash: started, watched, stopped. See leash.py for what a leash promises."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack.errors import StackError

LEASH = Path(__file__).with_name("leash.py")
LOG_LIMIT_BYTES = 20_000_000


@dataclass(frozen=True)
class Command:
    """What to run and how to end it. `uid` is set where the command must not run as root."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    uid: int | None = None
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 8.0


class Leashed:
    """A running command. Its output goes to `log_path`, appended.

    It ends when this process ends, in whatever way. `held_fds` are kept open until the leash has ended its command.
    """

    def __init__(self, command: Command, log_path: Path, held_fds: tuple[int, ...] = ()) -> None:
        self.command = command
        self.log_path = log_path
        self.log_start = log_path.stat().st_size if log_path.exists() else 0
        pid_read, pid_write = os.pipe()
        try:
            self._leash = self._spawn(pid_write, held_fds)
        finally:
            os.close(pid_write)
        with open(pid_read, "rb") as pipe:
            line = pipe.readline()
        if not line:
            raise StackError(f"{command.name} could not be put on a leash; {log_path} says why.")
        self.pid = int(line)

    def _spawn(self, pid_fd: int, held_fds: tuple[int, ...]) -> "subprocess.Popen[bytes]":
        command = self.command
        leash = [sys.executable, "-I", "-S", str(LEASH), "--pid-fd", str(pid_fd)]
        leash += ["--stop-signal", str(int(command.stop_signal)), "--grace", str(command.grace_seconds)]
        if command.uid is not None:
            leash += ["--uid", str(command.uid)]
        with open(self.log_path, "ab", opener=private_file) as log:
            return subprocess.Popen(  # noqa: S603
                [*leash, "--", *command.argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **command.env},
                cwd=command.cwd,
                pass_fds=(pid_fd, *held_fds),
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """None while it runs; 128 + signal where a signal ended it."""
        code = self._leash.poll()
        if code is not None and self._leash.stdin:
            self._leash.stdin.close()
        return code

    def ask_to_stop(self) -> None:
        """Send the polite signal, and do not wait."""
        if self.exit_code() is None:
            self._leash.terminate()

    def stop(self) -> None:
        """Stop it, politely and then not, and wait until nothing of it is left."""
        self.ask_to_stop()
        self._leash.wait()
        self.exit_code()

    def kill(self) -> None:
        """kill -9 the command, as a crash test does, and wait until nothing of it is left."""
        if self.exit_code() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def last_lines(self, count: int = 5) -> str:
        """The end of what this run wrote, for an error message."""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_start)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])


def private_file(path: str, flags: int) -> int:
    """An opener for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def rotate(log_path: Path) -> None:
    """Keep one older log beside the current one once it has grown large."""
    if log_path.exists() and log_path.stat().st_size > LOG_LIMIT_BYTES:
        log_path.replace(log_path.with_suffix(".log.1"))
