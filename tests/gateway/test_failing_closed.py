"""Whatever breaks inside, nothing passes: each step raises once, and the far end hears nothing."""

import pytest

from tests.gateway.bed.gateways import everything, request, signed_in

SECRETS = {"secret:key": {"type": "secret", "value": "sk-live-0123456789abcdef"}}
HOOKS = {
    "strict": ("gateway.strict.head", ("inside", "absolute", "connect")),
    "sign_in": ("gateway.live.Live.knows", ("inside", "absolute", "connect", "forward")),
    "lease": ("gateway.control.Control.check", ("inside", "absolute", "connect", "forward")),
    "opening": ("gateway.connecting.opening", ("inside", "connect", "forward")),
    "decide": ("gateway.exchange.decide", ("inside", "absolute")),
    "hello": ("gateway.clienthello.read", ("inside",)),
    "authority": ("gateway.authority.Authority.context", ("inside",)),
    "scan": ("gateway.redaction.Patterns.may_be_in", ("inside", "absolute")),
    "scanner": ("gateway.redaction.Scanner.feed", ("posted",)),
    "inject": ("gateway.outgoing.inject", ("inside", "absolute")),
    "resolve": ("gateway.resolving.Resolver.checked", ("inside", "absolute", "connect", "forward")),
    "record": ("gateway.record.Recorder.keep", ("inside", "absolute", "connect", "forward")),
    "hold": ("gateway.live.Hold.check", ("inside", "absolute", "connect", "forward")),
    "known": ("gateway.known_secrets.KnownSecrets.bound_to", ("inside", "absolute")),
    "memory": ("gateway.evasion.Memory.note", ("denied",)),
}
CASES = [(hook, where, way) for hook, (where, ways) in HOOKS.items() for way in ways]


class Broken(Exception):
    """A fault that nobody foresaw."""


def broken(*_: object, **__: object) -> None:
    raise Broken


@pytest.fixture
def session(bed):
    inject = {"slot": "secret:key", "as": "bearer"}
    inspecting = [
        bed.inspecting(inject=inject),
        bed.inspecting(scheme="http", inject=inject, id="2.1"),
        bed.forwarding("other.example", id="3.1"),
    ]
    return bed.plane.begin(*inspecting, secrets=SECRETS)


def attempt(bed, session, way: str) -> bytes:
    """What comes back of one attempt; b"" where the gateway hung up."""
    try:
        return WAYS[way](bed, session)
    except (OSError, AssertionError):
        return b""


def inside(bed, session, raw: bytes = b"") -> bytes:
    with bed.gateway.inside(session, "api.example", bed.secure.port) as stream:
        stream.sendall(raw or request(f"api.example:{bed.secure.port}", "/v1"))
        return everything(stream)


def absolute(bed, session) -> bytes:
    where = f"api.example:{bed.plain.port}"
    raw = f"GET http://{where}/v1 HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n{signed_in(session)}\r\n"
    return bed.gateway.asks(raw.encode())


def forward(bed, session) -> bytes:
    status, connection = bed.gateway.connects(session, f"other.example:{bed.plain.port}")
    if status != 200:
        return str(status).encode()
    connection.sendall(request("x", "/v1"))
    return everything(connection)


WAYS = {
    "inside": inside,
    "posted": lambda bed, session: inside(bed, session, request(f"api.example:{bed.secure.port}", "/", "POST", b"x")),
    "absolute": absolute,
    "connect": lambda bed, session: bed.gateway.asks(
        f"CONNECT other.example:{bed.plain.port} HTTP/1.1\r\n{signed_in(session)}\r\n".encode()
    ),
    "forward": forward,
    "denied": lambda bed, session: str(bed.gateway.connects(session, "evil.example:1")[0]).encode(),
}


@pytest.mark.parametrize(("hook", "where", "way"), CASES, ids=[f"{hook}-{way}" for hook, _, way in CASES])
def test_a_fault_in_any_step_passes_nothing(bed, session, monkeypatch, hook, where, way):
    monkeypatch.setattr(where, broken)
    answer = attempt(bed, session, way)
    assert b"200 OK" not in answer
    assert bed.secure.arrived == []
    assert bed.plain.arrived == []


@pytest.mark.parametrize("way", ["inside", "posted", "absolute", "forward"])
def test_each_way_is_one_that_passes_without_a_fault(bed, session, way):
    assert b"200 OK" in attempt(bed, session, way)


@pytest.mark.parametrize("way", ["inside", "absolute", "forward"])
def test_a_spool_that_cannot_be_written_passes_nothing(bed, session, monkeypatch, way):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runner.segments.Segments.append", full)
    assert b"200 OK" not in attempt(bed, session, way)
    assert bed.secure.connections == bed.plain.connections == 0
