"""One answer to a client in HTTP/1.1, framed by its Content-Length, in chunks, or without a body."""

import re

from gateway.head import Head, Header
from gateway.wire import Stream

BODILESS = frozenset({204, 304})
_BROKEN = re.compile(rb"[\r\n\0]")


class BrokenAnswer(Exception):
    """The answer is not what its head says, or cannot be said at all."""


class Answer:
    """To the request with this head. What is written waits until `flush`, or until there is more of it."""

    def __init__(self, stream: Stream, head: Head) -> None:
        self._stream, self._bodiless = stream, head.method == b"HEAD"
        closing = any(b"close" in value.lower() for value in head.all(b"connection"))
        self._end = b"Connection: close\r\n\r\n" if closing else b"\r\n"
        self.goes_on = not closing
        self._left: int | None = None
        self._waiting = b""

    def begin(self, status: int, headers: list[Header], reason: bytes) -> None:
        """Raises BrokenAnswer."""
        self._bodiless = self._bodiless or status in BODILESS
        lines = [b"HTTP/1.1 %d %b" % (status, reason)]
        framed = self._bodiless
        for name, value in headers:
            lines.append(b"%b: %b" % (name, value))
            if name.lower() == b"content-length":
                self._left, framed = int(value), True
        if any(map(_BROKEN.search, lines)):
            raise BrokenAnswer("A line of the answer's head holds another one.")
        if not framed:
            lines.append(b"Transfer-Encoding: chunked")
        self._waiting = b"\r\n".join([*lines, self._end])

    def send(self, data: bytes) -> None:
        """Raises BrokenAnswer for more than was promised."""
        if not data or self._bodiless:
            return
        if self._left is None:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        else:
            self._left -= len(data)
            if self._left < 0:
                raise BrokenAnswer("The answer is longer than its head says.")
        self._stream.write(self._waiting + data if self._waiting else data)
        self._waiting = b""

    def flush(self) -> None:
        if self._waiting:
            self._stream.write(self._waiting)
            self._waiting = b""

    def finish(self) -> None:
        """Raises BrokenAnswer for less than was promised."""
        if not self._bodiless and self._left:
            raise BrokenAnswer("The answer is shorter than its head says.")
        if not self._bodiless and self._left is None:
            self._waiting += b"0\r\n\r\n"
        self.flush()
