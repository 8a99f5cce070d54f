"""How long an acknowledged event takes to everybody who watches its session, and what a viewer costs the web process.

    script/bench viewers [--json] [--viewers N ...]

Each viewer is another person with a sign-in of their own, on a connection of their own, to one web process. The clock
starts when the agent has the answer that its event is stored ("acknowledged"; it was committed a little before), and
ends when a viewer's socket has the whole event. `sent` is the same with the clock started before the agent asks.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from audit.uuid7 import uuid7
from stack import Stack
from tests.drills.stage import REPOSITORY, standing, wait_for_web

EVENTS = 60
WARM_UP = 5
PACE_S = 0.21
Figures = dict[str, float]


class Crowd:
    """The viewers' process."""

    def __init__(self, url: str, path: str, cookies: list[str]) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        asked = {"host": host, "port": int(port), "path": path, "cookies": cookies}
        argv = [sys.executable, "-m", "benchmarks.crowd"]
        self.process = subprocess.Popen(
            argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.tell(json.dumps(asked))
        if self.hear() != "ready":
            raise RuntimeError("the viewers could not connect: see what they wrote to standard error")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def saw(self, last: int) -> dict[str, Any]:
        """What they saw, up to the event of that number."""
        self.tell(str(last))
        seen: dict[str, Any] = json.loads(self.hear())
        return seen


def measure(stack: Stack, viewers: int) -> Figures:
    """Latencies in ms over all viewers and events, and KiB of the web process's resident memory for each viewer.

    Starts a web process of its own on the stack, which has to be migrated; Django must be set up.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with stack.processes("web") as running:
        agent, path, cookies = audience(wait_for_web(stack), viewers)
        pid = running.pid("web")
        with watching(agent.url, path, cookies[:1]) as crowd:
            crowd.saw(max(report(agent, WARM_UP)))
        before_kib, began = resident_kib(pid), time.monotonic()
        with watching(agent.url, path, cookies) as crowd:
            connected_s = time.monotonic() - began
            marks = report(agent, EVENTS)
            seen = crowd.saw(max(marks))
            resident = resident_kib(pid) - before_kib
    return {
        "viewers": viewers,
        **figures(marks, seen, viewers),
        "kib_per_viewer": round(resident / viewers, 1),
        "connected_s": round(connected_s, 1),
    }


@contextmanager
def watching(url: str, path: str, cookies: list[str]) -> Iterator[Crowd]:
    """One connection for each cookie, for the length of the block."""
    crowd = Crowd(url, path, cookies)
    try:
        yield crowd
    finally:
        crowd.process.communicate(timeout=30)


def audience(url: str, viewers: int) -> tuple[Any, str, list[str]]:
    """An agent with an active session, the address of its stream, and the cookies of those who will watch it."""
    from audit import timeline
    from sessions import lifecycle
    from tests import factories
    from tests.actors import AgentActor

    world = factories.world()
    agent = AgentActor(url, world.key)
    asked = agent.request()
    agent_session = lifecycle.approve(uuid.UUID(asked["session_id"]), world.lead, asked["grant_hash"])
    agent.wait_for_token().raise_for_status()
    factories.issue(agent_session)
    path = f"/sessions/{agent_session.id}/stream?after={timeline.last_seq(agent_session.id)}"
    return agent, path, sign_ins(world.team, viewers)


def sign_ins(team: Any, count: int) -> list[str]:
    """The cookies of as many auditors of the team."""
    from django.contrib.auth.hashers import make_password

    from sessions.models import Membership, Person, Role
    from tests.actors import signed_in

    password = make_password(None)
    people = [
        Person(name=f"Viewer {number}", email=f"{uuid.uuid4().hex}@example.test", password=password)
        for number in range(count)
    ]
    Person.objects.bulk_create(people)
    Membership.objects.bulk_create(Membership(team=team, person=person, role=Role.AUDITOR) for person in people)
    return [signed_in(person) for person in people]


def report(agent: Any, events: int) -> dict[int, tuple[float, float]]:
    """Report one event after another; by its number: when it was sent, and when it was acknowledged."""
    from audit import timeline

    session_id = uuid.UUID(agent.session["session_id"])
    marks = {}
    last = timeline.last_seq(session_id)
    for number in range(1, events + 1):
        time.sleep(PACE_S)
        event = {
            "id": str(uuid7()),
            "kind": "db.statement",
            "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": {"statement": "SELECT count(*) FROM orders WHERE shipped_at IS NULL", "rows": number},
        }
        sent = time.monotonic()
        answer = agent.report([event])
        marks[last + number] = (sent, time.monotonic())
        if [one["answer"] for one in answer.raise_for_status().json()["events"]] != ["stored"]:
            raise RuntimeError(f"an event was not stored: {answer.text}")
    return marks


def figures(marks: dict[int, tuple[float, float]], seen: dict[str, Any], viewers: int) -> Figures:
    """Raises RuntimeError where an event did not reach each viewer exactly once."""
    arrivals = {int(seq): times for seq, times in seen["arrivals"].items()}
    missing = [seq for seq in marks if len(arrivals.get(seq, ())) != viewers]
    if missing or seen["lost"]:
        raise RuntimeError(f"not once to each of {viewers} viewers: events {missing}; {seen['lost']} were cut off")
    acknowledged = [(at - marks[seq][1]) * 1000 for seq in marks for at in arrivals[seq]]
    sent = [(at - marks[seq][0]) * 1000 for seq in marks for at in arrivals[seq]]
    return {
        "p50_ms": round(median(acknowledged), 1),
        "p99_ms": round(quantiles(acknowledged, n=100)[98], 1),
        "sent_p50_ms": round(median(sent), 1),
        "sent_p99_ms": round(quantiles(sent, n=100)[98], 1),
    }


def resident_kib(pid: int) -> int:
    status = Path("/proc", str(pid), "status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def table(results: list[Figures]) -> Table:
    made = Table("viewers", "p50 ms", "p99 ms", "from sending p50 ms", "p99 ms", "KiB a viewer", "all connected s")
    for row in results:
        made.add_row(*(str(value) for value in row.values()))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench viewers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 1000])
    chosen = parser.parse_args()
    with standing() as stack:
        results = [measure(stack, viewers) for viewers in chosen.viewers]
    if chosen.json:
        print(json.dumps({"viewers": results}))
    else:
        Console().print(table(results))


if __name__ == "__main__":
    main()
