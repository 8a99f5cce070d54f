"""HTTP/1.1 with a client: one request after the other. What bodies there are have a parser of their own each."""

import time
from collections.abc import AsyncIterator
from http import HTTPStatus

import h11

from gateway import strict
from gateway.answering import Answer
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
        self._answer: Answer | None = None
        # Reads the body of the current request, if it has one.
        self._http: h11.Connection | None = None
        self._waiting_to_send = False

    async def head(self) -> Head | None:
        """The next request; None when the client has no more. Raises BadRequest, TimeoutError."""
        self.answered, self._answer, self._http = False, None, None
        if not self._buffer:
            self._buffer = await self.stream.read(IDLE_S)
        until = time.monotonic() + HEAD_S
        while strict.END not in self._buffer:
            if len(self._buffer) > strict.LONGEST_HEAD:
                raise BadRequest("The head of the request is too long.")
            more = await self.stream.read(until - time.monotonic())
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
        self._answer = Answer(self.stream, head)
        if head.has_body:
            self._begin_body(head)

    def _begin_body(self, head: Head) -> None:
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
        while self._http is not None:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequest(f"The body is not framed as its head says: {error}.") from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif event is h11.NEED_DATA:
                self._http.receive_data(await self.stream.read(BODY_S))
            else:
                if not isinstance(event, h11.EndOfMessage) or event.headers:
                    raise BadRequest("The body is cut off, or has trailers.")
                return

    def answer(self, status: int, headers: list[Header], reason: bytes) -> None:
        assert self._answer is not None
        self._answer.begin(status, headers, reason)
        self.answered = True

    def send(self, data: bytes) -> None:
        assert self._answer is not None
        self._answer.send(data)

    def flush(self) -> None:
        """What was said until now need not wait for more."""
        if self._answer is not None:
            self._answer.flush()

    def finish(self) -> bool:
        """The answer is complete. False if the connection has to end here."""
        assert self._answer is not None
        self._answer.finish()
        if self._http is not None:
            if self._http.their_state is not h11.DONE:
                return False
            self._buffer = self._http.trailing_data[0]
        return self._answer.goes_on

    def switch(self, head: bytes) -> None:
        """Another protocol follows, after these bytes; what came of it already is given back to the stream."""
        self.answered = True
        self.stream.unread(self.leftover())
        self.stream.write(head)

    def whole(self, status: int, body: bytes, kind: str, *more: Header, close: bool = True) -> bool:
        """A whole answer. True if the connection may go on."""
        headers: list[Header] = [
            (b"Content-Type", kind.encode()),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
            *more,
        ]
        if self._answer is None or close:
            lines = b"".join(b"%b: %b\r\n" % one for one in (*headers, (b"Connection", b"close")))
            self.stream.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, _phrase(status), lines, body))
            self.answered = True
            return False
        self.answer(status, headers, _phrase(status))
        self.send(body)
        return self.finish()


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()
