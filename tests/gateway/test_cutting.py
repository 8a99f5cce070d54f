"""Kills, leases and fresh policies end what is open, in the middle of whatever it is."""

import socket
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.gateway import documents
from tests.gateway.bed.gateways import everything, request, signed_in, status_of
from tests.waiting import eventually


def streaming(bed, session):
    """A stream of server-sent events that has begun."""
    inside = bed.gateway.inside(session, "api.example", bed.secure.port)
    inside.sendall(request(f"api.example:{bed.secure.port}", "/stream"))
    got = b""
    while b"data: 1 " not in got:
        got += inside.recv(4_096)
    return inside


def forwarded(bed, session):
    status, connection = bed.gateway.connects(session, f"api.example:{bed.plain.port}")
    assert status == 200
    return connection


def is_over(connection: socket.socket) -> bool:
    try:
        while connection.recv(65_536):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def test_a_kill_cuts_a_stream_and_a_forward_in_their_middle_and_is_acknowledged(bed):
    session = bed.plane.begin(bed.inspecting(), bed.forwarding(id="2.1"))
    stream, forward = streaming(bed, session), forwarded(bed, session)
    bed.plane.kill(session)
    assert is_over(stream)
    assert is_over(forward)
    said = bed.plane.acknowledged(session)
    assert said["connections"] >= 2
    assert said["elapsed_us"] < 1_000_000
    bed.plane.told("egress.closed", mode="forward", why="killed")
    bed.plane.told("egress.response", status=200, why="killed")
    assert bed.secure.gone.wait(5)
    stream.close()


def test_after_a_kill_nothing_passes_any_more(bed):
    session = bed.plane.begin(bed.forwarding())
    forwarded(bed, session)
    bed.plane.kill(session)
    bed.plane.acknowledged(session)
    assert bed.gateway.connects(session, f"api.example:{bed.plain.port}")[0] == 407


def test_a_kill_that_the_line_did_not_bring_comes_with_the_lease(bed):
    session = bed.plane.begin(bed.forwarding())
    forward = forwarded(bed, session)
    bed.plane.quiet = True
    bed.plane.kill(session)
    assert is_over(forward)
    assert bed.plane.acknowledged(session)["connections"] >= 1


def test_an_idle_connection_is_cut_too(bed):
    session = bed.plane.begin(bed.inspecting(scheme="http"))
    where = f"api.example:{bed.plain.port}"
    with bed.gateway.connection() as connection:
        connection.sendall(f"GET http://{where}/ HTTP/1.1\r\nHost: {where}\r\n{signed_in(session)}\r\n".encode())
        assert status_of(connection) == 200
        bed.plane.kill(session)
        assert is_over(connection)


def test_another_session_goes_on(bed):
    killed, other = (bed.plane.begin(bed.forwarding()) for _ in range(2))
    one, two = forwarded(bed, killed), forwarded(bed, other)
    bed.plane.kill(killed)
    assert is_over(one)
    two.sendall(request("x", "/still"))
    assert everything(two).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("lease_s", [1.0])
def test_without_its_control_plane_the_gateway_shuts_within_its_lease(bed):
    session = bed.plane.begin(bed.forwarding())
    forward = forwarded(bed, session)
    bed.plane.down = True
    assert is_over(forward)
    assert b'{"leased":false}' in bed.gateway.asks(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert bed.gateway.connects(session, f"api.example:{bed.plain.port}")[0] == 503
    bed.plane.down = False
    eventually(lambda: bed.gateway.connects(session, f"api.example:{bed.plain.port}")[0] == 200, 20)
    bed.plane.told("egress.closed", mode="forward", why="lease")


def test_a_rule_that_is_taken_away_ends_what_it_allowed(bed):
    session = bed.plane.begin(bed.inspecting(), bed.forwarding(id="2.1"))
    stream, forward = streaming(bed, session), forwarded(bed, session)
    bed.plane.change(session, bed.inspecting(path="/other/"))
    assert is_over(forward)
    assert is_over(stream)
    bed.plane.told("egress.closed", mode="forward", why="expired")
    stream.close()


def test_a_rule_that_is_added_opens_without_a_new_connection(bed):
    session = bed.plane.begin(bed.inspecting(scheme="http", path="/a/"))
    where = f"api.example:{bed.plain.port}"
    raw = f"GET http://{where}/b/ HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n{signed_in(session)}\r\n".encode()
    assert bed.gateway.asks(raw).startswith(b"HTTP/1.1 403")
    more = documents.rule(**(bed.inspecting(scheme="http", path="/b/") | {"id": "2.1"}))
    bed.plane.change(session, *session.rules, more)
    eventually(lambda: bed.gateway.asks(raw).startswith(b"HTTP/1.1 200"), 5)


def test_the_sessions_own_end_needs_nobodys_word(bed):
    session = bed.plane.begin(bed.forwarding(), lives_s=1.5)
    forward = forwarded(bed, session)
    bed.plane.quiet = True
    assert is_over(forward)
    bed.plane.told("egress.closed", why="expired")


def test_a_policy_that_cannot_be_learned_anew_ends_the_session(bed):
    session = bed.plane.begin(bed.forwarding())
    forward = forwarded(bed, session)
    bed.plane.key = Ed25519PrivateKey.generate()
    bed.plane.change(session, bed.forwarding())
    assert is_over(forward)
    bed.plane.told("egress.closed", why="policy")


def test_a_gateway_that_stops_cuts_and_acknowledges(bed):
    session = bed.plane.begin(bed.forwarding())
    forward = forwarded(bed, session)
    bed.gateway.close_gently()
    assert is_over(forward)
    assert bed.plane.acknowledged(session)["connections"] >= 1


def test_a_policy_of_another_key_opens_nothing(bed):
    session = bed.plane.begin(bed.forwarding())
    bed.plane.key = Ed25519PrivateKey.generate()
    assert bed.gateway.connects(session, f"api.example:{bed.plain.port}")[0] == 503


@pytest.mark.parametrize("name", ["not-a-uuid", "00000000-0000-0000-0000-000000000000"])
def test_a_session_that_nobody_knows_is_asked_about_once(bed, name):
    session = bed.plane.begin(bed.forwarding())
    session.id, unknown = name, session.id
    del bed.plane.sessions[unknown]
    assert [bed.gateway.connects(session, "api.example:1")[0] for _ in range(3)] == [407] * 3
