"""HTTP/1.1 with a client: one request after the other, each with a parser of its own."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import h11

from gateway import strict
from gateway.head import Head, Header
from gateway.strict import BadRequest
from gateway.wire import Stream

IDLE_S, HEAD_S, BODY_S = 60.0, 20.0, 600.0


class Conversation:
    """The server's side of a connection. `answered`: the answer to the current request has begun."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.answered = False
        self._buffer = b""
        self._http: h11.Connection | None = None
        self._waiting_to_send = False

    async def head(self) -> Head | None:
        """The next request; None when the client has no more. Raises BadRequest, TimeoutError."""
        self.answered, self._http = False, None
        if not self._buffer:
            async with asyncio.timeout(IDLE_S):
                self._buffer = await self.stream.read()
        async with asyncio.timeout(HEAD_S):
            while strict.END not in self._buffer:
                if len(self._buffer) > strict.LONGEST_HEAD:
                    raise BadRequest("The head of the request is too long.")
                more = await self.stream.read()
                if not more:
                    if self._buffer:
                        raise BadRequest("The head of the request is cut off.")
                    return None
                self._buffer += more
        raw, _, self._buffer = self._buffer.partition(strict.END)
        return strict.head(raw + strict.END)

    def leftover(self) -> bytes:
        """What came behind the head of a CONNECT."""
        left, self._buffer = self._buffer, b""
        return left

    def begin(self, head: Head) -> None:
        """Let the body be read and the answer be sent. Raises BadRequest."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=strict.LONGEST_HEAD)
        lines = [b"%b %b HTTP/1.1" % (head.method, head.target), *(b"%b: %b" % pair for pair in head.headers)]
        try:
            self._http.receive_data(b"\r\n".join(lines) + strict.END + self._buffer)
            self._buffer = b""
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(f"The request is not HTTP/1.1: {error}.") from error
        if not isinstance(event, h11.Request):
            raise BadRequest("The request is not HTTP/1.1.")
        self._waiting_to_send = self._http.they_are_waiting_for_100_continue

    def ask_for_body(self) -> None:
        """Tell a client that waits for it that its body is wanted."""
        if self._waiting_to_send:
            self._waiting_to_send = False
            self.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def body(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises BadRequest where it is framed wrongly or cut off."""
        assert self._http is not None
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequest(f"The body is not framed as its head says: {error}.") from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif event is h11.NEED_DATA:
                async with asyncio.timeout(BODY_S):
                    self._http.receive_data(await self.stream.read())
            else:
                if not isinstance(event, h11.EndOfMessage) or event.headers:
                    raise BadRequest("The body is cut off, or has trailers.")
                return

    def answer(self, status: int, headers: list[Header], reason: bytes = b"") -> None:
        assert self._http is not None
        self.answered = True
        self._send(h11.Response(status_code=status, headers=headers, reason=reason))

    def send(self, data: bytes) -> None:
        if data:
            self._send(h11.Data(data=data))

    def finish(self) -> bool:
        """The answer is complete. False if the connection has to end here."""
        assert self._http is not None
        self._send(h11.EndOfMessage())
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._buffer = self._http.trailing_data[0]
        return True

    def switch(self, head: bytes) -> None:
        """Another protocol follows, after these bytes; what came of it already is given back to the stream."""
        assert self._http is not None
        self.answered = True
        self.stream.unread(self._http.trailing_data[0])
        self.stream.write(head)

    def _send(self, event: "h11.Response | h11.Data | h11.EndOfMessage") -> None:
        assert self._http is not None
        data = self._http.send(event)
        if data:
            self.stream.write(data)

    def whole(self, status: int, body: bytes, kind: str, *more: Header, close: bool = True) -> bool:
        """A whole answer. True if the connection may go on."""
        headers: list[Header] = [
            (b"Content-Type", kind.encode()),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
            *more,
        ]
        if self._http is None or close:
            lines = b"".join(b"%b: %b\r\n" % one for one in (*headers, (b"Connection", b"close")))
            self.stream.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, _phrase(status), lines, body))
            self.answered = True
            return False
        self.answer(status, headers)
        self.send(body)
        return self.finish()


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()
