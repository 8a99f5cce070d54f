"""What a sandbox is to the rest of the runner: built, released, waited for, killed.

Inside there is no network but `lo`, a read-only system, the workspace at its own path, the handover folder at INSIDE,
an empty home at HOME, and nobody else's processes, sockets or secrets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runner.errors import RunnerError

INSIDE = Path("/run/drawbridge")
HOME = Path("/home/agent")
# What the command may be told of the machine; everything else in its environment is ours.
GIB = 1024**3


class Unavailable(RunnerError):
    """No sandbox works here, or not the one that was asked for: says what to install."""

    exit_code = 8


@dataclass(frozen=True)
class Limits:
    """None is no limit. `memory_bytes` needs a control group that is ours; the others are limits of processes."""

    processes: int = 2048
    open_files: int = 4096
    file_bytes: int = 16 * GIB
    memory_bytes: int | None = None
    address_space_bytes: int | None = None


@dataclass(frozen=True)
class Spec:
    """One command. `environment` is all that it gets. `stdio` are three descriptors; with `terminal` they are one
    pseudo terminal of our own, which becomes its controlling terminal."""

    argv: Sequence[str]
    workspace: Path
    environment: Mapping[str, str] = field(repr=False)
    handover: Path
    readable: Sequence[Path] = ()
    limits: Limits = Limits()
    stdio: tuple[int, int, int] = (0, 1, 2)
    terminal: bool = False


class Running(Protocol):
    """A sandbox that was built. Its command waits for `release`, so that listeners can be put inside before."""

    @property
    def pid(self) -> int:
        """The first process of its pid namespace, as seen from outside."""

    @property
    def namespaces(self) -> Mapping[str, Path]:
        """`net`, `pid`, `mnt`, `user`, ...: paths that setns can open while it lives."""

    @property
    def limits(self) -> Mapping[str, int]:
        """Those that really hold."""

    def release(self) -> None:
        """Let the command begin."""

    def signal(self, number: int) -> None:
        """Send a signal to the command (not to what it started)."""

    def wait(self) -> int:
        """The command's exit code, 128 and the signal that ended it. When it returns, nothing is left inside.
        From the thread that started it."""

    def kill(self) -> None:
        """End everything inside, within a second. From any thread, as often as you like."""


class Sandbox(Protocol):
    """A kind of sandbox."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Of the program that builds it."""

    def available(self) -> str | None:
        """Why it does not work here, and what to do; None where it works. Tried, not guessed."""

    def start(self, spec: Spec) -> Running:
        """Build it. Raises Unavailable, or runner.child.CannotStart where there is no such command inside."""
