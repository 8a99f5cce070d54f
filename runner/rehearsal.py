"""The rehearsal agent: `python -m runner.rehearsal`. A newcomer's Drawbridge has somebody to approve, watch and kill.

It uses the API as any agent would, and does real work in a real database; now and then it tries what it may not.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from runner.asking import wait_for_token
from runner.client import Client
from runner.errors import Denied, Lapsed, Refused, RunnerError, Unreachable
from runner.settings import account
from runner.shapes import Credential, Event, Granted
from runner.spool import Spool

PROFILE = "warehouse-orders"
DURATION_S = 1800
REST_S = 5.0
LOOK_EVERY_S = 10.0
dice = random.SystemRandom()
PURPOSES = (
    "Find orders that were packed but never shipped, and book a carrier for them",
    "Ticket #4812: chase late parcels and correct their shipping status",
    "Weekly check: compare open orders with what the carriers report",
    "Customers in Porto wait for their parcels: find out why, fix the shipments",
)


@dataclass(frozen=True)
class Statement:
    """One piece of work. `within` says whether the scope of the profile allows it."""

    table: str
    sql: str
    values: Callable[[], Sequence[Any]] = tuple
    within: bool = True


WORK = (
    Statement(
        "orders",
        "SELECT id, customer_id, total_cents FROM orders WHERE status = %s ORDER BY placed_at LIMIT 10",
        lambda: [dice.choice(("placed", "packed", "shipped"))],
    ),
    Statement(
        "customers",
        "SELECT c.name, c.city, o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = %s",
        lambda: [dice.randint(1, 50)],
    ),
    Statement(
        "shipments",
        "SELECT s.id, s.tracking_code FROM shipments s JOIN orders o ON o.id = s.order_id "
        "WHERE s.status = 'delayed' AND o.status <> 'delivered' ORDER BY s.id LIMIT 5",
    ),
    Statement(
        "shipments",
        "UPDATE shipments SET status = %s WHERE id = (SELECT id FROM shipments WHERE status <> 'delivered' "
        "ORDER BY random() LIMIT 1)",
        lambda: [dice.choice(("in transit", "delayed"))],
    ),
    Statement(
        "shipments",
        "INSERT INTO shipments (order_id, carrier, tracking_code, status) "
        "SELECT id, %s, %s, 'waiting' FROM orders WHERE status = 'packed' ORDER BY random() LIMIT 1",
        lambda: [dice.choice(("Northpost", "Swift", "Harbour")), f"RH{dice.getrandbits(48):012X}"],
    ),
)
OUT_OF_SCOPE = (
    Statement("payments", "SELECT order_id, card_last4 FROM payments ORDER BY paid_at DESC LIMIT 5", within=False),
    Statement("orders", "DELETE FROM orders WHERE status = 'returned'", within=False),
    Statement("customers", "UPDATE customers SET email = 'nobody@example.test' WHERE id = 1", within=False),
)
STRAYS = 0.08


class Over(Exception):
    """The session has ended."""


class Shift:
    """One session: the credential in use, the connection that it opened, and what is reported."""

    def __init__(self, client: Client, granted: Granted, spool: Spool) -> None:
        self._client, self._granted, self._spool = client, granted, spool
        self._credential = self._first_credential()
        self._looked = time.monotonic()

    def work(self) -> None:
        """Work until the session is over, with a new connection whenever there is a new credential."""
        while True:
            try:
                with connection(self._credential) as open_connection:
                    self._report("db.connected", {"user": self._credential.secret["username"]})
                    self._use(open_connection)
            except psycopg.OperationalError as error:
                self._report("db.connection_cut", refusal(error), "failure")
                self._look(wait_s=2)

    def _use(self, open_connection: "psycopg.Connection[Any]") -> None:
        """One statement after another; returns when there is a newer credential."""
        while True:
            self._run(open_connection, next_statement())
            time.sleep(dice.uniform(0.5, 2.0))
            if time.monotonic() - self._looked > LOOK_EVERY_S and self._look():
                return

    def _run(self, open_connection: "psycopg.Connection[Any]", statement: Statement) -> None:
        began = time.perf_counter()
        said = {"statement": statement.sql, "table": statement.table}
        try:
            cursor = open_connection.execute(statement.sql, statement.values())
        except psycopg.errors.InsufficientPrivilege as error:
            self._report("db.statement", {**said, **refusal(error)}, "denied")
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            self._report("db.statement", {**said, **refusal(error)}, "failure")
        else:
            elapsed_ms = round((time.perf_counter() - began) * 1000, 2)
            self._report("db.statement", {**said, "rows": cursor.rowcount, "elapsed_ms": elapsed_ms})

    def _look(self, wait_s: int = 0) -> bool:
        """Whether there is a newer credential. Raises Over when the session has ended."""
        self._looked = time.monotonic()
        token, session_id = self._granted.token, self._granted.session_id
        try:
            fresh = self._client.credentials(token, session_id, wait_s)
        except Unreachable:
            time.sleep(wait_s)
            return False
        except Refused as refused:
            if refused.over:
                raise Over(str(refused)) from refused
            raise
        if fresh:
            self._credential = fresh[-1]
        return bool(fresh)

    def try_the_dead_credential(self) -> None:
        """What somebody would do who had stolen it. The refusal is worth a line on the timeline."""
        said = {"user": self._credential.secret["username"]}
        try:
            with connection(self._credential):
                self._report("db.login", said)
        except psycopg.OperationalError as error:
            self._report("db.login", {**said, **refusal(error)}, "denied")

    def _first_credential(self) -> Credential:
        while True:
            fresh = self._client.credentials(self._granted.token, self._granted.session_id, 30)
            if fresh:
                return fresh[-1]

    def _report(self, kind: str, data: dict[str, Any], outcome: str = "success") -> None:
        self._spool.add(Event(kind, data, outcome))


@contextmanager
def connection(credential: Credential) -> "Iterator[psycopg.Connection[Any]]":
    """Closed at the end, whatever happened. A plain `with` of psycopg would wait for a dead server."""
    secret = credential.secret
    opened = psycopg.connect(
        host=secret["host"],
        port=secret["port"],
        dbname=secret["dbname"],
        user=secret["username"],
        password=secret["password"],
        application_name="rehearsal agent",
        connect_timeout=5,
        autocommit=True,
    )
    try:
        yield opened
    finally:
        opened.close()


def refusal(error: psycopg.Error) -> dict[str, Any]:
    """What PostgreSQL said, in its own words."""
    return {"sqlstate": error.sqlstate, "message": str(error).strip().splitlines()[0][:300]}


def next_statement() -> Statement:
    return dice.choice(OUT_OF_SCOPE if dice.random() < STRAYS else WORK)


def one_session(client: Client, key: str, folder: Path) -> None:
    """Ask, wait, work until the end. Raises RunnerError where it does not come to that."""
    asked = client.ask(key, PROFILE, dice.choice(PURPOSES), DURATION_S)
    say(f"asked for a session; {asked.user_code} waits for approval at {asked.link}")
    granted = wait_for_token(client, asked.device_code, asked.interval_s)
    say(f"session {granted.session_id} was approved")
    spool = Spool(folder / granted.session_id, partial(client.report, granted.token))
    try:
        shift = Shift(client, granted, spool)
        shift.work()
    except Over as over:
        say(str(over))
        # Longer than any revocation takes, shorter than what late events may be late by.
        time.sleep(1)
        shift.try_the_dead_credential()
    finally:
        spool.close()


def say(text: str) -> None:
    print(f"rehearsal: {text}", flush=True)


def find_key() -> None:
    """Unless it is named, the key lies where seed_local puts it: beside the file of the first people."""
    people = os.environ.get("PEOPLE_FILE")
    if people:
        os.environ.setdefault("DRAWBRIDGE_AGENT_KEY_FILE", str(Path(people).with_name("rehearsal-key")))


def main() -> None:
    """Session after session, until somebody ends the process."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    find_key()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder, suppress(KeyboardInterrupt):
        try:
            mine = account()
        except RunnerError as error:
            sys.exit(f"rehearsal: {error}")
        client = Client(mine.url)
        while True:
            try:
                one_session(client, mine.key, Path(folder))
            except (Denied, Lapsed) as refused:
                say(f"{refused} Asking again later.")
                time.sleep(REST_S * 4)
            except RunnerError as error:
                say(str(error))
            time.sleep(REST_S)


if __name__ == "__main__":
    main()
