"""The name that a TLS client asks for, out of its first bytes (RFC 8446 section 4.1.2, RFC 6066 section 3)."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import BadHello

HANDSHAKE, CLIENT_HELLO = 0x16, 0x01
SERVER_NAME, ALPN = 0x0000, 0x0010
# Encrypted ClientHello, its earlier drafts, what only an inner one may carry, and the encrypted SNI before it.
HIDING = frozenset((*range(0xFE08, 0xFE0E), 0xFD00, 0xFFCE))
LONGEST, MOST_RECORDS = 65_536, 32


@dataclass(frozen=True)
class Hello:
    """`name` is the SNI as it was sent, None without one. `hidden`: it carries an encrypted ClientHello."""

    name: str | None
    hidden: bool = False
    alpn: tuple[bytes, ...] = ()


def read(data: bytes) -> Hello | None:
    """The hello at the beginning of `data`; None while more bytes are needed. Raises BadHello."""
    message = _message(data)
    return None if message is None else _hello(_Reader(message))


def _message(data: bytes) -> bytes | None:
    """The handshake message, put together from as many records as it has."""
    message = b""
    at = 0
    for _ in range(MOST_RECORDS):
        if len(data) > at and data[at] != HANDSHAKE:
            raise BadHello("These bytes are not TLS.")
        if len(data) < at + 5:
            return None
        if data[at + 1] != 3:
            raise BadHello("These bytes are not TLS.")
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if not 0 < length <= 16_384:
            raise BadHello("A TLS record has an impossible length.")
        message += data[at + 5 : at + 5 + length]
        if message[:1] not in (b"", bytes([CLIENT_HELLO])):
            raise BadHello("TLS does not begin with a ClientHello.")
        if len(message) >= 4:
            wanted = int.from_bytes(message[1:4], "big")
            if wanted > LONGEST:
                raise BadHello("The ClientHello is too long.")
            if len(message) >= 4 + wanted:
                return message[4 : 4 + wanted]
        if len(data) < at + 5 + length:
            return None
        at += 5 + length
    raise BadHello("The ClientHello is in too many pieces.")


def _hello(reader: "_Reader") -> Hello:
    reader.take(2 + 32)
    reader.block(1)
    reader.block(2)
    reader.block(1)
    if reader.empty:
        return Hello(None)
    extensions: dict[int, bytes] = {}
    for kind, body in _extensions(reader.last(2)):
        if kind in extensions:
            raise BadHello("The ClientHello has an extension twice.")
        extensions[kind] = body
    names = tuple(_names(_Reader(extensions[SERVER_NAME]).last(2))) if SERVER_NAME in extensions else (None,)
    if len(names) != 1:
        raise BadHello("The ClientHello names more than one host, or none.")
    alpn = tuple(_protocols(_Reader(extensions[ALPN]).last(2))) if ALPN in extensions else ()
    return Hello(names[0], not HIDING.isdisjoint(extensions), alpn)


def _extensions(reader: "_Reader") -> Iterator[tuple[int, bytes]]:
    while not reader.empty:
        yield int.from_bytes(reader.take(2), "big"), reader.block(2)


def _names(reader: "_Reader") -> Iterator[str]:
    while not reader.empty:
        kind, name = reader.take(1), reader.block(2)
        if kind != b"\0":
            raise BadHello("The ClientHello names a host of an unknown kind.")
        if not name or not name.isascii():
            raise BadHello("The ClientHello's host name is not ASCII.")
        yield name.decode("ascii")


def _protocols(reader: "_Reader") -> Iterator[bytes]:
    while not reader.empty:
        yield reader.block(1)


class _Reader:
    """Bytes in order; what is missing is a BadHello."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def empty(self) -> bool:
        return self._at >= len(self._data)

    def take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) < length:
            raise BadHello("The ClientHello is cut off.")
        self._at += length
        return taken

    def block(self, prefix: int) -> bytes:
        """A vector behind a length of `prefix` bytes."""
        return self.take(int.from_bytes(self.take(prefix), "big"))

    def last(self, prefix: int) -> "_Reader":
        """Into a vector behind which nothing may come: what stood there, another parser might read."""
        inner = _Reader(self.block(prefix))
        if not self.empty:
            raise BadHello("The ClientHello has bytes that belong to nothing.")
        return inner
