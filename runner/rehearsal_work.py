"""What the rehearsal agent does, with what a command of any session has: a libpq service, and nothing else.

Each thing that it does is one line of JSON on standard output. It imports nothing of ours: in a sandbox nothing of ours
needs to be seen.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

dice = random.SystemRandom()
AGAIN_S, PATIENCE_S, LOOK_EVERY_S = 1.0, 30.0, 10.0


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


def main() -> int:
    """Until it is told to end. 1 where it never came to the database: then nobody waits for it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    deadline, worked = time.monotonic() + PATIENCE_S, False
    while worked or time.monotonic() < deadline:
        try:
            with closing(connected()) as connection:
                worked = True
                tell("db.connected", {"user": connection.info.user})
                use(connection)
        except psycopg.OperationalError as error:
            tell("db.connection_cut", refusal(error), "failure")
            time.sleep(AGAIN_S)
    return 1


def connected(**parameters: Any) -> "psycopg.Connection[Any]":
    """Without parameters: by the service that the environment names."""
    return psycopg.connect(**parameters, application_name="rehearsal agent", connect_timeout=5, autocommit=True)


def use(connection: "psycopg.Connection[Any]") -> None:
    """One statement after another; returns when there is a newer credential."""
    handed_over = service()
    while service() == handed_over:
        until = time.monotonic() + LOOK_EVERY_S
        while time.monotonic() < until:
            run(connection, dice.choice(OUT_OF_SCOPE if dice.random() < STRAYS else WORK))
            time.sleep(dice.uniform(0.5, 2.0))


def service() -> str:
    """The service file: it names another user with each new credential."""
    return Path(os.environ["PGSERVICEFILE"]).read_text()


def run(connection: "psycopg.Connection[Any]", statement: Statement) -> None:
    began = time.perf_counter()
    said = {"statement": statement.sql, "table": statement.table}
    try:
        cursor = connection.execute(statement.sql, statement.values())
    except psycopg.errors.InsufficientPrivilege as error:
        tell("db.statement", {**said, **refusal(error)}, "denied")
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        tell("db.statement", {**said, **refusal(error)}, "failure")
    else:
        elapsed_ms = round((time.perf_counter() - began) * 1000, 2)
        tell("db.statement", {**said, "rows": cursor.rowcount, "elapsed_ms": elapsed_ms})


def refusal(error: psycopg.Error) -> dict[str, Any]:
    """What PostgreSQL said, in its own words."""
    return {"sqlstate": error.sqlstate, "message": str(error).strip().splitlines()[0][:300]}


def tell(kind: str, data: dict[str, Any], outcome: str = "success") -> None:
    print(json.dumps({"kind": kind, "data": data, "outcome": outcome}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
