"""Events on their way to the log. They are written to a file first, and stay there until they were acknowledged."""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from runner.client import Client
from runner.errors import Refused, Unreachable
from runner.shapes import Event

MOST_AT_ONCE, MOST_BYTES = 200, 3_000_000
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0


class Spool:
    """Sends the events of one session in order, in the background. An event sent twice counts once.

    Nothing is lost while the server is away, or when this process dies: what is left in the file is sent next time.
    """

    def __init__(self, client: Client, token: str, session_id: str, path: Path) -> None:
        self._client, self._token, self._session_id, self._path = client, token, session_id, path
        self._waiting = deque(_left_over(path))
        self._changed = threading.Condition()
        self._closing = False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.fdopen(os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600), "a")
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def add(self, event: Event) -> None:
        with self._changed:
            self._file.write(event.line() + "\n")
            self._file.flush()
            self._waiting.append(event)
            self._changed.notify_all()

    def close(self, within_s: float = 5.0) -> int:
        """Send what is left, for a while. Returns how many are still in the file."""
        deadline = time.monotonic() + within_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while self._waiting and self._thread.is_alive() and time.monotonic() < deadline:
                self._changed.wait(0.1)
            left = len(self._waiting)
        self._file.close()
        if not left:
            self._thread.join(within_s)
            self._path.unlink(missing_ok=True)
        return left

    def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while batch := self._next_batch():
            try:
                receipts = self._client.report(self._token, self._session_id, batch)
            except Unreachable:
                self._pause(delay_s)
                delay_s = min(delay_s * 2, LONGEST_DELAY_S)
                continue
            except Refused as refused:
                print(f"drawbridge: {len(batch)} events were refused: {refused}", file=sys.stderr)
            else:
                for receipt in receipts:
                    if receipt.answer == "rejected":
                        print(f"drawbridge: event {receipt.id} was rejected: {receipt.why}", file=sys.stderr)
            delay_s = FIRST_DELAY_S
            self._acknowledge(len(batch))

    def _next_batch(self) -> list[Event]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return _fitting(islice(self._waiting, MOST_AT_ONCE))

    def _acknowledge(self, count: int) -> None:
        with self._changed:
            for _ in range(count):
                self._waiting.popleft()
            if not self._waiting and not self._file.closed:
                self._file.truncate(0)
            self._changed.notify_all()

    def _pause(self, delay_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, delay_s)
        if self._closing:
            time.sleep(0.2)


def _fitting(events: Iterable[Event]) -> list[Event]:
    """As many of them as fit into one request, at least one."""
    batch: list[Event] = []
    size = 0
    for event in events:
        size += len(event.line())
        if batch and size > MOST_BYTES:
            break
        batch.append(event)
    return batch


def _left_over(path: Path) -> list[Event]:
    """Events of an earlier run. A last line that was cut off half-way is no event yet."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text().splitlines():
        try:
            events.append(Event.read(json.loads(line)))
        except (ValueError, KeyError):
            continue
    return events
