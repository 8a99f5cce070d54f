"""A gateway as far as the control plane sees it: it renews, listens, fetches, reports, acknowledges."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from audit.event import now, timestamp
from audit.uuid7 import uuid7
from tests.serving import bearer
from tests.waiting import eventually

STARTED = "2026-11-26T08:00:00Z"


@dataclass
class GatewayActor:
    http: httpx.Client
    name: str
    token: str

    def renew(self, sessions: dict[str, int] | None = None, **changed: Any) -> httpx.Response:
        body = {"version": "1", "address": "127.0.0.1:18080", "started_at": STARTED, "sessions": sessions or {}}
        return self._post("lease", {**body, **changed})

    def fetch(self, session_id: str) -> httpx.Response:
        return self.http.get(f"/gateways/sessions/{session_id}", headers=bearer(self.token))

    def acknowledge(self, *sessions: str, **changed: Any) -> httpx.Response:
        at = {"cut_at": timestamp(now()), "connections": 2, "elapsed_us": 1500}
        return self._post("acks", {"acks": [{**at, "session": one, **changed} for one in sessions]})

    def report(self, *events: object) -> httpx.Response:
        content = b"".join(json.dumps(one).encode() + b"\n" for one in events)
        headers = {**bearer(self.token), "Content-Type": "application/x-ndjson"}
        return self.http.post("/gateways/events", content=content, headers=headers)

    def _post(self, what: str, body: object) -> httpx.Response:
        return self.http.post(f"/gateways/{what}", json=body, headers=bearer(self.token))

    @contextmanager
    def listening(self) -> Iterator["Heard"]:
        """Everything that the stream says while the block lasts; the block begins with the first beat."""
        heard = Heard()
        with self.http.stream("GET", "/gateways/stream", headers=bearer(self.token), timeout=5) as answer:
            answer.raise_for_status()
            thread = threading.Thread(target=heard.listen, args=(answer,), daemon=True)
            thread.start()
            eventually(lambda: heard.beats)
            yield heard
            heard.over = True
            thread.join(5)


@dataclass
class Heard:
    """What a stream said, each with the moment at which it arrived (time.monotonic)."""

    said: list[tuple[str, Any, float]] = field(default_factory=list)
    over: bool = False
    ended: bool = False

    def listen(self, answer: httpx.Response) -> None:
        for line in answer.iter_lines():
            for what, value in json.loads(line).items():
                self.said.append((what, value, time.monotonic()))
            if self.over:
                return
        self.ended = True

    @property
    def beats(self) -> list[int]:
        return [value for what, value, _ in list(self.said) if what == "beat"]

    def of(self, what: str) -> list[str]:
        return [one for said, value, _ in list(self.said) if said == what for one in value]

    def when(self, what: str, session_id: str) -> float:
        """When it was first said of a session, as soon as it was."""
        found: Callable[[], list[float]] = lambda: [  # noqa: E731
            at for said, value, at in list(self.said) if said == what and session_id in value
        ]
        return eventually(found, pause_s=0.005)[0]


def event(session_id: str | uuid.UUID, kind: str = "egress.request", **changed: Any) -> dict[str, Any]:
    data = {"gateway": "gw", "mode": "inspect", "host": "api.github.com", "port": 443, "rule": "1.1", "method": "GET"}
    made = {"id": str(uuid7()), "session": str(session_id), "kind": kind, "occurred_at": timestamp(now())}
    return {**made, "data": {**data, "path": "/repos/acme/"}, **changed}
