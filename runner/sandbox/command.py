"""Somebody else's sandbox: a command that runs another command inside, such as `srt` or `bwrap ... --`.

Only to be probed. Sessions run in sandboxes of ours alone, whose way out leads to gateways.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runner.child import CannotStart
from runner.reaping import waited
from runner.sandbox.interface import Spec

ASKED_S = 10.0


class Command:
    """With an empty command it is no sandbox at all: what everything is compared with."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    @property
    def name(self) -> str:
        return Path(self._command[0]).name if self._command else "none"

    @property
    def version(self) -> str:
        """The first line of what `--version` prints."""
        if not self._command:
            return ""
        with suppress(OSError, subprocess.TimeoutExpired):
            ran = subprocess.run([self._command[0], "--version"], capture_output=True, text=True, timeout=ASKED_S)
            return (ran.stdout.strip().splitlines() or [""])[0][:60] if ran.returncode == 0 else ""
        return ""

    def available(self) -> str | None:
        if self._command and shutil.which(self._command[0]) is None:
            return f"There is no command {self._command[0]!r} here."
        return None

    def start(self, spec: Spec) -> "Commanded":
        """As an agent would be started in it: with everything that is in the environment."""
        try:
            process = subprocess.Popen(
                [*self._command, *spec.argv],
                cwd=spec.workspace,
                stdin=spec.stdio[0],
                stdout=spec.stdio[1],
                stderr=spec.stdio[2],
                start_new_session=True,
            )
        except OSError as error:
            raise CannotStart(f"{self.name} cannot be started: {error.strerror}.", 126) from error
        return Commanded(process)


class Commanded:
    """See interface.Running. What its sandbox does about limits and namespaces is its own affair."""

    limits: Mapping[str, int] = {}
    namespaces: Mapping[str, Path] = {}

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self.pid = process, process.pid

    def release(self) -> None:
        """It waits for nobody."""

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        self._process.returncode = code = os.waitstatus_to_exitcode(waited(self.pid))
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        """What its supervisor can do: kill what it started."""
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)
