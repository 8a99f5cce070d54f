"""Bodies framed as aws-chunked: S3's streaming uploads, whose chunks may each carry a signature.

    SIZE;chunk-signature=HEX CRLF data CRLF ... 0;chunk-signature=HEX CRLF
    [x-amz-checksum-NAME:VALUE CRLF ... x-amz-trailer-signature:HEX CRLF] CRLF

Each signature signs the one before it, the first one that of the head. Unsigned bodies have neither kind.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.refusal import SigningError

_CHUNK_MOST = 16 << 20
_LINE_MOST = 1024
_LINES_MOST = 16
_EMPTY = hashlib.sha256(b"").hexdigest()
_SIGNED_LINE = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=[0-9a-f]{64}")
_PLAIN_LINE = re.compile(rb"([0-9a-fA-F]{1,8})")
_TRAILER = re.compile(rb"(x-amz-[a-z0-9-]+) *:[ \t]*([\x21-\x7e]*)[ \t]*", re.IGNORECASE)
_TRAILER_SIGNATURE = b"x-amz-trailer-signature"


@dataclass(frozen=True)
class ChunkKey:
    """What signs the chunks of one body."""

    key: bytes = field(repr=False)
    stamp: str
    scope: str

    def chunk(self, before: str, data: bytes | bytearray) -> str:
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", before, f"{_EMPTY}\n{hashlib.sha256(data).hexdigest()}")

    def trailer(self, before: str, canonical: bytes) -> str:
        return self._sign("AWS4-HMAC-SHA256-TRAILER", before, hashlib.sha256(canonical).hexdigest())

    def _sign(self, kind: str, before: str, digests: str) -> str:
        return hmac.digest(
            self.key, f"{kind}\n{self.stamp}\n{self.scope}\n{before}\n{digests}".encode(), "sha256"
        ).hex()


class Framed(NamedTuple):
    """What may go on, and what is to be scanned: the object's own bytes, and the trailers, each after a line end."""

    wire: bytes
    payload: bytes


class Chunks:
    """Takes one body as it comes and signs it anew, chunk by chunk; its length stays the same.

    A signed chunk is held until it is whole, since its signature goes first; over 16 MiB it is refused. Scan `payload`
    before `wire` goes on: a secret may lie across two chunks, where nobody sees it in the wire.
    """

    def __init__(self, key: ChunkKey | None, *, seed: str, trailer: bool) -> None:
        self._key, self._before, self._trailer = key, seed, trailer
        self._buffer = bytearray()
        self._chunk = bytearray()
        self._size = b""
        # Bytes of the current chunk's data and its line end that are still to come; None between chunks.
        self._left: int | None = None
        self._tail: list[tuple[bytes, bytes]] | None = None
        self._done = False
        self._wire: list[bytes] = []
        self._payload: list[bytes] = []

    def feed(self, data: bytes) -> Framed:
        """Raises SigningError where the framing is not what the head says."""
        self._buffer += data
        while self._buffer and (self._data() if self._left is not None else self._line()):
            pass
        framed = Framed(b"".join(self._wire), b"".join(self._payload))
        self._wire, self._payload = [], []
        return framed

    def finish(self) -> None:
        """At the end of the body."""
        if not self._done or self._buffer:
            raise SigningError("chunks_short", "The upload ended before its last chunk.")

    def _line(self) -> bool:
        end = self._buffer.find(b"\r\n", 0, _LINE_MOST)
        if self._done or (end < 0 and len(self._buffer) >= _LINE_MOST):
            raise SigningError("chunks_shape", "The upload is not framed as aws-chunked.")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._tail is None:
            self._open(line)
        else:
            self._trail(line, self._tail)
        return True

    def _open(self, line: bytes) -> None:
        match = (_SIGNED_LINE if self._key else _PLAIN_LINE).fullmatch(line)
        if match is None:
            raise SigningError("chunks_shape", "A chunk of the upload does not begin as its kind does.")
        size = int(match[1], 16)
        if self._key and size > _CHUNK_MOST:
            raise SigningError("chunks_large", "A signed chunk of the upload is over 16 MiB.")
        self._size = match[1]
        if size:
            self._left = size + 2
            if self._key is None:
                self._wire.append(self._size + b"\r\n")
        else:
            self._wire.append(self._opening(b""))
            self._tail = []

    def _opening(self, data: bytes | bytearray) -> bytes:
        if self._key is None:
            return self._size + b"\r\n"
        self._before = self._key.chunk(self._before, data)
        return self._size + b";chunk-signature=" + self._before.encode() + b"\r\n"

    def _data(self) -> bool:
        """Take what is there of the current chunk; its last two bytes are the line's end."""
        assert self._left is not None
        taken = bytes(self._buffer[: max(0, self._left - 2)])
        del self._buffer[: len(taken)]
        self._left -= len(taken)
        if taken:
            self._payload.append(taken)
            (self._wire.append if self._key is None else self._chunk.extend)(taken)
        if self._left > 2 or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise SigningError("chunks_shape", "A chunk of the upload is longer than it says.")
        del self._buffer[:2]
        if self._key is not None:
            self._wire += [self._opening(self._chunk), bytes(self._chunk)]
            self._chunk.clear()
        self._wire.append(b"\r\n")
        self._left = None
        return True

    def _trail(self, line: bytes, tail: list[tuple[bytes, bytes]]) -> None:
        if not line:
            self._close(tail)
            return
        match = _TRAILER.fullmatch(line)
        if match is None or not self._trailer or len(tail) >= _LINES_MOST:
            raise SigningError("chunks_shape", "The upload ends with something that is not a checksum.")
        tail.append((match[1].lower(), match[2]))
        if match[1].lower() != _TRAILER_SIGNATURE:
            # Where nothing is signed anew the line goes on as it came.
            self._payload.append(b"\n" + line)
            self._wire.append(line + b"\r\n")

    def _close(self, tail: list[tuple[bytes, bytes]]) -> None:
        names = [name for name, _ in tail]
        if names.count(_TRAILER_SIGNATURE) != int(self._key is not None and self._trailer):
            raise SigningError("chunks_shape", "The upload's trailer is not signed as its kind says.")
        if self._key is not None and self._trailer:
            canonical = b"".join(name + b":" + value + b"\n" for name, value in tail if name != _TRAILER_SIGNATURE)
            self._before = self._key.trailer(self._before, canonical)
            self._wire.append(_TRAILER_SIGNATURE + b":" + self._before.encode() + b"\r\n")
        self._wire.append(b"\r\n")
        self._done = True
