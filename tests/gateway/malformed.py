"""Requests that no client needs: smuggling, garbage, names that were bypasses elsewhere, as bytes on a proxy's port.

Each is one connection's worth. Nothing of it may be answered with success, reach a far end, or end the gateway.
"""

import random
from collections.abc import Callable, Iterator, Sequence

from tests.gateway.hellos import extension, message, records, sni, vector

ALLOWED, EVIL = b"allowed.com", b"canary.evil.example"
OK = b"GET http://canary.evil.example/ HTTP/1.1\r\nHost: canary.evil.example\r\n"
POST = b"POST http://canary.evil.example/ HTTP/1.1\r\nHost: canary.evil.example\r\n"
INNER = b"GET http://canary.evil.example/inner HTTP/1.1\r\nHost: canary.evil.example\r\n\r\n"

SMUGGLING: Sequence[bytes] = (
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + INNER,
    POST + b"Content-Length: 5, 6\r\n\r\n" + INNER,
    POST + b"Content-Length: +5\r\n\r\nhello",
    POST + b"Content-Length: -5\r\n\r\nhello",
    POST + b"Content-Length: 0x5\r\n\r\nhello",
    POST + b"Content-Length: 5_0\r\n\r\nhello",
    POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    POST + b"Content-Length:\r\n\r\n",
    POST + b"Content-Length: \xd9\xa5\r\n\r\nhello",
    POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: \x00chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    POST + b"X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 70_000 + b"\r\na\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" + INNER,
    POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + INNER,
    POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: allowed.com\r\n\r\n" + INNER,
)
LINES: Sequence[bytes] = (
    OK.replace(b"\r\n", b"\n") + b"\n",
    OK.replace(b"\r\n", b"\r") + b"\r",
    OK + b"X: a\rHost: allowed.com\r\n\r\n",
    OK + b"X: a\nHost: allowed.com\r\n\r\n",
    OK + b"X: a\0b\r\n\r\n",
    OK + b"X\0: a\r\n\r\n",
    OK + b"X : a\r\n\r\n",
    OK + b"X\t: a\r\n\r\n",
    OK + b": a\r\n\r\n",
    OK + b"nothing\r\n\r\n",
    OK + b"X: a\r\n folded\r\n\r\n",
    OK + b"\r\n" + INNER,
    OK + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
    OK + b"X: a\r\n" * 20_000 + b"\r\n",
    OK + b"Host: allowed.com\r\n\r\n",
    OK.replace(b"Host: canary.evil.example", b"Host: allowed.com") + b"\r\n",
    OK.replace(b"Host: canary.evil.example\r\n", b"") + b"\r\n",
    OK.replace(b" ", b"\t", 2) + b"\r\n",
    OK.replace(b" ", b"  ", 1) + b"\r\n",
    OK.replace(b"HTTP/1.1", b"HTTP/1.1 ", 1) + b"\r\n",
    OK.replace(b"HTTP/1.1", b"HTTP/2.0", 1) + b"\r\n",
    OK.replace(b"HTTP/1.1", b"HTTP/1.10", 1) + b"\r\n",
    OK.replace(b"HTTP/1.1", b"http/1.1", 1) + b"\r\n",
    OK.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + b"\r\n",
    OK.replace(b"GET", b"G\0T", 1) + b"\r\n",
    OK.replace(b"GET", b"G\xc3\x89T", 1) + b"\r\n",
    OK.replace(b"GET ", b"", 1) + b"\r\n",
    b"\r\n\r\n\r\n" + OK + b"\r\n",
    b" " + OK + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: allowed.com\r\n\r\n",
    b"GET /\r\n",
    b"GET http://canary.evil.example/\r\n",
    b"GET " + b"a" * 1_000_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"OPTIONS * HTTP/1.1\r\nHost: allowed.com\r\n\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 443\r\n" + OK + b"\r\n",
    b"\r\n" * 50_000,
    b"\0" * 4_096,
    b"",
)
TARGETS: Sequence[bytes] = (
    b"canary.evil.example\0.allowed.com:443",
    b"canary.evil.example%00.allowed.com:443",
    b"allowed.com@canary.evil.example:443",
    b"allowed.com:443@canary.evil.example:443",
    b"allowed.com:443/canary.evil.example",
    b"https://allowed.com:443/",
    b"/allowed.com:443",
    b"allowed.com",
    b"allowed.com:",
    b"allowed.com:0",
    b"allowed.com:65979",
    b"allowed.com:0443",
    b"allowed.com:+443",
    b"allowed.com:443:443",
    b"allowed.com..:443",
    b".allowed.com:443",
    b"*.allowed.com:443",
    b"allowed.com\t:443",
    b"allowed.com\r\n:443",
    b"allowed.com#.evil.example:443",
    b"allowed.com?.evil.example:443",
    b"allowed.com\\.evil.example:443",
    b"evilallowed.com:443",
    b"allowed.com.evil.example:443",
    b"127.0.0.1:443",
    b"127.1:443",
    b"2130706433:443",
    b"0x7f.1:443",
    b"0177.0.0.1:443",
    b"169.254.169.254:80",
    b"[::1]:443",
    b"[::ffff:127.0.0.1]:443",
    b"[::ffff:a9fe:a9fe]:80",
    b"[fe80::1%25lo]:443",
    b"::1:443",
    b"[::1:443",
    b"\xff\xfe:443",
    b"a" * 300 + b".allowed.com:443",
    b"a" * 100_000 + b":443",
    b"xn--" + b"a" * 59 + b".evil.example:443",
)


def _connects(_: random.Random) -> Iterator[bytes]:
    for target in TARGETS:
        host = target.rpartition(b":")[0] or target
        yield b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target)
        yield b"CONNECT %b HTTP/1.1\r\nHost: allowed.com:443\r\n\r\n" % target
        yield b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host)
        yield b"GET http://canary.evil.example/ HTTP/1.1\r\nHost: %b\r\n\r\n" % host
    yield b"CONNECT canary.evil.example:443 HTTP/1.1\r\nHost: allowed.com:443\r\nContent-Length: 9\r\n\r\n" + INNER
    yield b"CONNECT canary.evil.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER


def _socks(chance: random.Random) -> Iterator[bytes]:
    hello, signed_in = b"\5\2\0\2", b"\1\1a\1b"
    for target in TARGETS:
        name = (target.rpartition(b":")[0] or target)[:255]
        yield hello + b"\5\1\0\3" + vector(name, 1) + b"\1\xbb"
        yield hello + signed_in + b"\5\1\0\3" + vector(name, 1) + b"\1\xbb"
    for command in (0, 2, 3, 4, 255):
        yield hello + bytes([5, command, 0, 3]) + vector(EVIL, 1) + b"\1\xbb"
    for kind in (0, 2, 5, 255):
        yield hello + bytes([5, 1, 0, kind]) + chance.randbytes(20)
    for start in (
        b"\5",
        b"\5\0",
        b"\5\xff",
        b"\5\1\1",
        b"\4\1\1\xbb\x7f\0\0\1user\0",
        b"\4\1\1\xbb\0\0\0\1u\0allowed.com\0",
    ):
        yield start + chance.randbytes(chance.randrange(40))
    yield hello + b"\5\1\0\1\xa9\xfe\xa9\xfe\0\x50"
    yield hello + b"\5\1\0\4" + bytes(10) + b"\xff\xff\x7f\0\0\1\1\xbb"
    yield hello + b"\5\1\0\3\0\1\xbb"
    yield hello + b"\5\1\1\3" + vector(ALLOWED, 1) + b"\1\xbb"


def _hellos(chance: random.Random) -> Iterator[bytes]:
    """TLS where a proxy request is expected, and behind a CONNECT that may be granted."""
    allowed = message(sni(ALLOWED))
    handshakes = (
        records(message(sni(EVIL))),
        records(message(sni(ALLOWED, EVIL))),
        records(message(sni(ALLOWED), sni(EVIL))),
        records(message(sni(ALLOWED), extension(0xFE0D, chance.randbytes(180)))),
        records(message(bare=True)),
        records(message(sni(ALLOWED + b"\0" + EVIL))),
        records(allowed, 1),
        records(allowed)[: chance.randrange(1, len(allowed))],
        _changed(records(allowed), chance),
        b"\x16\3\1\xff\xff" + chance.randbytes(64),
        INNER,
    )
    for handshake in handshakes:
        yield handshake
        yield b"CONNECT canary.evil.example:443 HTTP/1.1\r\nHost: canary.evil.example:443\r\n\r\n" + handshake


def _fixed(_: random.Random) -> Iterator[bytes]:
    yield from SMUGGLING
    yield from LINES


def _changed(data: bytes, chance: random.Random) -> bytes:
    """A few bytes of it replaced, left out, doubled or moved."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(changed) + 1)
        piece = chance.choice([b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"%00", b"\xff", chance.randbytes(3)])
        changed[at : at + chance.randrange(3)] = chance.choice([piece, b"", bytes(changed[at : at + 20])])
    return bytes(changed)


FAMILIES: Sequence[Callable[[random.Random], Iterator[bytes]]] = (_fixed, _connects, _socks, _hellos)


def malformed_requests(seed: int) -> Iterator[bytes]:
    """Without end: first each known case as it is, then changed ones. The same seed gives the same bytes.

    Never names a host that a policy for `allowed.com` alone allows, unless something else in it is wrong.
    """
    chance = random.Random(seed)
    known = [one for family in FAMILIES for one in family(chance)]
    yield from known
    # The largest ones make their point once.
    small = [one for one in known if 0 < len(one) < 2_000 and ALLOWED not in one]
    while True:
        yield (
            _changed(chance.choice(small), chance) if chance.random() < 0.9 else chance.randbytes(chance.randrange(200))
        )
