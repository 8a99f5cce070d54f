"""A command with the credentials of a session, for as long as the session lasts."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from runner.child import Child, Command
from runner.client import Client
from runner.errors import Denied, Refused, RunnerError, Unreachable, Usage
from runner.handover import Handover
from runner.shapes import Credential, Event, Status
from runner.spool import Spool, say

Start = Callable[[Handover], Command]
HOLD_S = 30
RETRY_S, ACTIVE_WITHIN_S = 2.0, 120.0
# Like timeout(1), and like a shell's 128 and SIGKILL.
EXIT_SESSION_OVER, EXIT_KILLED = 124, 137


class Execution:
    """One command in one session. Two threads wait on the control plane: for the end, and for new credentials."""

    def __init__(self, client: Client, token: str, session_id: str, spool: Spool) -> None:
        self.client, self.token, self.session_id, self._spool = client, token, session_id, spool
        self._over: Status | None = None
        self._done = threading.Event()
        self._alive_until = datetime.now(UTC)

    @property
    def over(self) -> bool:
        """Whether the session ended before the command did."""
        return self._over is not None

    def run(self, argv: Sequence[str], start: "Start | None" = None) -> int:
        """Run it to its end. Returns its exit code, or EXIT_KILLED or EXIT_SESSION_OVER where the session ended it.

        `start` makes a command of what was handed over; without it, it runs here as it is.
        """
        first = first_credentials(self.client, self.token, self.session_id)
        with Handover() as handover:
            self._take(handover, first)
            if start is None:
                self._go_without_sandbox()
            child = start(handover) if start else Child(argv, handover.environment(os.environ, self.session_id))
            watch = threading.Thread(target=self._watch, args=(child,), name="watch", daemon=True)
            renew = threading.Thread(target=self._renew, args=(handover,), name="renew", daemon=True)
            watch.start()
            renew.start()
            # After the watch has begun: a disk that is slow or full holds no kill up.
            self.report("process.started", {"argv": list(argv), "pid": child.pid})
            code = child.wait()
            self._done.set()
            if self._over is not None:
                # What the command left behind in its group has its five seconds, too.
                watch.join()
        return self._ended(child, code)

    def _go_without_sandbox(self) -> None:
        """Raises Usage where the session's profile demands one."""
        if self.client.status(self.token, self.session_id).sandbox == "required":
            raise Usage("This session may run in a sandbox only: use drawbridge run.")
        self.report("sandbox.absent", {})

    def _ended(self, child: Command, code: int) -> int:
        over = self._over
        data = {"pid": child.pid, "exit_code": code, **({"because": over.how} if over else {})}
        self.report("process.ended", data, "success" if code == 0 and over is None else "failure")
        if over is None:
            return code
        say(f"the session is over ({over.how}), so the command was ended.")
        return EXIT_KILLED if over.killed else EXIT_SESSION_OVER

    def _watch(self, child: Command) -> None:
        """Wait for the end of the session, and end the command with it."""
        state = "active"
        while not self._done.is_set():
            status = self._look(state)
            if status is None:
                self._done.wait(RETRY_S)
            elif status.over:
                self._over = status
                child.end()
                return
            elif status.state != state:
                say(f"the session is {status.state} now.")
                state = status.state

    def _look(self, state: str) -> Status | None:
        """How the session stands. While nobody answers, its credentials' own end is the end."""
        try:
            return self.client.status(self.token, self.session_id, state, HOLD_S)
        except Refused as refused:
            return _over(self.session_id, refused.code) if refused.over else None
        except Unreachable:
            out = datetime.now(UTC) > self._alive_until
            return _over(self.session_id, "its credentials ended, and the server does not answer") if out else None

    def _renew(self, handover: Handover) -> None:
        """Take each new generation as soon as it is there: well before the one in use ends."""
        while not self._done.is_set():
            try:
                fresh = self.client.credentials(self.token, self.session_id, HOLD_S)
            except RunnerError as error:
                if isinstance(error, Refused) and error.over:
                    return
                self._done.wait(RETRY_S)
                continue
            if fresh:
                self._take(handover, fresh)

    def _take(self, handover: Handover, credentials: Sequence[Credential]) -> None:
        handover.take(credentials)
        self._alive_until = max([self._alive_until, *(one.expires_at for one in credentials)])

    def note(self, kind: str, data: dict[str, object]) -> None:
        """Report without waiting for the disk: for what comes by the hundred."""
        self._spool.offer([Event(kind, data).line()])

    def report(self, kind: str, data: dict[str, object], outcome: str = "success") -> None:
        self._spool.add(Event(kind, data, outcome))


def first_credentials(
    client: Client, token: str, session_id: str, patience_s: float = 120.0, clock: Callable[[], float] = time.monotonic
) -> list[Credential]:
    """A live credential for each slot. Those that an earlier command took and has no more are replaced."""
    taken = client.credentials(token, session_id)
    status = client.status(token, session_id)
    if status.over:
        raise Denied(f"The session is over: {status.how}. Ask for a new one.")
    newest = {one.slot: one for one in status.credentials if one.handed_over}
    wanted = set(newest)
    for slot, lost in newest.items():
        if lost.state == "issued" and lost.delivered and slot not in {one.slot for one in taken}:
            client.replace(token, session_id, lost.id)
    deadline = clock() + patience_s
    while wanted - {one.slot for one in taken}:
        if clock() > deadline:
            raise Unreachable("The session's credentials were not made in time. Try again soon.")
        taken += client.credentials(token, session_id, HOLD_S)
    return taken


def until_active(client: Client, token: str, session_id: str, clock: Callable[[], float] = time.monotonic) -> Status:
    """How it stands as soon as something may pass for it. Raises Denied where it is over, Unreachable."""
    deadline = clock() + ACTIVE_WITHIN_S
    status = client.status(token, session_id)
    while status.state != "active":
        if status.over:
            raise Denied(f"The session is over: {status.how}. Ask for a new one.")
        if clock() > deadline:
            raise Unreachable(f"The session is {status.state}, and did not begin in time. Try again soon.")
        status = client.status(token, session_id, status.state, HOLD_S)
    return status


def _over(session_id: str, how: str) -> Status:
    return Status(session_id, "ended", how, how == "session_killed", "", None, ())
