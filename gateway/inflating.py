"""Compressed bodies: we ask for none, and look into those that come all the same.

What was inflated goes on inflated, without Content-Encoding: what was scanned is then exactly what arrives.
"""

import zlib
from collections.abc import Iterator

from gateway.head import Head
from gateway.refusal import InflationError

_PIECE = 64 * 1024
_WBITS = {b"gzip": zlib.MAX_WBITS | 16, b"x-gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}
# Signed uploads to S3 name their framing here (gateway/aws_chunks.py); it is not a compression.
_OPEN = frozenset({b"identity", b"aws-chunked", b""})


def asking_identity(head: Head) -> Head:
    """The request as it goes on: the answer is wanted uncompressed."""
    return head.having(b"Accept-Encoding", b"identity")


def coding_of(head: Head) -> bytes | None:
    """The compression of this body, or None. Raises InflationError for one that cannot be looked into."""
    names = b",".join(head.all(b"content-encoding")).lower().split(b",")
    codings = [name.strip() for name in names if name.strip() not in _OPEN]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _WBITS:
        listed = b", ".join(codings)[:60].decode("latin-1")
        raise InflationError("encoding_unreadable", f"A body encoded as {listed!r} cannot be looked into.")
    return codings[0]


def inflated(head: Head) -> Head:
    """The head of a body that goes on inflated: its length is not known any more."""
    codings = b",".join(head.all(b"content-encoding")).split(b",")
    open_codings = [coding.strip() for coding in codings if coding.strip().lower() in _OPEN - {b"", b"identity"}]
    bare = head.without(b"content-encoding", b"content-length", b"content-md5", b"digest", b"content-digest")
    return bare.having(b"Content-Encoding", b",".join(open_codings)) if open_codings else bare


class Inflater:
    """Inflates one body in pieces. Raises InflationError for what is broken, cut short, or a bomb.

    A bomb is more than `most` bytes in all, or more than `ratio` times what came in, once it is over a MiB.
    """

    def __init__(self, coding: bytes, *, most: int = 1 << 30, ratio: int = 200) -> None:
        self._wbits = _WBITS[coding]
        self._most, self._ratio = most, ratio
        self._taken = self._given = 0
        # Whether a deflate body has zlib's header shows in its first two bytes.
        self._start = b""
        self._inflate: zlib._Decompress | None = None if coding == b"deflate" else zlib.decompressobj(self._wbits)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The inflated bytes in pieces of at most 64 KiB; take all of them before the next chunk."""
        self._taken += len(chunk)
        if self._inflate is None:
            self._start += chunk
            if len(self._start) < 2:
                return
            chunk = self._start
            self._inflate = zlib.decompressobj(self._wbits if _has_zlib_header(chunk) else -zlib.MAX_WBITS)
        piece = b""
        # zlib may have taken all of its input and still hold output back.
        while chunk or len(piece) == _PIECE:
            piece, chunk = self._step(chunk)
            if piece:
                yield piece

    def finish(self) -> None:
        """At the end of the body; an empty one is no error."""
        if self._taken and (self._inflate is None or not self._inflate.eof):
            raise InflationError("encoding_broken", "A compressed body is cut short.")

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        inflate = self._inflate
        if inflate is None or (inflate.eof and data):
            inflate = self._inflate = self._next_member()
        try:
            piece = inflate.decompress(data, _PIECE)
        except zlib.error as error:
            raise InflationError("encoding_broken", "A compressed body is not what it says.") from error
        self._given += len(piece)
        if self._given > self._most or self._given > max(1 << 20, self._ratio * self._taken):
            raise InflationError("encoding_bomb", "A compressed body becomes far larger than it is.")
        return piece, inflate.unconsumed_tail or inflate.unused_data

    def _next_member(self) -> "zlib._Decompress":
        """RFC 1952 allows several members in one gzip body; nothing may follow any other."""
        if self._wbits != zlib.MAX_WBITS | 16:
            raise InflationError("encoding_broken", "Something follows the end of a compressed body.")
        return zlib.decompressobj(self._wbits)


def _has_zlib_header(start: bytes) -> bool:
    """RFC 1950: method 8, and a multiple of 31. Servers send bare deflate under the same name."""
    return start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
