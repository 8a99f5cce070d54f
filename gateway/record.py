"""What passed and what was refused, kept on this gateway's disk before anything goes on."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson

from gateway.errors import Denied
from gateway.policy import Code, deny
from runner.errors import Busy, Refused, Unreachable
from runner.shapes import Receipt
from runner.spool import Spool
from runner.uuid7 import uuid7

KEPT_WITHIN_S = 5.0
SEND_S, BUSY_S = 30.0, 2.0
# What no event's text needs, and PostgreSQL's JSON cannot hold.
_CONTROLS = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Recorder:
    """Events of all sessions of this gateway. `name` is the gateway's, known since its first lease."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self.name = spool, ""

    async def keep(self, session: str, kind: str, data: Mapping[str, Any], outcome: str = "success") -> str:
        """The event's id, once it is on the disk. Raises Denied where it cannot be kept: nothing passes unrecorded."""
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[bool] = loop.create_future()

        def then(done: bool) -> None:
            loop.call_soon_threadsafe(_settle, kept, done)

        event, line = self._line(session, kind, data, outcome)
        self._spool.offer(line, then)
        patience = loop.call_later(KEPT_WITHIN_S, _settle, kept, False)
        try:
            if await kept:
                return event
        finally:
            patience.cancel()
        raise Denied(deny(Code.SPOOL, "This gateway cannot keep its record now, and lets nothing pass without it."))

    def note(self, session: str, kind: str, data: Mapping[str, Any], outcome: str = "success") -> str:
        """For what is over already: kept as soon as the disk can, and nobody waits."""
        event, line = self._line(session, kind, data, outcome)
        self._spool.offer(line)
        return event

    def _line(self, session: str, kind: str, data: Mapping[str, Any], outcome: str) -> tuple[str, bytes]:
        event = str(uuid7())
        told = {name: _plain(value) for name, value in data.items() if value is not None}
        content = {
            "id": event,
            "session": session,
            "kind": kind,
            "occurred_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "outcome": outcome,
            "data": {"gateway": self.name, **told},
        }
        return event, orjson.dumps(content)


def spool(path: Path, client: httpx.Client) -> Spool:
    """The gateway's spool; what is in it goes to the control plane as soon as that answers."""

    def send(lines: Sequence[bytes]) -> Sequence[Receipt]:
        try:
            headers = {"Content-Type": "application/x-ndjson"}
            answer = client.post("events", content=b"".join(lines), headers=headers, timeout=SEND_S)
        except httpx.HTTPError as error:
            raise Unreachable("The control plane does not answer.") from error
        if answer.status_code == 429:
            raise Busy("The control plane is busy.", wait_s=_seconds(answer.headers.get("Retry-After", "")))
        if answer.status_code in (400, 413, 415, 422):
            raise Refused(answer.text[:200], status=answer.status_code, code="events_refused")
        if answer.status_code != 200:
            raise Unreachable(f"The control plane answers {answer.status_code}.")
        return [Receipt.read(one) for one in answer.json()["events"]]

    return Spool(path, send, reads=orjson.loads)


def _settle(kept: "asyncio.Future[bool]", done: bool) -> None:
    """Whoever waited may have given up."""
    if not kept.done():
        kept.set_result(done)


def _plain(value: object) -> object:
    if not isinstance(value, str) or value.isprintable():
        return value
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value)


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else BUSY_S
