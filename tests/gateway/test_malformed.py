"""Requests that no client needs: none of them reaches anybody, and the gateway goes on."""

import itertools
import socket
from contextlib import suppress

from tests.gateway.bed.gateways import request, signed_in
from tests.gateway.malformed import malformed_requests

COUNT = 600


def answered(gateway, raw: bytes) -> bytes:
    with gateway.connection() as connection, suppress(OSError):
        connection.settimeout(2)
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(4_096)
    return b""


def test_none_of_them_reaches_anybody(bed):
    session = bed.plane.begin(bed.tunnelling("allowed.com"))
    known = signed_in(session).encode()
    for raw in itertools.islice(malformed_requests(7), COUNT):
        # Signed in, so that it is not the missing name that stops it.
        answer = answered(bed.gateway, raw.replace(b"\r\n", b"\r\n" + known, 1) if b"HTTP/1" in raw else raw)
        assert not answer[:12].endswith(b" 200"), raw[:200]
    assert bed.secure.connections == bed.plain.connections == 0
    good = bed.plane.begin(bed.inspecting())
    with bed.gateway.inside(good, "api.example", bed.secure.port) as inside:
        inside.sendall(request(f"api.example:{bed.secure.port}", "/x"))
        assert inside.recv(12) == b"HTTP/1.1 200"
