"""ClientHellos: real ones out of OpenSSL, and ones built by hand that no library would send."""

import ssl
from collections.abc import Sequence

SNI, ALPN = 0x0000, 0x0010


def real(name: str | None, alpn: Sequence[str] = (), version: ssl.TLSVersion | None = None) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    sent = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("a handshake without a server")


def vector(body: bytes, prefix: int) -> bytes:
    return len(body).to_bytes(prefix, "big") + body


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(body, 2)


def sni(*names: bytes, kind: int = 0) -> bytes:
    return extension(SNI, vector(b"".join(bytes([kind]) + vector(name, 2) for name in names), 2))


def message(*extensions: bytes, after: bytes = b"", bare: bool = False) -> bytes:
    """The handshake message; `after` stands inside it behind the extensions."""
    start = b"\3\3" + b"r" * 32 + vector(b"s" * 32, 1) + vector(b"\x13\x01", 2) + vector(b"\0", 1)
    body = start + (b"" if bare else vector(b"".join(extensions), 2)) + after
    return b"\1" + vector(body, 3)


def records(handshake: bytes, size: int = 16_384) -> bytes:
    """In TLS records of at most so many bytes."""
    pieces = [handshake[at : at + size] for at in range(0, len(handshake), size)]
    return b"".join(b"\x16\3\1" + vector(piece, 2) for piece in pieces)
