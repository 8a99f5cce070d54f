"""WebSocket through the gateway: open, looked through in both directions, and cut."""

import os
from contextlib import suppress

import pytest

from gateway.known_secrets import KnownSecrets
from gateway.redaction import REDACTED, Patterns
from gateway.websocket import Frames, SplitSecret
from tests.gateway.bed.gateways import status_of

KEY = "sk-live-0123456789abcdef"
SECRETS = {"secret:key": {"type": "secret", "value": KEY}}
PATTERNS = Patterns.of(KnownSecrets.of({"secrets": SECRETS}))
KEYED = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
ASKED = f"Upgrade: websocket\r\nConnection: Upgrade\r\n{KEYED}"


def frame(payload: bytes, mask: bytes = b"", first: int = 0x81) -> bytes:
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    masked = bytes(one ^ mask[at % 4] for at, one in enumerate(payload)) if mask else payload
    return bytes([first, length[0] | (0x80 if mask else 0)]) + length[1:] + mask + masked


def opened(bed, session, more: str = ""):
    inside = bed.gateway.inside(session, "api.example", bed.secure.port)
    host = f"api.example:{bed.secure.port}"
    inside.sendall(f"GET /ws HTTP/1.1\r\nHost: {host}\r\n{ASKED}{more}\r\n".encode())
    assert status_of(inside) == 101
    return inside


def test_messages_pass_in_both_directions(bed):
    session = bed.plane.begin(bed.inspecting())
    with opened(bed, session) as inside:
        for text in (b"hello", b"again"):
            inside.sendall(frame(text, os.urandom(4)))
            assert inside.recv(100) == frame(text)
    ended = bed.plane.told("egress.response", status=101)
    assert ended["data"]["sent_bytes"] > 20


def test_extensions_are_not_offered_so_that_frames_can_be_read(bed):
    session = bed.plane.begin(bed.inspecting())
    opened(bed, session, "Sec-WebSocket-Extensions: permessage-deflate\r\n").close()
    assert "Sec-WebSocket-Extensions" not in bed.secure.arrived[0].headers
    assert bed.secure.arrived[0].headers["Upgrade"] == "websocket"


def test_a_secret_that_comes_back_is_taken_out(bed):
    session = bed.plane.begin(bed.inspecting(), redact=[KEY])
    bed.secure.says = f"token {KEY} ".encode()
    with opened(bed, session) as inside:
        inside.sendall(frame(b"x", b"abcd"))
        assert inside.recv(200) == frame(b"token " + b"*" * len(KEY) + b" x")
    bed.plane.told("finding.echo", where="message")


def test_a_secret_that_goes_out_is_taken_out_of_its_mask(bed):
    session = bed.plane.begin(bed.inspecting(), redact=[KEY])
    with opened(bed, session) as inside:
        inside.sendall(frame(f"a {KEY} b".encode(), b"\1\2\3\4"))
        inside.recv(200)
    assert bed.secure.arrived[1].body == b"a " + b"*" * len(KEY) + b" b"
    bed.plane.told("finding.leak", where="message", host="api.example")


def test_a_kill_ends_it(bed):
    session = bed.plane.begin(bed.inspecting())
    with opened(bed, session) as inside:
        bed.plane.kill(session)
        with suppress(OSError):
            while inside.recv(100):
                pass
    assert bed.secure.gone.wait(5)


def test_another_protocol_than_was_asked_for_is_refused(bed):
    session = bed.plane.begin(bed.inspecting())
    inside = bed.gateway.inside(session, "api.example", bed.secure.port)
    head = f"GET /ws HTTP/1.1\r\nHost: api.example:{bed.secure.port}\r\n"
    inside.sendall(f"{head}Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n".encode())
    assert status_of(inside) == 502
    inside.close()


@pytest.mark.parametrize("cut", range(1, 60, 7))
@pytest.mark.parametrize("mask", [b"", b"\x01\x80\xff\x10"])
def test_it_does_not_matter_how_frames_are_cut_into_pieces(cut, mask):
    stream = frame(b"one " + KEY.encode() + b" two", mask) + frame(b"z" * 300, mask) + frame(b"", mask, 0x89)
    found: list[object] = []
    frames = Frames(PATTERNS, found.append)
    given = b"".join(frames.feed(stream[at : at + cut]) for at in range(0, len(stream), cut))
    expected = frame(b"one " + b"*" * len(KEY) + b" two", mask) + frame(b"z" * 300, mask) + frame(b"", mask, 0x89)
    assert given == expected
    assert len(found) == 1


def test_a_secret_over_two_frames_ends_it():
    frames = Frames(PATTERNS, lambda hit: None)
    frames.feed(frame(b"begins sk-live-01234", b"abcd"))
    with pytest.raises(SplitSecret):
        frames.feed(frame(b"56789abcdef ends", b"abcd"))


def test_what_is_bound_to_the_host_may_pass():
    frames = Frames(PATTERNS, lambda hit: None, frozenset({"secret:key"}))
    assert frames.feed(frame(KEY.encode())) == frame(KEY.encode())
    assert REDACTED not in frames.feed(frame(KEY.encode()))
