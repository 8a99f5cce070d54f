"""The rehearsal agent: `python -m runner.rehearsal`. A newcomer's Drawbridge has somebody to approve, watch and kill.

It asks as any agent would, and does real work in a real database: in a sandbox wherever one works, with the database as
its only way out. Now and then it tries what it may not.
"""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import psycopg

from runner import rehearsal_work
from runner.asking import wait_for_token
from runner.child import Child
from runner.client import Client
from runner.confinement import Confinement, Wanted
from runner.errors import Denied, Lapsed, RunnerError
from runner.execution import Execution
from runner.handover import Handover
from runner.sandbox import choice
from runner.sandbox.interface import Sandbox, Unavailable
from runner.settings import account
from runner.shapes import Asked, Credential, Granted
from runner.spool import Spool

PROFILE, CONFINED_PROFILE = "warehouse-orders", "warehouse-sandboxed"
DURATION_S = 1800
REST_S = 5.0
PURPOSES = (
    "Find orders that were packed but never shipped, and book a carrier for them",
    "Ticket #4812: chase late parcels and correct their shipping status",
    "Weekly check: compare open orders with what the carriers report",
    "Customers in Porto wait for their parcels: find out why, fix the shipments",
)
WORK = [sys.executable, rehearsal_work.__file__]
dice = random.SystemRandom()


class Shift(Execution):
    """One session. Remembers its newest credential, to try it when it should be dead."""

    newest: Credential | None = None

    def _take(self, handover: Handover, credentials: Sequence[Credential]) -> None:
        super()._take(handover, credentials)
        self.newest = credentials[-1] if credentials else self.newest

    def try_the_dead_credential(self) -> None:
        """What somebody would do who had stolen it. The refusal is worth a line on the timeline."""
        if self.newest is None:
            return
        secret = self.newest.secret
        said = {"user": secret["username"]}
        place = {"host": secret["host"], "port": secret["port"], "dbname": secret["dbname"]}
        try:
            rehearsal_work.connected(**place, user=secret["username"], password=secret["password"]).close()
            self.report("db.login", said)
        except psycopg.OperationalError as error:
            self.report("db.login", {**said, **rehearsal_work.refusal(error)}, "denied")


@contextmanager
def told(shift: Shift) -> Iterator[int]:
    """Where the work writes what it does: each line becomes an event."""
    ours, theirs = os.pipe()

    def report() -> None:
        with os.fdopen(ours) as lines:
            for line in lines:
                content = json.loads(line)
                shift.report(content["kind"], content["data"], content["outcome"])

    reader = threading.Thread(target=report, name="work", daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join(5)


def work(shift: Shift, sandbox: Sandbox | None, folder: Path) -> int:
    """Its exit code. Raises RunnerError where it cannot begin."""
    with told(shift) as out:
        if sandbox is None:
            return shift.run(WORK, lambda over: Child(WORK, over.environment(os.environ, shift.session_id), out))
        nothing = os.open(os.devnull, os.O_RDONLY)
        with (
            closing(os.fdopen(nothing)),
            Confinement(sandbox, confined(folder, (nothing, out, 2)), shift) as confinement,
        ):
            return shift.run(WORK, confinement.start)


def confined(folder: Path, stdio: tuple[int, int, int]) -> Wanted:
    """Python and its packages can be read inside, and one file of ours."""
    places = {Path(sys.prefix), Path(sys.base_prefix), Path(rehearsal_work.__file__)}
    readable = [one for one in sorted(places) if not one.is_relative_to("/usr")]
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    return Wanted(WORK, workspace, readable=readable, stdio=stdio)


def one_session(client: Client, key: str, folder: Path) -> int:
    """Ask, wait, work until the end; the work's exit code. Raises RunnerError where it does not come to that."""
    offered = client.who_am_i(key).profiles
    sandbox = place() if CONFINED_PROFILE in offered else None
    asked = client.ask(key, CONFINED_PROFILE if sandbox else PROFILE, dice.choice(PURPOSES), DURATION_S)
    say(f"asked for a session; {asked.user_code} waits for approval at {asked.link}")
    granted = approved(client, key, asked)
    say(f"session {granted.session_id} was approved, and is worked in {sandbox.name if sandbox else 'no sandbox'}")
    with closing(Spool(folder / granted.session_id, partial(client.report, granted.token))) as spool:
        shift = Shift(client, granted.token, granted.session_id, spool)
        code = work(shift, sandbox, folder)
        if shift.over:
            # Longer than any revocation takes, shorter than what late events may be late by.
            time.sleep(1)
            shift.try_the_dead_credential()
        else:
            with suppress(RunnerError):
                client.end(granted.token, granted.session_id, exit_code=code)
    return code


def place() -> Sandbox | None:
    try:
        return choice.chosen(choice.AUTO)
    except Unavailable:
        return None


def approved(client: Client, key: str, asked: Asked) -> Granted:
    """Whoever is stopped while they wait takes their request back."""
    try:
        return wait_for_token(client, asked.device_code, asked.interval_s)
    except SystemExit:
        with suppress(RunnerError):
            client.withdraw(key, asked.session_id)
        raise


def say(text: str) -> None:
    print(f"rehearsal: {text}", flush=True)


def find_key() -> None:
    """Unless it is named, the key lies where seed_local puts it: beside the file of the first people."""
    people = os.environ.get("PEOPLE_FILE")
    if people:
        os.environ.setdefault("DRAWBRIDGE_AGENT_KEY_FILE", str(Path(people).with_name("rehearsal-key")))


def main() -> None:
    """Session after session, until somebody ends the process."""
    find_key()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder, suppress(KeyboardInterrupt):
        try:
            mine = account()
        except RunnerError as error:
            sys.exit(f"rehearsal: {error}")
        client = Client(mine.url)
        while True:
            # A command that has run leaves its own handler behind.
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
            try:
                if one_session(client, mine.key, Path(folder)) == 0:
                    # The work ends by itself only when somebody stops us.
                    sys.exit(0)
            except (Denied, Lapsed) as refused:
                say(f"{refused} Asking again later.")
                time.sleep(REST_S * 4)
            except RunnerError as error:
                say(str(error))
            time.sleep(REST_S)


if __name__ == "__main__":
    main()
