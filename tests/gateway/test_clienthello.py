"""The name in a ClientHello: as it was sent, once it is all there; whatever has two readings is refused."""

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clienthello import Hello, read
from gateway.errors import BadHello
from tests.gateway.hellos import ALPN, extension, message, real, records, sni, vector

VERSIONS = [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
SIMPLE = records(message(sni(b"allowed.com")))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_hello_names_its_host(version: ssl.TLSVersion | None) -> None:
    assert read(real("allowed.com", version=version)) == Hello("allowed.com")
    assert read(real("allowed.com", ["h2", "http/1.1"], version)) == Hello("allowed.com", alpn=(b"h2", b"http/1.1"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_hello_may_name_no_host(version: ssl.TLSVersion | None) -> None:
    assert read(real(None, version=version)) == Hello(None)
    assert read(real("127.0.0.1", version=version)) == Hello(None)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_prefix_of_a_real_hello_needs_more(version: ssl.TLSVersion | None) -> None:
    hello = real("allowed.com", ["http/1.1"], version)
    assert {read(hello[:length]) for length in range(len(hello))} == {None}


@pytest.mark.parametrize("size", [8, 9, 64, 100])
def test_a_hello_may_be_split_over_records(size: int) -> None:
    """Fragmentation hides a name from those who look at the first record only."""
    handshake = message(sni(b"allowed.com"), extension(0x1234, b"x" * 80))
    split = records(handshake, size)
    assert read(split) == Hello("allowed.com")
    assert {read(split[:length]) for length in range(len(split))} == {None}


def test_a_hello_in_very_many_records_is_refused() -> None:
    with pytest.raises(BadHello, match="too many pieces"):
        read(records(message(sni(b"allowed.com")), 1))


def test_what_follows_the_hello_is_not_looked_at() -> None:
    handshake = message(sni(b"allowed.com"))
    assert read(records(handshake) + b"\x17\3\3\0\1x") == Hello("allowed.com")
    assert read(records(handshake) + b"junk") == Hello("allowed.com")
    assert read(records(handshake + message(sni(b"evil.example")))) == Hello("allowed.com")


@pytest.mark.parametrize("name", ["allowed.com.", "ALLOWED.com", "a\0.allowed.com", "10.0.0.1", "*.allowed.com", " "])
def test_a_name_is_returned_as_it_was_sent(name: str) -> None:
    assert read(records(message(sni(name.encode())))) == Hello(name)


def test_a_hello_without_extensions_names_nobody() -> None:
    assert read(records(message(bare=True))) == Hello(None)
    assert read(records(message())) == Hello(None)


@pytest.mark.parametrize("kind", [0xFE0D, 0xFE08, 0xFE09, 0xFE0A, 0xFE0C, 0xFD00, 0xFFCE])
def test_a_hidden_hello_says_so(kind: int) -> None:
    """N06 of the probes: behind an encrypted ClientHello stands another name."""
    body = b"\0" + b"\0\1\0\1" + b"\7" + vector(b"k" * 32, 2) + vector(b"p" * 128, 2)
    assert read(records(message(sni(b"front.example"), extension(kind, body)))) == Hello("front.example", hidden=True)


BAD = {
    "two names": records(message(sni(b"allowed.com", b"evil.example"))),
    "a name twice": records(message(sni(b"allowed.com", b"allowed.com"))),
    "the extension twice": records(message(sni(b"allowed.com"), sni(b"evil.example"))),
    "another extension twice": records(message(extension(0x1234, b""), sni(b"allowed.com"), extension(0x1234, b""))),
    "no name in the list": records(message(sni())),
    "empty name": records(message(sni(b""))),
    "unknown kind of name": records(message(sni(b"allowed.com", kind=1))),
    "not ASCII": records(message(sni("bücher.example".encode()))),
    "empty SNI": records(message(extension(0, b""))),
    "bytes after the list": records(message(extension(0, vector(b"\0" + vector(b"allowed.com", 2), 2) + b"\0"))),
    "list longer than its extension": records(message(extension(0, b"\0\x20\0" + vector(b"allowed.com", 2)))),
    "name longer than its list": records(message(extension(0, vector(b"\0\0\x20allowed.com", 2)))),
    "bytes after the protocols": records(message(extension(ALPN, vector(vector(b"h2", 1), 2) + b"x"))),
    "cut off protocols": records(message(extension(ALPN, vector(b"\5h2", 2)))),
    "bytes after the extensions": records(message(sni(b"allowed.com"), after=sni(b"evil.example"))),
    "extensions longer than the hello": records(message(bare=True, after=b"\0\x20" + sni(b"allowed.com"))),
    "cut off extension": records(message(b"\0\0\0")),
    "cut off hello": records(b"\1" + vector(b"\3\3" + b"r" * 32 + b"\x40", 3)),
    "empty hello": records(b"\1" + vector(b"", 3)),
    "too long": records(b"\1\1\0\1"),
    "ServerHello": records(b"\2" + vector(b"x", 3)),
    "ServerHello, first byte": records(b"\2"),
    "empty record": b"\x16\3\1\0\0" + SIMPLE,
    "record of 16,385 bytes": b"\x16\3\1\x40\1",
    "version 2": b"\x16\2\0\0\5",
    "SSL 2": b"\x80\x2e\1\3\1\0\x15\0\0\0\x10",
    "alert": b"\x15\3\1\0\2\1\0",
    "application data in between": records(message(sni(b"allowed.com")), 60)[:65] + b"\x17\3\3\0\1x",
    "HTTP": b"GET / HTTP/1.1\r\n",
    "SSH": b"SSH-2.0-OpenSSH\r\n",
    "PostgreSQL": b"\0\0\0\x08\x04\xd2\x16\x2f",
    "SOCKS5": b"\5\1\0",
    "LF": b"\n",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_no_plain_hello_is_refused(data: bytes) -> None:
    with pytest.raises(BadHello):
        read(data)


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: b"\x16\3\1\0\xc8\1\0\0\xc4" + tail))
def test_garbage_is_refused_or_needs_more(data: bytes) -> None:
    try:
        hello = read(data)
    except BadHello:
        return
    assert hello is None or hello.name is None or hello.name.isascii()


@settings(max_examples=300)
@given(st.data())
def test_a_changed_hello_never_fails_otherwise(data: st.DataObject) -> None:
    changed = bytearray(records(message(sni(b"allowed.com"), extension(ALPN, vector(vector(b"h2", 1), 2)))))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        hello = read(bytes(changed))
    except BadHello:
        return
    assert hello is None or isinstance(hello, Hello)


@given(st.lists(st.integers(1, 60), max_size=20))
def test_however_it_is_split_it_says_the_same(sizes: list[int]) -> None:
    handshake, split = message(sni(b"allowed.com")), b""
    for size in sizes:
        split += records(handshake[:size])
        handshake = handshake[size:]
    assert read(split + records(handshake)) == Hello("allowed.com")
