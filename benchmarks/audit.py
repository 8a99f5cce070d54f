"""The log under load: taken, shown, signed for, verified. One JSON object of everything with --json.

    script/bench audit [--json] [--events N] [--viewers N]

ingest, append       see benchmarks/ingest.py
ack_to_browser       see benchmarks/viewers.py
ack_to_checkpoint    from the answer to an agent until a reader of the log's files finds the event under a checkpoint
verify               the log of this run, on one core
"""

import argparse
import json
import threading
import time
import uuid
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import ingest, viewers
from stack import Stack
from tests.drills.stage import standing, wait_for_web

SAMPLES, PACE_S, LOOK_S = 150, 0.1, 0.002


class Watcher:
    """Reads the published checkpoint again and again, and notes when it grew."""

    def __init__(self, store: Path) -> None:
        self._path = store / "checkpoint"
        self._stop = threading.Event()
        self.grown: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        size = 0
        while not self._stop.wait(LOOK_S):
            found = int(self._path.read_text().split("\n")[1]) if self._path.exists() else 0
            if found != size:
                size = found
                self.grown.append((time.perf_counter(), size))

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def covered_at(self, leaf: int) -> float:
        return next(at for at, size in self.grown if size > leaf)


def ack_to_checkpoint(stack: Stack) -> dict[str, float]:
    """p50 and p99 in ms over SAMPLES single events at a steady pace."""
    from audit import sequencing
    from audit.models import Event
    from tests.waiting import eventually

    _, token = ingest.begun()
    answered: dict[uuid.UUID, float] = {}
    with stack.processes("web", "integrator", "witness"):
        url = wait_for_web(stack)
        eventually(signed_for, 60)
        watcher = Watcher(Path(stack.environment()["LOG_STORE"]))
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as agent:
            for _ in range(SAMPLES):
                answer = agent.post("/api/v1/events", content=ingest.batch_of(1))
                answered[uuid.UUID(answer.json()["events"][0]["id"])] = time.perf_counter()
                time.sleep(PACE_S)
        eventually(signed_for, 30)
        time.sleep(PACE_S)
        watcher.end()
    took = []
    for row in Event.objects.filter(id__in=answered).only("id", "stream", "seq"):
        leaf = sequencing.leaf_of(row.stream, row.seq)
        assert leaf is not None
        took.append((watcher.covered_at(leaf) - answered[row.id]) * 1000)
    return {"p50_ms": round(median(took)), "p99_ms": round(quantiles(took, n=100)[98])}


def signed_for() -> bool:
    """Whether all that is committed is."""
    from audit import sequencing
    from audit.models import Run

    if Run.objects.filter(first_leaf=None).exists():
        return False
    head = sequencing.head()
    return head.published_size == head.size


def verified(stack: Stack) -> int:
    """Entries a second."""
    from audit.note import VerifierKey
    from audit.sources import Folder
    from audit.verify import Policy, verify

    env = stack.environment()
    keys = tuple(map(VerifierKey.parse, Path(env["LOG_VERIFIER_KEYS_FILE"]).read_text().split()))
    began = time.perf_counter()
    found = verify(Folder(Path(env["LOG_STORE"])), Policy(env["LOG_ORIGIN"], keys))
    return round(found.entries / (time.perf_counter() - began))


def measure(stack: Stack, events: int, crowds: list[int]) -> dict[str, Any]:
    results = ingest.measure(stack, events)
    signed = ack_to_checkpoint(stack)
    results["ack_to_checkpoint_p50_ms"], results["ack_to_checkpoint_p99_ms"] = signed["p50_ms"], signed["p99_ms"]
    results["verify_entries_per_s"] = verified(stack)
    seen = {crowd: viewers.measure(stack, crowd) for crowd in crowds}
    results["ack_to_browser"] = {
        str(crowd): {name: found[name] for name in ("p50_ms", "p99_ms")} for crowd, found in seen.items()
    }
    results["kib_per_viewer"] = seen[crowds[-1]]["kib_per_viewer"]
    return results


def table(results: dict[str, Any]) -> Table:
    made = Table("measure", "found", "aim")
    taken = results["ingest"]
    made.add_row("events a second through HTTP", f"{taken['events_per_s']:,}", "")
    made.add_row("bare COPY of the same rows", f"{taken['copy_events_per_s']:,}", "")
    made.add_row("ratio", f"{taken['ratio']:.0%}", "45 %")
    for writers, rate in results["append_per_s"].items():
        made.add_row(f"appending transactions a second, {writers} writers", f"{rate:,}", "")
    made.add_row("8 writers over 1", str(results["append_8_over_1"]), "3")
    for crowd, found in results["ack_to_browser"].items():
        made.add_row(f"acknowledged to {crowd} viewers, ms", f"{found['p50_ms']} / {found['p99_ms']}", "p99 100")
    made.add_row("KiB a viewer", str(results["kib_per_viewer"]), "60")
    signed = f"{results['ack_to_checkpoint_p50_ms']} / {results['ack_to_checkpoint_p99_ms']}"
    made.add_row("acknowledged to signed for, ms", signed, "p99 2000")
    made.add_row("verified entries a second", f"{results['verify_entries_per_s']:,}", "150,000")
    made.add_row("bytes an event with its indexes", str(results["bytes_per_event"]), "")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench audit", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", type=int, default=80_000)
    parser.add_argument("--viewers", type=int, default=1_000)
    chosen = parser.parse_args()
    with standing() as stack:
        results = measure(stack, chosen.events, [1, chosen.viewers])
    if chosen.json:
        print(json.dumps(results))
    else:
        Console().print(table(results))


if __name__ == "__main__":
    main()
