"""CONNECT and SOCKS5: who may open what, and what must agree."""

import json
import socket
import ssl
import struct

import pytest

from tests.gateway.bed.gateways import everything, request, signed_in, status_of


def test_without_signing_in_nothing_is_said_but_how(bed):
    bed.plane.begin(bed.tunnelling())
    answer = bed.gateway.asks(b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 407")
    assert b"\r\nProxy-Authenticate: Basic" in answer


def test_another_sessions_secret_does_not_sign_in(bed):
    one, two = bed.plane.begin(bed.tunnelling()), bed.plane.begin(bed.tunnelling())
    two.secret = one.secret[:-1] + "f"
    assert bed.gateway.connects(two, f"api.example:{bed.secure.port}")[0] == 200
    two.secret = one.secret
    assert bed.gateway.connects(two, f"api.example:{bed.secure.port}")[0] == 407


def test_a_tunnel_ends_tls_at_the_far_end_and_counts_bytes(bed, certificates):
    session = bed.plane.begin(bed.tunnelling())
    status, connection = bed.gateway.connects(session, f"api.example:{bed.secure.port}")
    assert status == 200
    context = ssl.create_default_context(cafile=certificates[0])
    with context.wrap_socket(connection, server_hostname="api.example") as inside:
        inside.sendall(request("api.example", "/a"))
        assert everything(inside).startswith(b"HTTP/1.1 200")
    opened = bed.plane.told("egress.opened", mode="tunnel", address="127.0.0.1")
    closed = bed.plane.told("egress.closed", opened=opened["id"], why="end")
    assert closed["data"]["sent_bytes"] > 200
    assert closed["data"]["received_bytes"] > 500


@pytest.mark.parametrize("mode", ["tunnelling", "inspecting"])
def test_a_name_in_tls_that_is_not_the_connections_is_refused(bed, mode):
    session = bed.plane.begin(getattr(bed, mode)(), bed.tunnelling("other.example"))
    with pytest.raises((ssl.SSLError, ConnectionError), match="ACCESS_DENIED|reset"):
        bed.gateway.inside(session, "api.example", bed.secure.port, name="other.example")
    bed.plane.told("egress.denied", code="names_disagree", host="api.example")
    assert bed.secure.arrived == []


def test_a_tunnel_without_a_name_is_refused(bed):
    session = bed.plane.begin(bed.tunnelling())
    _, connection = bed.gateway.connects(session, f"api.example:{bed.secure.port}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connection)
    bed.plane.told("egress.denied", code="no_name")


def test_what_is_not_tls_does_not_pass_a_tunnel(bed):
    session = bed.plane.begin(bed.tunnelling())
    _, connection = bed.gateway.connects(session, f"api.example:{bed.secure.port}")
    connection.sendall(b"SSH-2.0-x\r\n")
    assert everything(connection).startswith(b"\x15\x03\x03")
    bed.plane.told("egress.denied", code="not_tls")
    bed.plane.told("egress.closed", why="denied", sent_bytes=0)


def test_a_forward_passes_anything_to_its_one_place(bed):
    session = bed.plane.begin(bed.forwarding())
    status, connection = bed.gateway.connects(session, f"api.example:{bed.plain.port}")
    connection.sendall(request("x", "/anything"))
    assert (status, everything(connection)[:12]) == (200, b"HTTP/1.1 200")
    connection.close()
    assert bed.gateway.connects(session, f"other.example:{bed.plain.port}")[0] == 403
    bed.plane.told("egress.closed", mode="forward", why="end")


def test_a_host_that_no_rule_names_is_denied_with_where_to_ask(bed):
    session = bed.plane.begin(bed.tunnelling())
    raw = f"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n{signed_in(session)}\r\n".encode()
    head, _, body = bed.gateway.asks(raw).partition(b"\r\n\r\n")
    said = json.loads(body)
    assert head.startswith(b"HTTP/1.1 403")
    assert b"application/problem+json" in head
    assert said["code"] == "no_rule"
    assert said["detail"].endswith(f"/sessions/{session.id}/more")
    assert "do not retry" in said["detail"]


def test_a_private_address_without_a_range_is_refused_whatever_its_name(bed):
    session = bed.plane.begin(bed.tunnelling(network=None))
    assert bed.gateway.connects(session, f"api.example:{bed.secure.port}")[0] == 403
    bed.plane.told("egress.denied", code="address_not_allowed", host="api.example")
    assert bed.secure.connections == 0


def test_the_gateway_itself_cannot_be_reached_through_it(bed):
    bed.gateway.running.gate.resolver.own = frozenset(
        (one, bed.gateway.port) for one, _ in bed.gateway.running.gate.resolver.own
    )
    session = bed.plane.begin(bed.forwarding(port=bed.gateway.port))
    assert bed.gateway.connects(session, f"api.example:{bed.gateway.port}")[0] == 403


def test_the_host_header_of_a_connect_must_agree(bed):
    session = bed.plane.begin(bed.tunnelling())
    where = f"api.example:{bed.secure.port}"
    answer = bed.gateway.asks(f"CONNECT {where} HTTP/1.1\r\nHost: evil.example\r\n{signed_in(session)}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 421")


def test_the_same_denied_host_by_another_door_is_evasion(bed):
    session = bed.plane.begin(bed.tunnelling())
    for port in (443, 443, 8443):
        assert bed.gateway.connects(session, f"evil.example:{port}")[0] == 403
    found = bed.plane.told("finding.evasion", host="evil.example", port=8443)
    assert found["data"]["attempts"] == 1
    assert bed.plane.kinds().count("finding.evasion") == 1


def socks(bed, session, host: bytes, port: int) -> tuple[int, socket.socket]:
    connection = bed.gateway.connection()
    connection.sendall(b"\5\1\2")
    assert connection.recv(2) == b"\5\2"
    name, secret = session.id.encode(), session.secret.encode()
    connection.sendall(b"\1" + bytes([len(name)]) + name + bytes([len(secret)]) + secret)
    assert connection.recv(2) == b"\1\0"
    connection.sendall(b"\5\1\0\3" + bytes([len(host)]) + host + struct.pack(">H", port))
    return connection.recv(10)[1], connection


def test_socks_follows_the_same_rules(bed, certificates):
    session = bed.plane.begin(bed.tunnelling())
    status, connection = socks(bed, session, b"api.example", bed.secure.port)
    assert status == 0
    context = ssl.create_default_context(cafile=certificates[0])
    with context.wrap_socket(connection, server_hostname="api.example") as inside:
        inside.sendall(request("api.example", "/a"))
        assert everything(inside).startswith(b"HTTP/1.1 200")
    assert socks(bed, session, b"evil.example", 443)[0] == 2
    assert socks(bed, session, b"169.254.169.254", 80)[0] == 2


def test_socks_without_a_password_is_not_offered(bed):
    bed.plane.begin(bed.tunnelling())
    assert bed.gateway.asks(b"\5\1\0") == b"\5\xff"


def test_an_absolute_request_passes_by_its_rule(bed):
    session = bed.plane.begin(bed.inspecting(scheme="http", path="/a/"))
    where = f"api.example:{bed.plain.port}"
    for path, status in (("/a/b", b"200"), ("/b", b"403")):
        raw = f"GET http://{where}{path} HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n{signed_in(session)}\r\n"
        assert bed.gateway.asks(raw.encode()).split(b" ")[1] == status
    assert [one.path for one in bed.plain.arrived] == ["/a/b"]
    assert "Proxy-Authorization" not in bed.plain.arrived[0].headers


def test_a_connection_belongs_to_one_session(bed):
    one, two = (bed.plane.begin(bed.inspecting(scheme="http")) for _ in range(2))
    where = f"api.example:{bed.plain.port}"
    raws = [f"GET http://{where}/ HTTP/1.1\r\nHost: {where}\r\n{signed_in(who)}\r\n".encode() for who in (one, two)]
    answers = bed.gateway.asks(b"".join(raws))
    assert (answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 400")) == (1, 1)


def test_the_relay_opens_a_signed_in_connection_once(bed):
    session = bed.plane.begin(bed.forwarding())
    status, connection = bed.gateway.connects(session, "proxy.drawbridge.internal:1")
    assert status == 200
    connection.sendall(f"CONNECT api.example:{bed.plain.port} HTTP/1.1\r\n\r\n".encode())
    assert status_of(connection) == 200
    _, again = bed.gateway.connects(session, "proxy.drawbridge.internal:1")
    again.sendall(b"CONNECT proxy.drawbridge.internal:1 HTTP/1.1\r\n\r\n")
    assert status_of(again) == 403


def test_a_socket_for_a_sandbox_is_there_until_its_connection_ends(bed):
    session = bed.plane.begin(bed.forwarding())
    connection = bed.gateway.connection()
    where = "sandbox.drawbridge.internal:1"
    connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{signed_in(session)}\r\n".encode())
    path = connection.recv(4_096).partition(b"Drawbridge-Socket: ")[2].partition(b"\r\n")[0]
    with socket.socket(socket.AF_UNIX) as inside:
        inside.connect(path)
        inside.sendall(f"CONNECT api.example:{bed.plain.port} HTTP/1.1\r\n\r\n".encode())
        assert status_of(inside) == 200
        connection.close()
        assert inside.recv(1) == b""
    with socket.socket(socket.AF_UNIX) as late, pytest.raises(OSError, match="No such file|refused"):
        late.connect(path)


def test_what_is_allowed_can_be_read_without_its_secrets(bed):
    inject = {"slot": "secret:key", "as": "bearer"}
    session = bed.plane.begin(bed.inspecting(inject=inject), secrets={"secret:key": {"value": "sk-a-real-secret"}})
    where = "gateway.drawbridge.internal"
    raw = f"GET http://{where}/policy HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n{signed_in(session)}\r\n"
    answer = bed.gateway.asks(raw.encode())
    assert b'"host": "api.example"' in answer
    assert b"sk-a-real-secret" not in answer
    assert b"secret:key" not in answer


def test_health_says_whether_there_is_a_lease(bed):
    assert b'{"leased":true}' in bed.gateway.asks(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
