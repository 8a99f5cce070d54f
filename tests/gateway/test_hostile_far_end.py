"""A far end that wants more than to answer: into the next answer, into the client's connection, into memory."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.gateway.bed.gateways import everything, status_of
from tests.waiting import becomes

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BOGUS = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbogus"
Play = Callable[[socket.socket, int], None]


@contextmanager
def playing(play: Play, tls: ssl.SSLContext | None) -> Iterator[tuple[int, list[int]]]:
    """A far end that does as it is told with each connection: its port, and the connections that it had."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[int] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                connections.append(len(connections))
                threading.Thread(target=each, args=(accepted, connections[-1]), daemon=True).start()

    def each(accepted: socket.socket, number: int) -> None:
        with suppress(OSError), tls.wrap_socket(accepted, server_side=True) if tls else accepted as connection:
            connection.settimeout(5)
            play(connection, number)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], connections
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def asked(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(4_096)
        if not more:
            raise OSError("nothing more is asked")
        head += more
    return head


@pytest.fixture(params=["tls", "plain"])
def tls(request, certificates) -> ssl.SSLContext | None:
    return certificates[1] if request.param == "tls" else None


def session_for(bed, port: int, tls: ssl.SSLContext | None):
    return bed.plane.begin(bed.inspecting(port=port, scheme="https" if tls else "http"))


def ask(bed, session, port: int, tls: ssl.SSLContext | None, *paths: str, pause_s: float = 0.0) -> list[bytes]:
    """The bodies of answers with a length, to requests on one connection."""
    status, connection = bed.gateway.connects(session, f"api.example:{port}")
    assert status == 200
    stream = bed.gateway.trusts(session).wrap_socket(connection, server_hostname="api.example") if tls else connection
    bodies = []
    with stream:
        for path in paths:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: api.example:{port}\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.recv(1)
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            body = b""
            while len(body) < int(lines[b"content-length"]):
                body += stream.recv(4_096)
            bodies.append(body)
            time.sleep(pause_s)
    return bodies


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_an_answer_that_nobody_asked_for_answers_nobody(bed, tls, pause_s):
    """Behind the first answer, or a moment later, on a connection that is kept."""

    def play(connection: socket.socket, number: int) -> None:
        asked(connection)
        connection.sendall(OK if pause_s else OK + BOGUS)
        time.sleep(pause_s / 2)
        if pause_s:
            connection.sendall(BOGUS)
        asked(connection)
        connection.sendall(OK)

    with playing(play, tls) as (port, connections):
        session = session_for(bed, port, tls)
        assert ask(bed, session, port, tls, "/a", "/b", pause_s=pause_s) == [b"ok", b"ok"]
        assert len(connections) == 2


def test_half_an_answer_that_nobody_asked_for_does_not_hide_in_a_kept_connection(bed, tls):
    def play(connection: socket.socket, number: int) -> None:
        asked(connection)
        connection.sendall(OK + b"HTTP/1.1 200 OK\r\nX: ")
        asked(connection)
        connection.sendall(BOGUS)

    with playing(play, tls) as (port, connections):
        session = session_for(bed, port, tls)
        assert ask(bed, session, port, tls, "/a", "/b") == [b"ok", b"ok"]
        assert len(connections) == 2


def test_what_is_no_tls_in_the_middle_of_an_answer_ends_it(bed, certificates):
    def play(connection: socket.socket, number: int) -> None:
        asked(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.1)
        socket.socket.sendall(connection, b"this is no record of TLS" * 10)

    with playing(play, certificates[1]) as (port, _):
        session = session_for(bed, port, certificates[1])
        with bed.gateway.inside(session, "api.example", port) as inside:
            inside.sendall(f"GET /a HTTP/1.1\r\nHost: api.example:{port}\r\n\r\n".encode())
            assert everything(inside).endswith(b"half")
        assert bed.plane.told("egress.response")["outcome"] == "failure"


def test_a_head_without_an_end_does_not_fill_the_memory(bed, tls):
    sent = [0]

    def play(connection: socket.socket, number: int) -> None:
        asked(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X: " + b"a" * 10_000 + b"\r\n")
            sent[0] += 10_000

    with playing(play, tls) as (port, _):
        session = session_for(bed, port, tls)
        status, connection = bed.gateway.connects(session, f"api.example:{port}")
        trusts = bed.gateway.trusts(session)
        stream = trusts.wrap_socket(connection, server_hostname="api.example") if tls else connection
        with stream:
            stream.sendall(f"GET /a HTTP/1.1\r\nHost: api.example:{port}\r\n\r\n".encode())
            assert status_of(stream) == 502
    assert sent[0] < 10_000_000


def test_a_client_that_reads_nothing_holds_the_far_end_back(bed, tls):
    sent = [0]

    def play(connection: socket.socket, number: int) -> None:
        asked(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(b"a" * 65_536)
            sent[0] += 65_536

    with playing(play, tls) as (port, _):
        session = session_for(bed, port, tls)
        status, connection = bed.gateway.connects(session, f"api.example:{port}")
        trusts = bed.gateway.trusts(session)
        stream = trusts.wrap_socket(connection, server_hostname="api.example") if tls else connection
        with stream:
            stream.sendall(f"GET /a HTTP/1.1\r\nHost: api.example:{port}\r\n\r\n".encode())
            assert status == 200
            assert becomes(lambda: sent[0] > 100_000, 5)
            before = -1
            while before != sent[0]:
                before = sent[0]
                time.sleep(0.5)
            assert sent[0] < 32_000_000
            bed.plane.kill(session)
            bed.plane.acknowledged(session)


def test_a_hundred_continues_are_no_answer_and_are_not_passed_on(bed, tls):
    def play(connection: socket.socket, number: int) -> None:
        asked(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)

    with playing(play, tls) as (port, _):
        assert ask(bed, session_for(bed, port, tls), port, tls, "/a") == [b"ok"]
