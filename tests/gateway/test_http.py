"""HTTP/1.1 between a client and a far end: connections that are kept, bodies of every kind, and ends in the middle."""

import gzip
import json
import socket

import pytest

from tests.gateway.bed.far_end import FarEnd
from tests.gateway.bed.gateways import everything, request, status_of


def host(bed, name: str = "api.example") -> str:
    return f"{name}:{bed.secure.port}"


def answer_of(inside) -> tuple[int, bytes]:
    """One answer with a Content-Length off a connection that is kept."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += inside.recv(1)
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    body = b""
    while len(body) < int(lines.get(b"content-length", b"0")):
        body += inside.recv(65_536)
    return int(head.split(b" ")[1]), body


def kept(bed, path: str, method: str = "GET", body: bytes = b"", more: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {host(bed)}\r\n{length}{more}\r\n".encode() + body


def test_connections_are_kept_on_both_sides(bed):
    session = bed.plane.begin(bed.inspecting())
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        for number in range(5):
            inside.sendall(kept(bed, f"/p{number}"))
            assert answer_of(inside)[0] == 200
    assert [one.path for one in bed.secure.arrived] == [f"/p{number}" for number in range(5)]
    assert bed.secure.connections == 1


def test_requests_that_come_together_are_answered_in_order(bed):
    session = bed.plane.begin(bed.inspecting())
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(b"".join(kept(bed, f"/p{number}") for number in range(4)))
        paths = [json.loads(answer_of(inside)[1])["path"] for _ in range(4)]
    assert paths == [f"/p{number}" for number in range(4)]


def test_a_chunked_upload_arrives_whole(bed):
    session = bed.plane.begin(bed.inspecting())
    pieces = [bytes([65 + number]) * 9_000 for number in range(20)]
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/up", "POST", more="Transfer-Encoding: chunked\r\n"))
        for piece in pieces:
            inside.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        inside.sendall(b"0\r\n\r\n")
        assert answer_of(inside)[0] == 200
    assert bed.secure.arrived[0].body == b"".join(pieces)


def test_a_client_that_waits_for_its_bodys_turn_is_told_after_the_decision(bed):
    session = bed.plane.begin(bed.inspecting(methods=["POST"]))
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/up", "POST", b"body", "Expect: 100-continue\r\n")[:-4])
        assert status_of(inside) == 100
        inside.sendall(b"body")
        assert answer_of(inside)[0] == 200
        inside.sendall(kept(bed, "/up", "PUT", b"body", "Expect: 100-continue\r\n")[:-4])
        assert answer_of(inside)[0] == 403
    assert [one.body for one in bed.secure.arrived] == [b"body"]


def test_a_head_has_no_body(bed):
    session = bed.plane.begin(bed.inspecting())
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/x", "HEAD"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += inside.recv(1)
        assert b"ontent-length" in head.lower()
        inside.sendall(kept(bed, "/y"))
        assert answer_of(inside)[0] == 200


def test_an_answer_that_comes_before_the_body_was_sent_reaches_the_client(bed):
    session = bed.plane.begin(bed.inspecting())
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/early", "POST", b"", "Content-Length: 100000000\r\n") + b"x" * 50_000)
        assert status_of(inside) == 413


def test_ways_past_the_gateway_are_taken_out_of_answers(bed):
    session = bed.plane.begin(bed.inspecting())
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(request(host(bed), "/x"))
        assert b"alt-svc" not in everything(inside).lower()


def test_headers_of_one_hop_go_no_further(bed):
    session = bed.plane.begin(bed.inspecting())
    lines = (
        "Connection: X-Mine, keep-alive",
        "X-Mine: 1",
        "TE: trailers",
        "Proxy-Authorization: Basic eA==",
        "X-Kept: 2",
    )
    more = "\r\n".join(lines) + "\r\n"
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/x", more=more))
        assert answer_of(inside)[0] == 200
    headers = bed.secure.arrived[0].headers
    assert {"X-Mine", "TE", "Proxy-Authorization"}.isdisjoint(headers)
    assert (headers["X-Kept"], headers["Accept-Encoding"]) == ("2", "identity")


def test_an_agent_cannot_have_the_injected_header_removed(bed):
    inject = {"slot": "secret:key", "as": "header", "name": "X-Api-Key"}
    session = bed.plane.begin(bed.inspecting(inject=inject), secrets={"secret:key": {"value": "sk-0123456789"}})
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/x", more="Connection: X-Api-Key\r\n"))
        answer_of(inside)
    assert bed.secure.arrived[0].headers["X-Api-Key"] == "sk-0123456789"


def test_a_compressed_body_with_a_secret_goes_nowhere(bed):
    session = bed.plane.begin(bed.inspecting(), redact=["sk-live-0123456789abcdef"])
    body = gzip.compress(b"x" * 1_000 + b"sk-live-0123456789abcdef")
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/x", "POST", body, "Content-Encoding: gzip\r\n"))
        assert answer_of(inside)[0] == 403
    bed.plane.told("finding.leak", where="body")
    # Its head was on its way already.
    assert [one.body for one in bed.secure.arrived] in ([], [b""])


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_a_body_that_cannot_be_looked_into_goes_nowhere(bed, coding):
    session = bed.plane.begin(bed.inspecting())
    with bed.gateway.inside(session, "api.example", bed.secure.port) as inside:
        inside.sendall(kept(bed, "/x", "POST", b"abc", f"Content-Encoding: {coding}\r\n"))
        assert answer_of(inside)[0] == 400
    assert bed.secure.arrived == []


def test_a_far_end_with_another_certificate_is_not_believed(bed):
    session = bed.plane.begin(bed.inspecting("unknown.example"))
    bed.gateway.running.gate.resolver._lookup = _here
    with bed.gateway.inside(session, "unknown.example", bed.secure.port) as inside:
        inside.sendall(request(f"unknown.example:{bed.secure.port}", "/x"))
        answer = everything(inside)
    assert answer.startswith(b"HTTP/1.1 502")
    assert b"certificate is not good" in answer
    assert bed.secure.arrived == []


def test_a_far_end_that_is_not_there_is_told_as_that(bed):
    closed = FarEnd()
    closed.close()
    session = bed.plane.begin(bed.inspecting(scheme="http", port=closed.port))
    status, connection = bed.gateway.connects(session, f"api.example:{closed.port}")
    connection.sendall(request(f"api.example:{closed.port}", "/x"))
    answer = everything(connection)
    assert (status, answer[:12]) == (200, b"HTTP/1.1 502")
    bed.plane.told("egress.response", host="api.example", port=closed.port)


def test_a_far_end_that_dies_in_its_answer_is_not_a_whole_answer(bed):
    session = bed.plane.begin(bed.inspecting(scheme="http"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        session.rules[0]["port"] = server.getsockname()[1]
        where = f"api.example:{session.rules[0]['port']}"
        _, connection = bed.gateway.connects(session, where)
        connection.sendall(request(where, "/x"))
        far, _ = server.accept()
        far.recv(4_096)
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        far.close()
        connection.settimeout(5)
        answer = everything(connection)
    assert not answer.endswith(b"half" + b"\0" * 96)
    assert bed.plane.told("egress.response", status=200)["outcome"] == "failure"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n\0",
        b"garbage\r\n\r\n",
        b"",
    ],
    ids=["two lengths", "NUL", "garbage", "nothing"],
)
def test_an_answer_that_is_none_never_becomes_one(bed, raw):
    session = bed.plane.begin(bed.inspecting(scheme="http"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        session.rules[0]["port"] = server.getsockname()[1]
        where = f"api.example:{session.rules[0]['port']}"
        _, connection = bed.gateway.connects(session, where)
        connection.sendall(request(where, "/x", "POST", b"1"))
        far, _ = server.accept()
        far.recv(4_096)
        far.sendall(raw)
        far.close()
        connection.settimeout(5)
        answer = everything(connection)
    assert answer[:12] in (b"HTTP/1.1 502", b"HTTP/1.1 200")
    assert answer[:12] == b"HTTP/1.1 502" or raw.startswith(b"HTTP/1.1 200 OK\r\nX: a")


async def _here(name: str) -> list[object]:
    from ipaddress import ip_address

    return [ip_address("127.0.0.1")]
