"""One click, and the last byte: live sessions with open tunnels over two gateways, killed; and the control plane lost.

    script/bench kill [--json] [--sessions N ...]

Everything is real: the web process, PostgreSQL, Valkey, two gateways, and one tunnel for each session, through which a
far end sends bytes all the time. The clock starts before the browser sends the form and ends when the tunnel's end is
seen by its client: after that no byte can have passed. `control_plane_down` is the same from when the web process is
stopped (SIGSTOP: it answers nobody, and hangs up on nobody).
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from stack import Stack
from tests.drills.stage import REPOSITORY, standing, wait_for_web
from tests.gateway.bed.processes import free_port

# How often each number of sessions is killed: a single one has to be killed often for its p99 to mean something.
ROUNDS = {1: 100, 100: 3, 1_000: 1}
DOWN_SESSIONS, DOWN_ROUNDS = 100, 3
Figures = dict[str, Any]


class Scene:
    """A team whose sessions may reach one port, and the gateways that let them."""

    def __init__(self, stack: Stack, folder: Path, open_: ExitStack) -> None:
        from tests import factories
        from tests.actors import PersonActor
        from tests.runner.gateways import gateway

        self.port = free_port()
        rule = {
            "type": "egress",
            "locations": [f"tcp://127.0.0.1:{self.port}"],
            "actions": ["forward"],
            "network": "127.0.0.0/8",
        }
        self.world = factories.world({**factories.CONTENT, "authorization_details": [rule]})
        self.security = PersonActor(wait_for_web(stack), self.world.security)
        environment = stack.environment()
        self.gateways: list[str] = []
        for name in ("one", "two"):
            row = open_.enter_context(gateway(environment["DRAWBRIDGE_URL"], environment, folder / name))
            row.refresh_from_db()
            self.gateways.append(row.address)

    def begin(self, count: int) -> tuple[list[uuid.UUID], list[dict[str, str]]]:
        """So many active sessions, and a tunnel for each, over the gateways in turn."""
        from sessions import lifecycle
        from sessions.tokens import proxy_secret

        ids, tunnels = [], []
        for number in range(count):
            session = self.world.approved()
            secret = proxy_secret(lifecycle.issue_session_token(session.id))
            pair = base64.b64encode(f"{session.id}:{secret}".encode()).decode()
            gateway = self.gateways[number % len(self.gateways)]
            target = f"127.0.0.1:{self.port}"
            tunnels.append({"gateway": gateway, "target": target, "authorization": f"Basic {pair}"})
            ids.append(session.id)
        return ids, tunnels

    def click(self, ids: Sequence[uuid.UUID]) -> float:
        """One click that kills them all; when it was made."""
        path = f"/sessions/{ids[0]}/kill" if len(ids) == 1 else f"/fleet/kill?team={self.world.team.id}"
        at = time.monotonic()
        answer = self.security._post(path)
        if answer.status_code not in (200, 302, 303):
            raise RuntimeError(f"the kill was answered with {answer.status_code}")
        return at


@contextmanager
def tunnels(scene: Scene, asked: list[dict[str, str]]) -> Iterator["subprocess.Popen[str]"]:
    """All of them open, in a process of their own."""
    argv = [sys.executable, "-m", "benchmarks.tunnels"]
    process = subprocess.Popen(
        argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pace_s = max(0.005, len(asked) * 0.0004)
        process.stdin.write(json.dumps({"port": scene.port, "pace_s": pace_s, "tunnels": asked}) + "\n")
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the tunnels could not be opened: see what was written to standard error")
        yield process
    finally:
        process.kill()
        process.communicate()


def times(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("times\n")
    said: dict[str, Any] = json.loads(process.stdout.readline())
    if said["open"]:
        raise RuntimeError(f"{said['open']} tunnels stayed open")
    return said


def killed(scene: Scene, count: int, rounds: int, console: Console) -> Figures:
    """Milliseconds from the click to the end of each tunnel."""
    found: list[float] = []
    for _ in track(range(rounds), f"{count} sessions", console=console):
        ids, asked = scene.begin(count)
        with tunnels(scene, asked) as process:
            at = scene.click(ids)
            found += [(ended - at) * 1_000 for ended in times(process)["ended"]]
    cuts = quantiles(found, n=100) if len(found) > 1 else found * 99
    return {"p50_ms": round(median(found), 1), "p99_ms": round(cuts[98], 1), "max_ms": round(max(found), 1)}


def down(scene: Scene, web: int, console: Console) -> float:
    """Seconds until the last byte, when the control plane says nothing any more: the longest of all."""
    longest = 0.0
    for _ in track(range(DOWN_ROUNDS), "control plane down", console=console):
        ids, asked = scene.begin(DOWN_SESSIONS)
        with tunnels(scene, asked) as process:
            at = time.monotonic()
            os.kill(web, signal.SIGSTOP)
            try:
                longest = max(longest, *(ended - at for ended in times(process)["ended"]))
            finally:
                os.kill(web, signal.SIGCONT)
        scene.click(ids)
        time.sleep(5)
    return round(longest, 2)


def measure(stack: Stack, counts: Sequence[int], console: Console) -> Figures:
    with stack.processes("web") as running, tempfile.TemporaryDirectory() as made, ExitStack() as open_:
        scene = Scene(stack, Path(made), open_)
        killed(scene, 1, 3, console)
        sessions = {str(count): killed(scene, count, ROUNDS.get(count, 3), console) for count in counts}
        return {"sessions": sessions, "control_plane_down_max_s": down(scene, running.pid("web"), console)}


def shown(found: Figures, console: Console) -> None:
    table = Table("sessions", "p50 ms", "p99 ms", "longest ms", title="From the click to the last byte")
    for count, figures in found["sessions"].items():
        table.add_row(count, *(f"{figures[key]:,.1f}" for key in ("p50_ms", "p99_ms", "max_ms")))
    console.print(table)
    console.print(f"control plane stopped: the last byte after {found['control_plane_down_max_s']} s at most")


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench kill")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sessions", type=int, nargs="*", default=list(ROUNDS))
    options = parser.parse_args()
    console = Console(stderr=options.json)
    with standing() as stack:
        found = measure(stack, options.sessions, console)
    if options.json:
        print(json.dumps(found))
    else:
        shown(found, console)


if __name__ == "__main__":
    main()
