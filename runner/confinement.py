"""`drawbridge run`: a command in a sandbox whose only way out is the session's gateway."""

import os
import signal
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from runner.bridge import Bridge, Forward
from runner.child import FORWARDED, Command
from runner.console import Console
from runner.execution import Execution, until_active
from runner.handover import Handover
from runner.kernel import Observer, Unobservable
from runner.line import Line, proxy_secret
from runner.sandbox.interface import HOME, INSIDE, Limits, Running, Sandbox, Spec
from runner.spool import say
from runner.surroundings import environment

# What a machine calls its bundle of authorities: Debian and its kin, Fedora and its kin, Alpine.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
GRACE_S = 0.5


@dataclass(frozen=True)
class Wanted:
    """What the person at the terminal asks for. `passed` names variables, `readable` folders outside the workspace."""

    argv: Sequence[str]
    workspace: Path
    passed: Collection[str] = ()
    readable: Sequence[Path] = ()
    limits: Limits = Limits()
    stdio: tuple[int, int, int] = (0, 1, 2)


@dataclass
class Confinement:
    """Builds it around a handover. Used as a context: leaving it ends the way out."""

    sandbox: Sandbox
    wanted: Wanted
    execution: Execution

    def __enter__(self) -> "Confinement":
        self._open = ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start(self, handover: Handover) -> Command:
        """Raises RunnerError: then nothing is left of it."""
        handover.seen_at = INSIDE
        bridge, forwards, injections = self._way_out(handover)
        session_id = self.execution.session_id
        variables = environment(os.environ, session_id, injections, self.wanted.passed, handover.variables())
        console = self._open.enter_context(Console()) if _in_front_of_terminal(self.wanted.stdio) else None
        stdio = (console.theirs,) * 3 if console else self.wanted.stdio
        running = self.sandbox.start(
            Spec(
                argv=self.wanted.argv,
                workspace=self.wanted.workspace,
                environment=variables,
                handover=handover.folder,
                readable=self.wanted.readable,
                limits=self.wanted.limits,
                stdio=stdio,
                terminal=console is not None,
            )
        )
        try:
            if bridge is not None:
                bridge.open(running.namespaces["net"], forwards)
            self._tell(running)
            self._observe(running)
            command = Confined(running, console)
            running.release()
        except BaseException:
            running.kill()
            raise
        return command

    def _way_out(self, handover: Handover) -> tuple[Bridge | None, Sequence[Forward], Sequence[tuple[str, str]]]:
        execution = self.execution
        gateways = until_active(execution.client, execution.token, execution.session_id).gateways
        if not gateways:
            say("there is no gateway now: nothing leaves this sandbox.")
            return None, (), ()
        line = Line(execution.session_id, proxy_secret(execution.token), list(gateways))
        bridge = Bridge(line, handover.folder / "ca.pem", _own_bundle())
        self._open.callback(bridge.close)
        bridge.fetch_ca()
        forwards = bridge.forwards()
        handover.routes = {one.place: one.listen for one in forwards}
        handover.take(())
        return bridge, forwards, bridge.injections()

    def _observe(self, running: Running) -> None:
        """Files and programs, where the kernel lets us look; where not, that is said once."""
        files = [str(self.wanted.workspace), str(HOME), "/tmp", str(INSIDE)]  # noqa: S108
        try:
            observer = Observer(running.pid, files, ("/usr", "/"), self.execution.note)
        except Unobservable as why:
            self.execution.report("sandbox.unobserved", {"why": str(why)})
        else:
            self._open.callback(observer.close)

    def _tell(self, running: Running) -> None:
        limits: Mapping[str, object] = dict(running.limits)
        told: dict[str, object] = {"sandbox": self.sandbox.name, "version": self.sandbox.version, "limits": limits}
        self.execution.report("sandbox.started", {**told, "workspace": str(self.wanted.workspace)})


class Confined:
    """A running command in a sandbox, as an execution has it (runner.child.Command)."""

    def __init__(self, running: Running, console: Console | None) -> None:
        self._running, self._over = running, threading.Event()
        if console is not None:
            console.started()
        for number in FORWARDED:
            signal.signal(number, lambda number, _: running.signal(number))

    @property
    def pid(self) -> int:
        return self._running.pid

    def wait(self) -> int:
        code = self._running.wait()
        self._over.set()
        return code

    def end(self) -> None:
        """A moment to tidy up, and then everything inside is gone, within a second."""
        with suppress(OSError):
            self._running.signal(signal.SIGTERM)
        self._over.wait(GRACE_S)
        self._running.kill()


def _own_bundle() -> bytes:
    found = next((Path(one) for one in BUNDLES if Path(one).exists()), None)
    return found.read_bytes() if found is not None else b""


def _in_front_of_terminal(stdio: tuple[int, int, int]) -> bool:
    try:
        return stdio == (0, 1, 2) and os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
