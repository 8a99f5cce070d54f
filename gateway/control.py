"""The line to the control plane: the lease, the news of kills, the policies of sessions.

Without a lease nothing passes. It is counted from before it was asked for, on the monotonic clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import structlog

from gateway import dsse
from gateway.errors import BadPolicy, Denied
from gateway.live import Over, Passage, Roster, Unasked
from gateway.policy import Code, deny
from gateway.record import Recorder

logger = structlog.get_logger()

VERSION = "1"
# The part of a lease after which it is renewed: each 3 s of 10.
RENEWED_AT = 0.3
ANSWER_S, CONNECT_S = 4.0, 3.0
# The stream beats each second: a line that is silent for longer is dead.
SILENT_S, AGAIN_S = 5.0, 0.5
PRUNE_S = 0.5
MOST_ACKS = 1_000


class Control:
    """One control plane. `run` never ends by itself."""

    def __init__(self, http: httpx.AsyncClient, keys: dsse.Keys, recorder: Recorder, address: str) -> None:
        self._http, self._keys, self._recorder, self._address = http, keys, recorder, address
        self.roster = Roster(self.passage)
        self._until, self._closed = 0.0, False
        self._started_at = datetime.now(UTC).isoformat()
        self._renew_now = asyncio.Event()
        self._acks: list[dict[str, Any]] = []
        self._to_acknowledge = asyncio.Event()

    @property
    def leased(self) -> bool:
        return not self._closed and time.monotonic() < self._until

    def check(self) -> None:
        """Raises Denied without a lease."""
        if not self.leased:
            raise Denied(deny(Code.SHUT, "This gateway has lost its control plane, and lets nothing pass without it."))

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._renew_forever, self._hear_forever, self._acknowledge_forever, self._watch_forever):
                    tasks.create_task(work())
        finally:
            self._cut_all("shutdown")

    async def close(self, within_s: float) -> None:
        """Cut everything, and tell the control plane so while there is time."""
        self._cut_all("shutdown")
        deadline = time.monotonic() + within_s
        while self._acks and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _cut_all(self, why: str) -> None:
        self._until = 0.0
        self._closed = self._closed or why == "shutdown"
        for name in list(self.roster.lives):
            self.over(name, why)

    async def passage(self, session: str) -> Passage:
        """Raises Over, Unasked, or BadPolicy."""
        try:
            answer = await self._http.get(f"sessions/{session}", timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S))
        except httpx.HTTPError as error:
            raise Unasked("The control plane does not answer.") from error
        if answer.status_code in (404, 410):
            raise Over(session)
        if answer.status_code != 200:
            raise Unasked(f"The control plane answers {answer.status_code}.")
        try:
            content = orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise Unasked("The control plane answers with something that is not JSON.") from error
        return Passage.read(content, self._keys, session)

    def over(self, session: str, why: str = "killed") -> None:
        """Cut a session, and owe the control plane a word about it."""
        count, elapsed_us = self.roster.drop(session, why)
        cut_at = datetime.now(UTC).isoformat()
        self._acks.append({"session": session, "cut_at": cut_at, "connections": count, "elapsed_us": elapsed_us})
        self._to_acknowledge.set()

    async def _renew_forever(self) -> None:
        while True:
            self._renew_now.clear()
            try:
                pause = await self._renew()
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                logger.warning("lease_not_renewed", why=f"{type(error).__name__} {error}")
                pause = AGAIN_S
            try:
                async with asyncio.timeout(pause):
                    await self._renew_now.wait()
            except TimeoutError:
                continue

    async def _renew(self) -> float:
        """Returns when to ask again, in seconds."""
        asked = time.monotonic()
        sessions = {name: live.policy.serial for name, live in self.roster.lives.items()}
        body = {
            "version": VERSION,
            "address": self._address,
            "started_at": self._started_at,
            "sessions": sessions,
        }
        answer = await self._http.post("lease", json=body, timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S))
        answer.raise_for_status()
        said = answer.json()
        self._recorder.name = said["gateway"]
        until = asked + float(said["lease_s"])
        for session in said["over"]:
            self.over(session)
        for session in said["changed"]:
            await self._refresh(session)
        self._until = max(self._until, until)
        return float(said["lease_s"]) * RENEWED_AT

    async def _refresh(self, session: str) -> None:
        """What has changed and cannot be learned is cut: an old policy may allow what nobody allows any more."""
        try:
            await self.roster.refresh(session)
        except Over:
            self.over(session)
        except (Unasked, BadPolicy) as error:
            logger.warning("policy_not_renewed", session=session, why=str(error))
            self.over(session, "policy")

    async def _hear_forever(self) -> None:
        while True:
            try:
                async for news in self._news():
                    for session in news.get("over", ()):
                        self.over(session)
                    for session in news.get("changed", ()):
                        await self._refresh(session)
            except (httpx.HTTPError, TimeoutError, ValueError, TypeError, AttributeError) as error:
                logger.warning("line_lost", why=f"{type(error).__name__} {error}")
            # What was missed meanwhile is in the answer to the lease.
            self._renew_now.set()
            await asyncio.sleep(AGAIN_S)

    async def _news(self) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            timeout = httpx.Timeout(SILENT_S, connect=CONNECT_S)
            answer = await stack.enter_async_context(self._http.stream("GET", "stream", timeout=timeout))
            answer.raise_for_status()
            self._renew_now.set()
            async for line in answer.aiter_lines():
                yield orjson.loads(line)

    async def _acknowledge_forever(self) -> None:
        while True:
            await self._to_acknowledge.wait()
            acks = self._acks[:MOST_ACKS]
            try:
                answer = await self._http.post("acks", json={"acks": acks}, timeout=ANSWER_S)
                answer.raise_for_status()
            except httpx.HTTPError as error:
                logger.warning("not_acknowledged", count=len(acks), why=f"{type(error).__name__} {error}")
                await asyncio.sleep(AGAIN_S)
                continue
            del self._acks[: len(acks)]
            if not self._acks:
                self._to_acknowledge.clear()

    async def _watch_forever(self) -> None:
        """Cuts everything when the lease lapses, and what has come to its own end."""
        while True:
            await asyncio.sleep(min(PRUNE_S, max(0.01, self._until - time.monotonic())))
            for name, live in list(self.roster.lives.items()):
                if not self.leased:
                    self.over(name, "lease")
                elif datetime.now(UTC) >= live.policy.not_after:
                    self.over(name, "expired")
                else:
                    live.prune()
