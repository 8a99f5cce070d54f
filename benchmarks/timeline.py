"""How long a page of the timeline takes the database, and as a whole, in a log of many events.

    script/bench timeline [--json] [--rows N]

`warm` is the time of all the database's work for one page (parsing, planning, running, fetching) on sessions that were
just looked at; `cold` is the first look at a session after PostgreSQL was started anew and the system's cache of its
files was dropped (posix_fadvise). `page` is the session page of the longest session through Django's test client.
`growth` says what a tenth of the rows takes.
"""

import argparse
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from stack import Stack
from stack.unprivileged import cluster_folder
from tests.drills.stage import standing

WARM, COLD_ROUNDS, COLD_EACH, PAGES = 200, 5, 10, 60
LONGEST = 300_000
Query = Callable[[uuid.UUID], object]


class Measured:
    """One log, its long session and the loader that fills it."""

    def __init__(self, stack: Stack, long: int) -> None:
        from audit import timeline
        from benchmarks.synthetic import Loader
        from tests import factories

        self.stack = stack
        self.world = factories.world()
        session = self.world.approved()
        factories.issue(session)
        self.long = session.id
        self.loader = Loader(stack.environment()["DATABASE_OWNER_URL"], tell)
        self.loader.prepare(long)
        self.loader.without_indexes()
        self.loader.add_long(session.id, session.agent_id, timeline.last_seq(session.id), long)
        self._random = random.Random(1)

    def grow(self, rows: int) -> None:
        self.loader.grow(rows)
        self.loader.index()

    def queries(self) -> Mapping[str, Query]:
        from audit import search
        from audit.filters import Filters
        from audit.uuid7 import moment_of
        from benchmarks.synthetic import SHORT_PACE_S

        def near(stream: uuid.UUID) -> Filters:
            since = moment_of(stream) + timedelta(seconds=SHORT_PACE_S * 20)
            return Filters(kinds=frozenset({"tool", "file.read"})).between(since, since + timedelta(minutes=5))

        def find(stream: uuid.UUID, filters: Filters, before: int | None = None) -> object:
            return search.find(stream, filters, before, 101)

        plain, host = Filters(), Filters(host="api7.example")
        words = [
            Filters(text=text) for text in ("shipments", "late depot r7", "file15838", "customer 7919", "zanzibar")
        ]
        return {
            "latest": lambda stream: find(stream, plain),
            "next": lambda stream: find(stream, plain, self._random.randint(200, 900)),
            "host": lambda stream: find(stream, host),
            "kind_and_time": lambda stream: find(stream, near(stream)),
            "text": lambda stream: find(stream, self._random.choice(words)),
        }

    def session(self) -> uuid.UUID:
        """Every second time the long one."""
        return self.long if self._random.random() < 0.5 else self._random.choice(self.loader.short)

    def warm(self, query: Query) -> list[float]:
        sessions = [self.session() for _ in range(WARM)]
        for stream in sessions:
            query(stream)
        return [timed(query, stream) for stream in sessions]

    def cold(self) -> dict[str, list[float]]:
        """Each sample is the first look at a session; the long one is among those of each start."""
        found: dict[str, list[float]] = {name: [] for name in self.queries()}
        for _ in range(COLD_ROUNDS):
            self.forget_caches()
            for name, query in self.queries().items():
                sessions = [self.long, *self._random.sample(self.loader.short, COLD_EACH - 1)]
                found[name] += [timed(query, stream) for stream in sessions]
        return found

    def forget_caches(self) -> None:
        """Nothing of the database is in memory but what a first connection reads of the catalog."""
        from django.db import connection, connections

        connections.close_all()
        connections["default"].close_pool()  # type: ignore[attr-defined]
        self.stack.stop("postgres")
        for path in cluster_folder(self.stack.data).rglob("*"):
            if path.is_file():
                drop(path)
        self.stack.start("postgres")
        stranger = uuid.UUID(int=0)
        for query in self.queries().values():
            query(stranger)
        connection.ensure_connection()

    def pages(self) -> list[float]:
        from django.test import Client
        from django.urls import reverse

        client, address = Client(SERVER_NAME="127.0.0.1"), reverse("session", args=[self.long])
        client.force_login(self.world.lead, "allauth.account.auth_backends.AuthenticationBackend")
        asked = ("", "?before=150000", "?host=api7.example", "?kind=tool", "?q=late+depot")

        def view(number: int) -> None:
            answer = client.get(address + asked[number % len(asked)])
            if answer.status_code != 200:
                raise RuntimeError(f"the page answered {answer.status_code}")

        for number in range(10):
            view(number)
        return [timed(view, number) for number in range(PAGES)]


def drop(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(act: Callable[[Any], object], given: object) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    act(given)
    return (time.perf_counter() - began) * 1000


def figures(measured: Measured, rows: int) -> dict[str, Any]:
    tell(f"measuring at {rows:,} rows")
    warm = {name: measured.warm(query) for name, query in measured.queries().items()}
    tell(f"warm p99 ms: { {name: p99(samples) for name, samples in warm.items()} }")
    pages = measured.pages()
    tell(f"page p99 ms: {p99(pages)}")
    cold = measured.cold()
    return {
        "rows": rows,
        "queries": {
            name: {
                "warm_p50_ms": round(median(warm[name]), 2),
                "warm_p99_ms": p99(warm[name]),
                "cold_p50_ms": round(median(cold[name]), 2),
                "cold_p99_ms": p99(cold[name]),
            }
            for name in warm
        },
        "page_p50_ms": round(median(pages), 1),
        "page_p99_ms": p99(pages),
    }


def p99(samples: list[float]) -> float:
    return round(quantiles(samples, n=100)[98], 2)


def measure(stack: Stack, rows: int) -> dict[str, Any]:
    """With a tenth of the rows, then with all; the stack has to be migrated, and Django set up."""
    long = min(LONGEST, rows // 20)
    measured = Measured(stack, long)
    measured.grow(rows // 10 - long)
    tenth = figures(measured, rows // 10)
    measured.loader.without_indexes()
    measured.grow(rows - long)
    return {**figures(measured, rows), "growth": tenth}


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def table(results: Mapping[str, Any]) -> Table:
    made = Table(f"{results['rows']:,} rows", "warm p50 ms", "p99 ms", "cold p50 ms", "p99 ms", "warm p99 at a tenth")
    for name, row in results["queries"].items():
        made.add_row(name, *map(str, row.values()), str(results["growth"]["queries"][name]["warm_p99_ms"]))
    made.add_row("whole page", str(results["page_p50_ms"]), str(results["page_p99_ms"]))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench timeline", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rows", type=int, default=10_000_000)
    chosen = parser.parse_args()
    with standing() as stack:
        results = measure(stack, chosen.rows)
    print(json.dumps(results)) if chosen.json else Console().print(table(results))


if __name__ == "__main__":
    main()
