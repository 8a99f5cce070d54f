"""Kills the integrator and the web process with -9 at their system calls, and checks what they leave.

    script/drill syscalls [POINTS]

strace delivers SIGKILL as the n-th call of a kind is entered. After each kill of the integrator the next run has to
bring the log up to all that was committed; after each kill of the web process its client sends again what was not
acknowledged. In the end every acknowledged event is in the log once, and log, files and rows agree. POINTS limits how
many calls are tried, spread over all of them.
"""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stack import Stack
from tests.drills.stage import REPOSITORY, UP_S, standing
from tests.waiting import eventually

# Those by which something becomes durable or visible elsewhere: files, the database, the witness, the answer.
INTEGRATOR = ("fsync", "link", "linkat", "rename", "renameat2", "unlink", "flock", "mkdir", "sendto")
WEB = ("sendto", "write", "writev")
FIRST, EACH = 300, 40
KILLED = (-9, 137)
T = TypeVar("T")


@dataclass
class Toll:
    """What was killed where, and what was found wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    survived: int = 0
    problems: list[str] = field(default_factory=list)


def strace(*options: str) -> list[str]:
    return ["strace", "-f", "-qq", *options]


def integrate(stack: Stack, wrapper: Sequence[str] = ()) -> "subprocess.CompletedProcess[bytes]":
    env = {**os.environ, **stack.environment()}
    env["DATABASE_URL"] = env["DATABASE_INTEGRATOR_URL"]
    argv = [*wrapper, sys.executable, "manage.py", "integrate", "--once"]
    return subprocess.run(argv, cwd=REPOSITORY, env=env, capture_output=True, timeout=120)


def append(stream: uuid.UUID, count: int) -> set[uuid.UUID]:
    """Commits events; returns their ids."""
    from django.db import transaction

    from audit import log
    from audit.event import NewEvent

    events = [NewEvent("tool.call", stream, "person:p", "agent:a", {"n": n}, agent="agent:a") for n in range(count)]
    with transaction.atomic():
        log.append_batch(stream, events)
    return {event.id for event in events}


def calls_of(stack: Stack, scratch: Path) -> list[tuple[str, int]]:
    """Every interesting call of one run of the integrator, by kind and number."""
    trace = scratch / "trace"
    integrate(stack, strace("-o", str(trace), "-e", f"trace={','.join(INTEGRATOR)}")).check_returncode()
    counted = Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    return [(name, number) for name in INTEGRATOR for number in range(1, counted[name] + 1)]


def spread(points: Sequence[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    step = max(1, len(points) / most)
    return [points[int(place * step)] for place in range(min(most, len(points)))]


def check_log(stack: Stack, acknowledged: set[uuid.UUID]) -> list[str]:
    """The invariants: every acknowledged event in the database once and under the checkpoint; files and rows agree."""
    from django.db.models import Count

    from audit import comparison, sequencing
    from audit.errors import LogError
    from audit.models import Event
    from audit.note import VerifierKey
    from audit.sources import Folder
    from audit.verify import Policy, verify

    env = stack.environment()
    keys = tuple(VerifierKey.parse(line) for line in Path(env["LOG_VERIFIER_KEYS_FILE"]).read_text().splitlines())
    problems = []
    files = Folder(Path(env["LOG_STORE"]))
    try:
        tree = verify(files, Policy(env["LOG_ORIGIN"], keys)).opened.checkpoint
        comparison.compare(files, tree.size)
        if tree.size != sequencing.head().size:
            problems.append(f"{tree.size} entries are signed for, {sequencing.head().size} have a place")
    except LogError as error:
        problems.append(f"the log does not verify: {error}")
    kept = set(Event.objects.filter(id__in=acknowledged).values_list("id", flat=True))
    problems += [f"acknowledged and lost: {lost}" for lost in acknowledged - kept]
    twice = Event.objects.values("stream", "seq").annotate(n=Count("id")).filter(n__gt=1)
    return problems + [f"twice: {row}" for row in twice]


def kill_integrator(stack: Stack, most: int) -> Toll:
    toll, stream = Toll(), uuid.uuid4()
    acknowledged = append(stream, FIRST)
    integrate(stack).check_returncode()
    acknowledged |= append(stream, EACH)
    for name, number in shown(spread(calls_of(stack, stack.data.root), most), "integrator"):
        acknowledged |= append(stream, EACH)
        ended = integrate(stack, strace("-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={number}"))
        if ended.returncode in KILLED:
            toll.kills[name] += 1
        else:
            toll.survived += 1
        recovered = integrate(stack)
        found = [recovered.stderr.decode()] if recovered.returncode else check_log(stack, acknowledged)
        toll.problems += [f"{name} {number}: {problem}" for problem in found]
    return toll


def shown(points: Sequence[T], what: str) -> Iterable[T]:
    return track(points, what, console=Console(stderr=True))


class Sender:
    """An agent that sends until it is acknowledged, whatever happens to the server."""

    def __init__(self, url: str, token: str) -> None:
        self.acknowledged: set[uuid.UUID] = set()
        self._http = httpx.Client(base_url=url, timeout=5, trust_env=False)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._waiting: list[dict[str, Any]] = []

    def batch(self) -> bool:
        """One batch, the same one until it was acknowledged. False where nobody answered."""
        from audit.event import now, timestamp
        from audit.uuid7 import uuid7

        if not self._waiting:
            at = timestamp(now())
            made = [{"id": str(uuid7()), "kind": "tool.call", "occurred_at": at, "data": {"n": n}} for n in range(20)]
            self._waiting = made
        try:
            answer = self._http.post("/api/v1/events", json={"events": self._waiting}, headers=self._headers)
        except httpx.TransportError:
            return False
        if answer.status_code in (429, 503):
            return True
        answer.raise_for_status()
        receipts = answer.json()["events"]
        assert {one["answer"] for one in receipts} <= {"stored", "known"}, receipts
        self.acknowledged |= {uuid.UUID(one["id"]) for one in receipts}
        self._waiting = []
        return True


def web(stack: Stack, wrapper: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    port = stack.environment()["PORT"]
    argv = [sys.executable, "-m", "uvicorn", "webapp.asgi:application", "--port", port, "--no-access-log"]
    with stack.data.log("web").open("ab") as log:
        env = {**os.environ, **stack.environment()}
        return subprocess.Popen([*wrapper, *argv], cwd=REPOSITORY, env=env, stdout=log, stderr=log)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False, timeout=2).is_success
    except httpx.TransportError:
        return False


def kill_web(stack: Stack, most: int) -> Toll:
    from benchmarks.ingest import begun

    toll = Toll()
    _, token = begun()
    url = stack.environment()["DRAWBRIDGE_URL"]
    sender = Sender(url, token)
    for turn in shown(range(most), "web process"):
        name = WEB[turn % len(WEB)]
        process = web(stack, strace("-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={70 + 7 * turn}"))
        ends = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < ends:
            sender.batch() or time.sleep(0.05)
        if process.poll() is None:
            toll.survived += 1
            process.terminate()
        else:
            toll.kills[name] += 1
        process.wait()
    process = web(stack)
    eventually(lambda: answers(url), UP_S)
    sender.batch()
    process.terminate()
    process.wait()
    integrate(stack).check_returncode()
    toll.problems += check_log(stack, sender.acknowledged)
    toll.kills["acknowledged events"] = len(sender.acknowledged)
    return toll


def table(tolls: dict[str, Toll]) -> Table:
    made = Table("process", "killed at", "times")
    for process, toll in tolls.items():
        for name, times in sorted(toll.kills.items()):
            made.add_row(process, name, str(times))
        made.add_row(process, "not killed: the call came less often", str(toll.survived))
    return made


def main() -> int:
    most = int(sys.argv[1]) if sys.argv[1:] else 1_000
    with standing() as stack, stack.processes("witness"):
        eventually(lambda: "on 127.0.0.1" in stack.data.log("witness").read_text(), UP_S)
        tolls = {"integrator": kill_integrator(stack, most), "web": kill_web(stack, max(3, min(most // 2, 24)))}
    Console().print(table(tolls))
    problems = [problem for toll in tolls.values() for problem in toll.problems]
    print(json.dumps(problems, indent=2) if problems else "Nothing acknowledged was lost or doubled.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
