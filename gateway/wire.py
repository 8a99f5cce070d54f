"""Byte streams with backpressure, over asyncio's transports: read, write, bridge two of them, cut.

Not asyncio's own streams: those copy each byte twice, and cannot be bridged without a task for each direction.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

HIGH_BYTES = 256 * 1024


class Stream(Protocol):
    """What an exchange needs of a connection. `read` answers b"" at the end, and raises TimeoutError."""

    @property
    def quiet(self) -> bool: ...
    async def read(self, within_s: float | None = None) -> bytes: ...
    def unread(self, data: bytes) -> None: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Wire(asyncio.Protocol):
    """One connection, read by one task. Until it is bridged, what arrives is kept for `read`, up to HIGH_BYTES.

    Its times are timers of the loop: `asyncio.timeout` costs as much as the rest of a read.
    """

    def __init__(self, made: Callable[["Wire"], None] | None = None) -> None:
        self._made = made
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._sink: Callable[[bytes], None] | None = None
        self._peer: Wire | None = None
        self._paused = False
        self.ended = self._finished = False
        self.lost = False
        self.received_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        if self._sink is not None:
            self.received_bytes += len(data)
            self._sink(data)
            return
        self._buffer += data
        self._wake()
        if len(self._buffer) > HIGH_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.ended = True
        self._wake()
        if self._peer is not None:
            self._peer.end()
        if self._finished:
            self.transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.lost = True
        self._wake()
        self._writable.set()
        if self._peer is not None:
            self._peer.close()

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._peer is not None:
            with suppress(RuntimeError):
                self._peer.transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._peer is not None:
            with suppress(RuntimeError):
                self._peer.transport.resume_reading()

    async def read(self, within_s: float | None = None) -> bytes:
        """All that has arrived, waiting for some; b"" at the end. Raises TimeoutError."""
        while not self._buffer:
            if self.ended:
                return b""
            await self._news(within_s)
        return self.taken()

    async def is_lost(self, within_s: float) -> bool:
        """Whether the connection is gone, which is waited for."""
        while not self.lost:
            try:
                await self._news(within_s)
            except TimeoutError:
                return False
        return True

    async def _news(self, within_s: float | None) -> None:
        """Wait until something came, or the end. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(within_s, _expire, waiter) if within_s is not None else None
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def taken(self) -> bytes:
        """What has arrived until now."""
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return data

    async def exactly(self, count: int) -> bytes:
        """So many bytes. Raises ConnectionResetError where fewer come."""
        data = b""
        while len(data) < count:
            more = await self.read()
            if not more:
                raise ConnectionResetError("the other side went away in the middle")
            data += more
        self.unread(data[count:])
        return data[:count]

    @property
    def quiet(self) -> bool:
        """Whether nothing came that nobody asked for, not even the end."""
        return not self._buffer and not self.ended

    def unread(self, data: bytes) -> None:
        """Give back what was read too far."""
        if data:
            self._buffer[:0] = data
            self._wake()

    def write(self, data: bytes) -> None:
        if data and not self.lost:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the other side keeps up. Raises ConnectionResetError if there is none any more."""
        if not self._writable.is_set():
            await self._writable.wait()
        if self.lost:
            raise ConnectionResetError("the connection is gone")

    def end(self) -> None:
        """Nothing more will be written."""
        if not self.lost and self.transport.can_write_eof():
            with suppress(OSError, RuntimeError):
                self.transport.write_eof()
            self._finished = True
        if self.ended or not self._finished:
            self.close()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        """End it now: what waits to be written is dropped."""
        self.transport.abort()

    def bridge(self, other: "Wire") -> None:
        """From now on what arrives at either leaves at the other, without passing through a task."""
        self._join(other)
        other._join(self)

    def _join(self, other: "Wire") -> None:
        self._peer, self._sink = other, other.write
        waiting = bytes(self._buffer)
        self._buffer.clear()
        self.received_bytes += len(waiting)
        other.write(waiting)
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if self.ended:
            other.end()


def _expire(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


class TlsWire:
    """TLS on a wire: the server's side of it, or the client's where the far end's name is said.

    uvloop's own loses what arrived when a paused connection ends (0.23).
    """

    def __init__(self, wire: Wire, context: ssl.SSLContext, far_name: str | None = None) -> None:
        self.wire = wire
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=far_name is None, server_hostname=far_name
        )
        self._unread = b""

    async def handshake(self) -> None:
        """Raises ssl.SSLError, or ConnectionResetError where the other side went away."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                await self._more()
            except ssl.SSLError:
                # The alert that says why.
                self._flush()
                raise
            else:
                self._flush()
                return

    async def read(self, within_s: float | None = None) -> bytes:
        """Raises ConnectionResetError where what came is no TLS, TimeoutError where it does not come in time."""
        if self._unread:
            kept, self._unread = self._unread, b""
            return kept
        until = time.monotonic() + within_s if within_s is not None else None
        while (data := self._decrypted()) is None:
            more = await self.wire.read(until - time.monotonic() if until is not None else None)
            if not more:
                return b""
            self._incoming.write(more)
        return data

    def _decrypted(self) -> bytes | None:
        """What is there; None where more has to come first, b"" at the end."""
        try:
            return self._tls.read(HIGH_BYTES)
        except ssl.SSLWantReadError:
            self._flush()
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            self._flush()
            raise ConnectionResetError(f"what came is no TLS: {error.reason}") from error

    @property
    def quiet(self) -> bool:
        """See Wire. Tickets for later sessions may come at any time."""
        if self._unread or self.wire.ended:
            return False
        self._incoming.write(self.wire.taken())
        try:
            data = self._decrypted()
        except ConnectionResetError:
            return False
        if data:
            self._unread = data
        return data is None

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def write(self, data: bytes) -> None:
        if not data:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:
            # It was closed, or broken: who waits for it to be written is told.
            self.wire.abort()
        self._flush()

    async def drain(self) -> None:
        await self.wire.drain()

    def close(self) -> None:
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self.wire.close()

    def abort(self) -> None:
        self.wire.abort()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.wire.write(self._outgoing.read())

    async def _more(self) -> None:
        data = await self.wire.read()
        if not data:
            raise ConnectionResetError("the other side went away in the middle of its handshake")
        self._incoming.write(data)
