"""Each probe twice: inside the sandbox, where it has to fail, and without a boundary, where it has to succeed."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from runner.bridge import Bridge
from runner.errors import RunnerError
from runner.line import Line, proxy_secret
from runner.probes.laboratory import SESSION, TOKEN, Laboratory, as_line
from runner.probes.outcome import CROSSED, HELD, INVALID, SKIPPED, Outcome
from runner.probes.probe import Judge, Probe
from runner.sandbox.command import Command
from runner.sandbox.interface import INSIDE, Running, Sandbox, Spec
from runner.surroundings import environment

SETTLES_S, ARRIVES_S, ANSWERS_S, BEATS_S = 0.15, 2.0, 20.0, 0.4
NO_GATEWAY = "There is no gateway here to be probed: install drawbridge whole."
NOT_OURS = "This sandbox does not lead to a gateway of ours."
# A kernel that was built without it, or does not show it.
NOT_HERE = ("Function not implemented", "'/proc/sysrq-trigger'")
Seen = tuple[bool, str]


class Trial:
    """All probes in one sandbox, and their controls. Used as a context."""

    def __init__(self, laboratory: Laboratory, sandbox: Sandbox) -> None:
        self._lab, self._sandbox = laboratory, sandbox
        # Somebody else's sandbox has no way out through a gateway, and nothing is handed over to it.
        self._ours = not isinstance(sandbox, Command)
        self._handed = str(INSIDE if self._ours else laboratory.handover)

    def __enter__(self) -> "Trial":
        self._open = ExitStack()
        self._inside = Driven(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.close()
        self._open.close()

    def outcomes(self, probes: Sequence[Probe]) -> Iterator[Outcome]:
        for probe in probes:
            if probe.gateway and not (self._ours and self._lab.gateways):
                yield _outcome(probe, SKIPPED, SKIPPED, why=NO_GATEWAY if self._ours else NOT_OURS)
            else:
                tried = self._tried(probe)
                yield tried
                if tried.outcome == CROSSED:
                    # Whoever got out may have broken what the next ones need.
                    self._inside.close()
                    self._inside = Driven(self)

    def start(self, argv: Sequence[str], stdin: int, stdout: int, *, terminal: bool = False) -> Running:
        """A sandbox as sessions have it, with its way out where there is a gateway."""
        spec = Spec(
            argv=argv,
            workspace=self._lab.workspace,
            environment=environment(os.environ, SESSION, ()),
            handover=self._lab.handover,
            stdio=(stdin, stdout, stdout),
            terminal=terminal,
        )
        running = self._sandbox.start(spec)
        if self._ours and self._lab.gateways:
            line = Line(SESSION, proxy_secret(TOKEN), list(self._lab.gateways))
            bridge = Bridge(line, self._lab.handover / "ca.pem", b"")
            self._open.callback(bridge.close)
            bridge.fetch_ca()
            bridge.open(running.namespaces["net"], bridge.forwards())
        running.release()
        return running

    def _tried(self, probe: Probe) -> Outcome:
        inside, without = (_Lives(self, self._lab).both if probe.judge is Judge.LIFE else self._both)(probe)
        if inside[0]:
            return _outcome(probe, CROSSED, CROSSED if without[0] else HELD, inside[1], "It crossed.")
        if not without[0] and any(one in without[1] for one in NOT_HERE):
            return _outcome(probe, SKIPPED, SKIPPED, inside[1], f"This machine has no such thing: {without[1]}")
        if not without[0]:
            why = f"Without a boundary it failed, too: {without[1]}"
            return _outcome(probe, INVALID, HELD, inside[1], why)
        return _outcome(probe, HELD, CROSSED, inside[1], f"Without a boundary: {without[1]}")

    def _both(self, probe: Probe) -> tuple[Seen, Seen]:
        nonce = uuid.uuid4().hex[:16]
        within = self._lab.filled(probe.arguments, nonce, self._handed)
        beyond = {**self._lab.filled(probe.arguments, nonce, str(self._lab.handover)),
                  **self._lab.filled(probe.control, nonce, str(self._lab.handover))}  # fmt: skip
        line = as_line(probe.what, within)
        ask = (lambda: self._in_terminal(line)) if probe.terminal else (lambda: self._inside.ask(line))
        inside = self._judged(probe, nonce, ask, SETTLES_S)
        without = self._judged(probe, nonce, lambda: self._without(probe, beyond), ARRIVES_S)
        return inside, without

    def _judged(self, probe: Probe, nonce: str, attempt: Callable[[], Seen], patience_s: float) -> Seen:
        self._lab.canary.taken()
        crossed, saw = attempt()
        if probe.judge is not Judge.CANARY:
            return crossed, saw
        deadline = time.monotonic() + patience_s
        while True:
            crossing = [one for one in self._lab.canary.taken() if one.crosses(nonce)]
            if crossing:
                return True, f"{len(crossing)} arrived at {crossing[0].address} port {crossing[0].port}; {saw}"
            if time.monotonic() > deadline:
                return False, f"nothing arrived; {saw}"
            time.sleep(0.02)

    def _without(self, probe: Probe, arguments: dict[str, object]) -> Seen:
        """The same program in the laboratory's network, as the user who runs the probes."""
        command = [sys.executable, "probe.py", probe.what, json.dumps(arguments)]
        if probe.terminal:
            return _answer(_in_pty(command, self._lab.workspace))
        ran = subprocess.run(
            command,
            cwd=self._lab.workspace,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWERS_S,
        )
        return _answer(ran.stdout)

    def _in_terminal(self, line: str) -> Seen:
        """In a sandbox with a terminal of its own."""
        ours, theirs = pty.openpty()
        running = self.start(["python3", "probe.py", *json.loads(line)], theirs, theirs, terminal=True)
        os.close(theirs)
        said = _drained(ours)
        running.wait()
        return _answer(said)


class Driven:
    """A live sandbox that tries what it is told, one line at a time."""

    def __init__(self, trial: Trial) -> None:
        inside, self._ask = os.pipe()
        self._hear, out = os.pipe()
        self._running = trial.start(["python3", "probe.py"], inside, out)
        os.close(inside)
        os.close(out)
        self._answers: IO[str] = os.fdopen(self._hear)

    def close(self) -> None:
        os.close(self._ask)
        self._running.kill()
        self._running.wait()
        self._answers.close()

    def ask(self, line: str) -> Seen:
        try:
            os.write(self._ask, line.encode() + b"\n")
        except BrokenPipeError as error:
            said = self._answers.read().strip().splitlines() or ["it said nothing"]
            raise RunnerError(f"What runs inside has ended: {said[-1][:200]}") from error
        return _answer(self._answers.readline())


class _Lives:
    """Whether something goes on when it should have ended: seen by the file that it writes again and again."""

    def __init__(self, trial: Trial, laboratory: Laboratory) -> None:
        self._trial, self._lab = trial, laboratory

    def both(self, probe: Probe) -> tuple[Seen, Seen]:
        arguments = self._lab.filled(probe.arguments, "", "")
        stays = ["python3", "probe.py", probe.what, json.dumps(arguments)]
        killed = probe.id == "L01"
        # What is to be killed waits; what ends by itself does not.
        shell = ["sh", "-c", '"$@"; ' + ("sleep 30" if killed else ":"), "sh"]
        beat = Path(arguments["path"])
        return self._inside([*shell, *stays], beat, killed), self._without(
            [*shell, sys.executable, *stays[1:]], beat, killed
        )

    def _inside(self, argv: Sequence[str], beat: Path, killed: bool) -> Seen:
        running = self._trial.start(argv, os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
        _beating(beat)
        if killed:
            running.kill()
        running.wait()
        return _still(beat)

    def _without(self, argv: Sequence[str], beat: Path, killed: bool) -> Seen:
        beat.unlink(missing_ok=True)
        with subprocess.Popen(argv, cwd=self._lab.workspace, stdout=subprocess.DEVNULL, process_group=0) as process:
            _beating(beat)
            if killed:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        seen = _still(beat)
        with suppress(ProcessLookupError, ValueError):
            os.kill(_written_by(beat), signal.SIGKILL)
        return seen


def _beating(beat: Path) -> None:
    deadline = time.monotonic() + ANSWERS_S
    while not beat.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _written_by(beat: Path) -> int:
    """The pid in it, which is written again and again: between two times it may be empty."""
    while not (words := beat.read_text().split()):
        time.sleep(0.01)
    return int(words[0])


def _still(beat: Path) -> Seen:
    before = beat.read_text() if beat.exists() else ""
    time.sleep(BEATS_S)
    after = beat.read_text() if beat.exists() else ""
    return before != after, "it goes on" if before != after else "it is gone"


def _answer(said: str) -> Seen:
    for line in said.splitlines():
        if "{" in line:
            # Whatever was typed into the terminal stands before it.
            answer = json.loads(line[line.index("{") :])
            return bool(answer["crossed"]), str(answer["saw"])
    return False, f"no answer: {said[:80]!r}"


def _in_pty(command: Sequence[str], folder: Path) -> str:
    """In front of a terminal."""
    pid, ours = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execv(command[0], list(command))  # noqa: S606
    said = _drained(ours)
    os.waitpid(pid, 0)
    return said


def _drained(ours: int) -> str:
    said = b""
    with suppress(OSError):
        while data := os.read(ours, 4096):
            said += data
    os.close(ours)
    return said.decode(errors="replace")


def _outcome(probe: Probe, outcome: str, control: str, saw: str = "", why: str = "") -> Outcome:
    return Outcome(probe.id, probe.title, probe.what, probe.source, outcome, control, saw[:300], why[:300])
