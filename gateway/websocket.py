"""WebSocket (RFC 6455) once it is open: frames pass, looked through in both directions, until a side or a kill ends it.

A message is looked through frame by frame. A secret that is split over frames is found too, but cannot be taken out any
more: it ends the connection.
"""

import asyncio
from collections.abc import Callable

from gateway.head import Head
from gateway.redaction import Hit, Patterns, Scanner
from gateway.strict import listed
from gateway.wire import Stream

IDLE_S = 3_600.0
LONGEST_HEAD = 14


def is_asked_for(head: Head) -> bool:
    return head.method == b"GET" and b"upgrade" in listed(head, b"connection") and listed(head, b"upgrade") == [
        b"websocket"
    ]  # fmt: skip


class SplitSecret(Exception):
    """A secret lies across two frames."""

    def __init__(self, hit: Hit) -> None:
        super().__init__(f"a secret of the session over two frames ({hit.slot})")
        self.hit = hit


class Frames:
    """One direction. `found` is told each secret; what `feed` gives has as many bytes as what came."""

    def __init__(self, patterns: Patterns, found: Callable[[Hit], None], bound: frozenset[str] = frozenset()) -> None:
        self._patterns, self._found, self._bound = patterns, found, bound
        self._head = b""
        self._left = 0
        self._mask, self._taken, self._given = b"", 0, 0
        self._scanner = Scanner(patterns, bound=bound)
        # The end of all frames before this one, and the beginning of this one.
        self._before, self._start, self._recent = b"", b"", b""

    def feed(self, data: bytes) -> bytes:
        """Raises SplitSecret."""
        given: list[bytes] = []
        while data:
            if not self._left:
                head, data = self._opened(data)
                given.append(head)
                continue
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            given.append(self._payload(piece, last=not self._left))
        return b"".join(given)

    def _opened(self, data: bytes) -> tuple[bytes, bytes]:
        """The head of a frame, as far as it is there; what follows it."""
        whole = self._head + data
        length = _head_length(whole)
        if length is None or len(whole) < length:
            self._head = whole
            return b"", b""
        self._head = b""
        short = whole[1] & 0x7F
        wide = {126: 2, 127: 8}.get(short, 0)
        self._left = int.from_bytes(whole[2 : 2 + wide], "big") if wide else short
        self._mask = whole[2 + wide : length] if whole[1] & 0x80 else b""
        self._taken = self._given = 0
        return whole[:length], whole[length:]

    def _payload(self, piece: bytes, *, last: bool) -> bytes:
        plain = self._masked(piece, self._taken)
        self._taken += len(piece)
        self._look_across(plain)
        clean = self._scanner.feed(plain)
        if last:
            clean += self._scanner.finish()
            for hit in self._scanner.hits:
                self._found(hit)
            self._scanner = Scanner(self._patterns, bound=self._bound)
            self._before, self._start = self._recent, b""
        # What the scanner held back goes under the mask of where it stood.
        given = self._masked(clean, self._given)
        self._given += len(clean)
        return given

    def _masked(self, data: bytes, at: int) -> bytes:
        if not self._mask:
            return data
        turned = self._mask[at % 4 :] + self._mask[: at % 4]
        keys = (turned * (len(data) // 4 + 1))[: len(data)]
        return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(data), "big")

    def _look_across(self, plain: bytes) -> None:
        longest = self._patterns.longest
        self._recent = (self._recent + plain)[-longest:] if longest else b""
        if not self._before or len(self._start) >= longest:
            return
        self._start += plain[: longest - len(self._start)]
        for match in self._patterns.matches(self._before + self._start, self._bound):
            if match.start < len(self._before) < match.end:
                raise SplitSecret(match.pattern.hit)


def _head_length(data: bytes) -> int | None:
    if len(data) < 2:
        return None
    return 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0) + (4 if data[1] & 0x80 else 0)


async def relay(client: Stream, far: Stream, sending: Frames, receiving: Frames) -> tuple[int, int]:
    """Until one side ends. Returns how many bytes went out and came in. Raises SplitSecret."""
    counts = [0, 0]

    async def pump(source: Stream, sink: Stream, frames: Frames, side: int) -> None:
        while True:
            data = await source.read(IDLE_S)
            if not data:
                return
            counts[side] += len(data)
            sink.write(frames.feed(data))
            await sink.drain()

    pumps = {asyncio.create_task(pump(client, far, sending, 0)), asyncio.create_task(pump(far, client, receiving, 1))}
    try:
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    return counts[0], counts[1]
