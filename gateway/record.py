"""What passed and what was refused, kept on this gateway's disk before anything goes on."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import structlog

from gateway.errors import Denied
from gateway.policy import Code, deny
from runner.errors import Busy, Refused, Unreachable
from runner.shapes import Receipt
from runner.spool import Spool
from runner.uuid7 import uuid7

logger = structlog.get_logger()

KEPT_WITHIN_S, GATHER_S = 5.0, 0.02
# Events that wait for a disk that does not answer. What comes then is refused, or lost, which is said.
MOST_WAITING = 20_000
SEND_S, BUSY_S = 30.0, 2.0
# What no event's text needs, and PostgreSQL's JSON cannot hold.
_CONTROLS = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Recorder:
    """Events of all sessions of this gateway. `name` is the gateway's, known since its first lease.

    All that comes while the disk is busy is written next, together: one fsync, and one change of threads.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool, self.name = spool, ""
        self._lines: list[bytes] = []
        self._waiting: list[asyncio.Future[bool]] = []
        self._writing = False
        self._later: asyncio.TimerHandle | None = None

    async def keep(self, session: str, kind: str, data: Mapping[str, Any], outcome: str = "success") -> str:
        """The event's id, once it is on the disk. Raises Denied where it cannot be kept: nothing passes unrecorded."""
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[bool] = loop.create_future()
        event, line = self._line(session, kind, data, outcome)
        if len(self._lines) >= MOST_WAITING:
            raise _cannot_keep()
        self._lines.append(line)
        self._waiting.append(kept)
        if len(self._waiting) == 1 and not self._writing:
            loop.call_soon(self._write)
        patience = loop.call_later(KEPT_WITHIN_S, _settle, kept, False)
        try:
            if await kept:
                return event
        finally:
            patience.cancel()
        raise _cannot_keep()

    def note(self, session: str, kind: str, data: Mapping[str, Any], outcome: str = "success") -> str:
        """For what is over already: kept with what comes next, or in a moment, and nobody waits."""
        event, line = self._line(session, kind, data, outcome)
        if len(self._lines) >= MOST_WAITING:
            logger.error("event_lost", session=session, kind=kind, event_id=event)
            return event
        self._lines.append(line)
        self._write_later()
        return event

    def close(self) -> None:
        """What is left goes to the spool, whoever waits for it."""
        if self._lines:
            self._spool.offer(self._lines)
            self._lines = []

    def _write(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._writing or not self._lines:
            return
        lines, waiting = self._lines, self._waiting
        self._lines, self._waiting, self._writing = [], [], True
        loop = asyncio.get_running_loop()

        def then(kept: bool) -> None:
            # The loop may be over by then.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._written, waiting, kept)

        self._spool.offer(lines, then)

    def _written(self, waiting: Sequence["asyncio.Future[bool]"], kept: bool) -> None:
        self._writing = False
        for one in waiting:
            _settle(one, kept)
        if self._waiting:
            self._write()
        elif self._lines:
            self._write_later()

    def _write_later(self) -> None:
        if self._later is None and not self._writing:
            self._later = asyncio.get_running_loop().call_later(GATHER_S, self._write)

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


def _cannot_keep() -> Denied:
    return Denied(deny(Code.SPOOL, "This gateway cannot keep its record now, and lets nothing pass without it."))


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
