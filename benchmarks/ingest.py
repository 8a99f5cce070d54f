"""How fast events are taken: through HTTP by one web process beside a bare COPY, and appended in transactions.

    script/bench ingest [--json] [--events N]

Batches of 100 events whose bodies have about 500 bytes, sent by eight agents in a process of their own, with integrator
and witness at work. The bare side is PostgreSQL's COPY of the very rows that came out of it, as text from memory in
one transaction, into a table with the same indexes.
"""

import argparse
import io
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from stack import Stack
from tests.drills.stage import REPOSITORY, standing, wait_for_web

AGENTS = 8
BATCH = 100
BODY = 500
WRITERS, PROCESSES = (1, 8, 32), 8
APPENDS = 4_000
Figures = dict[str, float]
MANY = ["SELECT", "order", "FROM", "customers", "WHERE", "shipped", "late", "warehouse", "tracking", "carrier"]


def begun() -> tuple[uuid.UUID, str]:
    """A live session and its token."""
    from sessions import lifecycle
    from tests import factories

    agent_session = factories.world().approved()
    factories.issue(agent_session)
    return agent_session.id, lifecycle.issue_session_token(agent_session.id)


def batch_of(count: int = BATCH) -> bytes:
    """Events as agents send them: their stored bodies have about BODY bytes."""
    from audit.event import now, timestamp
    from audit.uuid7 import uuid7

    events = []
    for number in range(count):
        words = " ".join(MANY[(number * 7 + place) % len(MANY)] for place in range(9))
        data = {"statement": words, "host": f"h{number % 7}.example.test", "rows": number, "took_ms": number % 90}
        events.append({"id": str(uuid7()), "kind": "db.statement", "occurred_at": timestamp(now()), "data": data})
    return json.dumps({"events": events}).encode()


def send(url: str, token: str, batches: list[bytes]) -> None:
    """Sends batches one after another over one connection; each must be stored whole."""
    import http.client

    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for body in batches:
        connection.request("POST", "/api/v1/events", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200 or content.count(b'"stored"') != BATCH:
            raise RuntimeError(f"{answer.status}: {content[:300]!r}")


def senders(url: str, tokens: list[str], each: int) -> float:
    """Events a second of all agents together, over the time in which all of them were sending."""
    work = [[batch_of() for _ in range(each)] for _ in tokens]
    threads = [
        threading.Thread(target=send, args=(url, token, batches)) for token, batches in zip(tokens, work, strict=True)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(tokens) * each * BATCH / (time.perf_counter() - began)


def through_http(stack: Stack, events: int) -> tuple[float, list[uuid.UUID]]:
    """Events a second, and the sessions that they are in."""
    sessions = [begun() for _ in range(AGENTS)]
    tokens = [token for _, token in sessions]
    with stack.processes("web", "integrator", "witness"):
        asked = {"url": wait_for_web(stack), "tokens": tokens, "each": events // AGENTS // BATCH}
        argv = [sys.executable, "-m", "benchmarks.ingest", "--senders"]
        warm = {**asked, "each": 5}
        for one in (warm, asked):
            ended = subprocess.run(
                argv, cwd=REPOSITORY, input=json.dumps(one), capture_output=True, text=True, check=False
            )
            if ended.returncode:
                raise RuntimeError(ended.stderr)
    return float(ended.stdout), [session for session, _ in sessions]


def bare_copy(stack: Stack, sessions: list[uuid.UUID]) -> tuple[float, float]:
    """Rows a second, and bytes on disk for each row with its indexes."""
    with stack.postgres.connect("drawbridge") as superuser:
        partition = superuser.execute("SELECT tableoid::regclass::text FROM audit_event ORDER BY seq DESC LIMIT 1")
        [name] = partition.fetchone() or ("",)
        source = f"COPY (SELECT * FROM audit_event WHERE stream = ANY('{{{','.join(map(str, sessions))}}}')) TO STDOUT"
        held = io.BytesIO()
        with superuser.cursor().copy(source.encode()) as copy:
            for block in copy:
                held.write(block)
        rows, best = held.getvalue().count(b"\n"), 0.0
        for _ in range(3):
            superuser.execute("DROP TABLE IF EXISTS bare")
            superuser.execute(f"CREATE TABLE bare (LIKE {name} INCLUDING ALL)".encode())
            superuser.execute("CHECKPOINT")
            best = max(best, rows / copy_in(superuser, held.getvalue()))
        size = superuser.execute("SELECT pg_total_relation_size('bare')").fetchone()
        assert size is not None
        superuser.execute("DROP TABLE bare")
    return best, size[0] / rows


def copy_in(superuser: Any, text: bytes) -> float:
    began = time.perf_counter()
    with superuser.cursor().copy(b"COPY bare FROM STDIN") as copy:
        for at in range(0, len(text), 65536):
            copy.write(text[at : at + 65536])
    return time.perf_counter() - began


def appends(writers: int) -> float:
    """Transactions a second, each of which appends one event to its writer's own stream."""
    each, processes = APPENDS // writers, min(writers, PROCESSES)
    argv = [sys.executable, "-m", "benchmarks.ingest", "--writers", str(writers // processes), str(each)]
    started = [
        subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    began = time.perf_counter()
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in started:
        if one.wait():
            raise RuntimeError("a writer failed: see what it wrote to standard error")
    return each * writers / (time.perf_counter() - began)


def write(writers: int, count: int) -> None:
    """One process of writers: says when they are ready, and begins when told to."""
    ready, go = threading.Barrier(writers + 1), threading.Event()
    threads = [threading.Thread(target=_writer, args=(count, ready, go)) for _ in range(writers)]
    for thread in threads:
        thread.start()
    ready.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    go.set()
    for thread in threads:
        thread.join()


def _writer(count: int, ready: threading.Barrier, go: threading.Event) -> None:
    from django.db import transaction

    from audit import log
    from audit.event import NewEvent

    stream = uuid.uuid4()

    def append() -> None:
        with transaction.atomic():
            log.append(NewEvent("tool.call", stream, "person:p", "agent:a", {"input": "x" * 200}, agent="agent:a"))

    append()
    ready.wait()
    go.wait()
    for _ in range(count):
        append()


def measure(stack: Stack, events: int) -> dict[str, Any]:
    """Events and transactions a second; bytes are those of a row with its indexes."""
    rate, sessions = through_http(stack, events)
    bare, size = bare_copy(stack, sessions)
    append = {writers: appends(writers) for writers in WRITERS}
    return {
        "ingest": {"events_per_s": round(rate), "copy_events_per_s": round(bare), "ratio": round(rate / bare, 3)},
        "append_per_s": {str(writers): round(rate) for writers, rate in append.items()},
        "append_8_over_1": round(append[8] / append[1], 2),
        "bytes_per_event": round(size),
    }


@contextmanager
def django() -> Iterator[None]:
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    import django

    django.setup()
    yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench ingest", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", type=int, default=80_000)
    parser.add_argument("--senders", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--writers", type=int, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.senders or chosen.writers:
        with django():
            print(senders(**json.load(sys.stdin))) if chosen.senders else write(*chosen.writers)
        return
    with standing() as stack:
        results = measure(stack, chosen.events)
    Console().print_json(json.dumps(results))


if __name__ == "__main__":
    main()
