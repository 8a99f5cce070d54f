"""A request on one connection to its far end, and the answer on its way back."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11

from gateway.conversation import Conversation
from gateway.inbound import Inbound
from gateway.live import Hold, Live
from gateway.outgoing import Leak, Outgoing
from gateway.policy import Rule
from gateway.redaction import Hit
from gateway.resolving import UpstreamError
from gateway.strict import BadRequest
from gateway.upstream import Upstream
from gateway.websocket import Frames, SplitSecret, relay

ANSWER_S = 900.0
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


class FarGone(UpstreamError):
    """The far end ended the connection before its answer began."""


@dataclass
class Underway:
    """What is told of a request afterwards. `found` takes a finding's kind, the hit, and where it was."""

    event: str
    rule: Rule
    hold: Hold
    found: Callable[[str, Hit, str], None]
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    problem: str = ""


class Carrying:
    """`begun`: something of the answer came."""

    def __init__(self, talk: Conversation, live: Live, going: Outgoing, upstream: Upstream, passage: Underway) -> None:
        self._talk, self._live, self._going = talk, live, going
        self._far, self._passage = upstream.wire, passage
        self._http = h11.Connection(h11.CLIENT)
        self._told: set[tuple[str, Hit, str]] = set()
        self._head = b""
        self.begun = False

    async def run(self) -> tuple[bool, bool]:
        """Whether the client's connection may go on, and whether the far end's may be used again.

        Raises UpstreamError, Leak, Refusal, BadRequest; then the connection to the far end is gone.
        """
        hold = self._passage.hold
        hold.add(self._far)
        try:
            hold.check()
            self._send_head()
            return await self._both(), self._reusable
        except BaseException:
            self._far.abort()
            raise
        finally:
            hold.drop(self._far)

    @property
    def _reusable(self) -> bool:
        done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        return done and not self._http.trailing_data[0]

    def _send_head(self) -> None:
        head = self._going.head
        try:
            request = h11.Request(method=head.method, target=head.target, headers=list(head.headers))
        except h11.LocalProtocolError as error:
            raise BadRequest(f"The request cannot be sent on: {error}.") from error
        data = self._http.send(request)
        assert data is not None
        # With the first piece of the body, once that was looked through; or alone, where there is none.
        self._head = data

    async def _both(self) -> bool:
        """Send the body while the answer comes: it may come first, and then nobody wants the rest."""
        if not self._going.head.has_body:
            self._write(h11.EndOfMessage())
            return await self._receive()
        sending = asyncio.create_task(self._send_body())
        receiving = asyncio.create_task(self._receive())
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            problem = sending.exception() if sending.done() else None
            if problem is not None and not isinstance(problem, FarGone):
                raise problem
            return await receiving
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send_body(self) -> None:
        scanner = self._going.scanner
        async for data in self._going.body:
            for hit in scanner.hits:
                self._find("finding.leak", hit, "body")
            if data:
                self._write(h11.Data(data=data))
                try:
                    await self._far.drain()
                except ConnectionResetError as error:
                    raise FarGone("The far end ended the connection.") from error
        self._write(h11.EndOfMessage())

    def _write(self, event: "h11.Data | h11.EndOfMessage") -> None:
        data = self._head + (self._http.send(event) or b"")
        self._head = b""
        if data:
            self._passage.sent_bytes += len(data)
            self._far.write(data)

    async def _event(self) -> Any:
        """The next event of the answer. Raises FarGone, UpstreamError; Denied where a cut was the reason."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._passage.hold.check()
                raise UpstreamError("The far end does not answer in HTTP/1.1, or broke off its answer.") from error
            if event is not h11.NEED_DATA:
                return event
            self._talk.flush()
            data = await self._far.read(ANSWER_S)
            if not data and not self.begun:
                self._passage.hold.check()
                raise FarGone("The far end ended the connection.")
            self.begun = self.begun or bool(data)
            self._passage.received_bytes += len(data)
            self._http.receive_data(data)

    async def _receive(self) -> bool:
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:
                return await self._switched(event)
            event = await self._event()
        if not isinstance(event, h11.Response):
            raise UpstreamError("The far end does not answer in HTTP/1.1.")
        bodiless = self._going.head.method == b"HEAD" or event.status_code in (204, 304)
        inbound = Inbound(self._live.patterns, list(event.headers.raw_items()), bodiless=bodiless)
        self._passage.status = event.status_code
        self._talk.answer(event.status_code, inbound.headers, bytes(event.reason))
        await self._bring(inbound)
        return self._talk.finish()

    async def _bring(self, inbound: Inbound) -> None:
        while isinstance(event := await self._event(), h11.Data):
            for piece in inbound.feed(bytes(event.data)):
                self._talk.send(piece)
                await self._talk.stream.drain()
            self._echoes(inbound)
        if not isinstance(event, h11.EndOfMessage):
            raise UpstreamError("The far end broke off its answer.")
        self._talk.send(inbound.finish())
        self._echoes(inbound)

    def _echoes(self, inbound: Inbound) -> None:
        for hit, where in inbound.hits:
            self._find("finding.echo", hit, where)

    def _find(self, kind: str, hit: Hit, where: str) -> None:
        """Each finding once for a request, however often it comes."""
        if (kind, hit, where) not in self._told:
            self._told.add((kind, hit, where))
            self._passage.found(kind, hit, where)

    async def _switched(self, event: h11.InformationalResponse) -> bool:
        """The far end speaks WebSocket from here on. Returns when it is over."""
        head = self._going.head
        if head.one(b"upgrade") is None:
            raise UpstreamError("The far end changes to a protocol that nobody asked for.")
        inbound = Inbound(self._live.patterns, list(event.headers.raw_items()), bodiless=True)
        self._passage.status = 101
        kept = b"".join(b"%b: %b\r\n" % pair for pair in inbound.headers)
        sending = Frames(self._live.patterns, lambda hit: self._find("finding.leak", hit, "message"), self._bound)
        receiving = Frames(self._live.patterns, lambda hit: self._find("finding.echo", hit, "message"))
        self._far.unread(self._http.trailing_data[0])
        self._talk.switch(SWITCHING + kept + b"\r\n")
        try:
            sent, received = await relay(self._talk.stream, self._far, sending, receiving)
        except SplitSecret as split:
            raise Leak(split.hit, "message") from split
        self._passage.sent_bytes += sent
        self._passage.received_bytes += received
        self._passage.hold.check()
        return False

    @property
    def _bound(self) -> frozenset[str]:
        return self._going.bound
