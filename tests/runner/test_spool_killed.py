"""kill -9 at any moment: what `add` has kept arrives, over a real connection, and counts once."""

import gzip
import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.client import Client
from runner.spool import Spool
from tests.serving import REPOSITORY

ADDS = """
import sys
from functools import partial
from pathlib import Path
from runner.client import Client
from runner.shapes import Event
from runner.spool import Spool
spool = Spool(Path(sys.argv[1]), partial(Client(sys.argv[2]).report, "dbs_sample"))
while True:
    event = Event("agent.step", {"text": "x" * 3000})
    if spool.add(event):
        print(event.id, flush=True)
"""


class Log(ThreadingHTTPServer):
    """Answers as the ingest does: an id counts once. While `away`, it refuses to answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stored, self.sendings, self.away = set[str](), Counter[str](), False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lock = threading.Lock()

    def take(self, body: bytes) -> list[dict[str, Any]]:
        ids = [json.loads(line)["id"] for line in body.splitlines()]
        with self.lock:
            answers = ["known" if one in self.stored else "stored" for one in ids]
            self.stored.update(ids)
            self.sendings.update(ids)
        return [{"id": one, "answer": answer, "why": None} for one, answer in zip(ids, answers, strict=True)]


class Handler(BaseHTTPRequestHandler):
    server: Log
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = b"{}" if self.server.away else json.dumps({"events": self.server.take(body)}).encode()
        self.send_response(503 if self.server.away else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def log() -> Iterator[Log]:
    with Log() as log:
        threading.Thread(target=log.serve_forever, daemon=True).start()
        yield log
        log.shutdown()


def kept_until_killed(path: Path, log: Log, after_s: float) -> list[str]:
    """The ids that a process printed after it had kept them, before it was killed in the middle of its work."""
    command = [sys.executable, "-c", ADDS, str(path), log.url]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        killer = threading.Timer(after_s, process.kill)
        killer.start()
        printed = first + process.stdout.read()
        killer.join()
    return printed[: printed.rfind("\n")].splitlines()


def drain(path: Path, log: Log) -> None:
    with closing(Client(log.url)) as client:
        assert Spool(path, partial(client.report, "dbs_sample")).close(20) == 0


@pytest.mark.parametrize("away", [True, False])
def test_all_that_was_kept_arrives_and_counts_once(tmp_path: Path, log: Log, away: bool) -> None:
    path, kept, dice = tmp_path / "events", list[str](), random.Random(away)
    for _ in range(3):
        log.away = away
        kept += kept_until_killed(path, log, dice.uniform(0, 0.4))
    log.away = False
    drain(path, log)

    assert len(kept) == len(set(kept)) > 20
    assert set(kept) <= log.stored
    assert [one.name for one in tmp_path.iterdir()] == ["events.lock"]


def test_the_next_run_sends_each_event_once(tmp_path: Path, log: Log) -> None:
    log.away = True
    kept = kept_until_killed(tmp_path / "events", log, 0.2)
    log.away = False
    drain(tmp_path / "events", log)

    assert set(kept) <= log.sendings.keys()
    assert set(log.sendings.values()) == {1}
