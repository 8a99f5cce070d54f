"""Hosts and ports: one spelling each, and no second reading. The cases name what they were bypasses of elsewhere."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadName
from gateway.names import Authority, Host

PLAIN = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")

SAME = [
    ("api.github.com", "api.github.com"),
    ("API.GitHub.Com", "api.github.com"),
    ("api.github.com.", "api.github.com"),
    ("localhost", "localhost"),
    ("_acme-challenge.example.com", "_acme-challenge.example.com"),
    ("a_b.example.com", "a_b.example.com"),
    ("1.example", "1.example"),
    ("0x7f.example", "0x7f.example"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.example", "xn--bcher-kva.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
    ("example。com", "example.com"),
    ("example．com", "example.com"),
    ("bücher。example。", "xn--bcher-kva.example"),
    ("ｅxample.com", "example.com"),
    ("straße.example", "xn--strae-oqa.example"),
    ("a" * 63 + ".example", "a" * 63 + ".example"),
    (".".join(["a" * 49] * 5) + ".a", ".".join(["a" * 49] * 5) + ".a"),
]


@pytest.mark.parametrize(("text", "spelling"), SAME)
def test_a_name_has_one_spelling(text: str, spelling: str) -> None:
    assert Host.read(text) == Host(spelling)


ADDRESSES = [
    ("127.0.0.1", "127.0.0.1"),
    ("255.255.255.255", "255.255.255.255"),
    ("[::1]", "::1"),
    ("[0:0:0:0:0:0:0:1]", "::1"),
    ("[0000:0000::0001]", "::1"),
    ("[::0.0.0.1]", "::1"),
    ("[2001:DB8::A]", "2001:db8::a"),
    ("[2001:db8:0:0:1:0:0:1]", "2001:db8::1:0:0:1"),
    ("[64:ff9b::169.254.169.254]", "64:ff9b::a9fe:a9fe"),
    ("[fe80::1]", "fe80::1"),
]


@pytest.mark.parametrize(("text", "spelling"), ADDRESSES)
def test_an_address_is_read_as_an_address(text: str, spelling: str) -> None:
    assert Host.read(text) == Host(spelling, ip_address(spelling))


ODD_ADDRESSES = [
    "2130706433",
    "2852039166",
    "0x7f000001",
    "0x7f.1",
    "0X7F.1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.1",
    "127.0.1",
    "0",
    "0x",
    "foo.0x",
    "foo.09",
    "169.254.0xa9fe",
    "0xa9.254.0251.254",
    "127.0.0.1.",
    "127.0.0.01",
    "127.000.000.001",
    "127.0.0.256",
    "999.0.0.1",
    "1.2.3.4.5",
    "127.0.0.1 ",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "٢١٣٠٧٠٦٤٣٣",
    "[127.0.0.1]",
    "::1",
    "::ffff:127.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::FFFF:169.254.169.254]",
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "[::1%]",
    "[]",
    "[::1",
    "::1]",
    "[::1].",
    "[[::1]]",
    "[::1]]",
    "[:::1]",
    "[12345::1]",
    "[1:2:3:4:5:6:7:8:9]",
    "[::127.0.0.01]",
    "[::0x7f000001]",
    "[v1.fe80]",
    "［::1］",
]


@pytest.mark.parametrize("text", ODD_ADDRESSES)
def test_an_address_in_an_odd_notation_is_refused(text: str) -> None:
    """N07 of the probes; PortSwigger's URL validation bypasses."""
    with pytest.raises(BadName):
        Host.read(text)


REFUSED = {
    "NUL, srt's SOCKS5 bypass": "attacker.example\0.allowed.com",
    "NUL at the end": "allowed.com\0",
    "escaped NUL": "attacker.example%00.allowed.com",
    "CR LF": "allowed.com\r\nHost: evil.example",
    "LF at the end": "allowed.com\n",
    "tab": "allowed\t.com",
    "space": "allowed.com evil.example",
    "leading space": " allowed.com",
    "no-break space": "allowed\u00a0.com",
    "ideographic space": "allowed\u3000.com",
    "line separator": "allowed\u2028.com",
    "userinfo, N04": "allowed.com@evil.example",
    "full-width userinfo": "allowed.com＠evil.example",
    "escaped dot": "allowed%2ecom",
    "escaped letter": "%61llowed.com",
    "slash": "evil.example/.allowed.com",
    "care of, folds to a slash": "evil.c℀.allowed.com",
    "full-width slash": "evil.example／.allowed.com",
    "fraction, folds to a slash": "evil.example½.allowed.com",
    "backslash": "evil.example\\.allowed.com",
    "fragment": "evil.example#.allowed.com",
    "query": "evil.example?.allowed.com",
    "port": "allowed.com:443",
    "full-width colon": "allowed.com：443",
    "semicolon": "allowed.com;evil.example",
    "comma": "allowed.com,evil.example",
    "two dots at the end": "allowed.com..",
    "mixed dots at the end": "allowed.com.。",
    "empty label": "allowed..com",
    "leading dot": ".allowed.com",
    "one dot": ".",
    "ideographic dot": "。",
    "empty": "",
    "wildcard": "*.allowed.com",
    "hyphen first": "-allowed.com",
    "hyphen last": "allowed-.com",
    "label of 64": "a" * 64 + ".com",
    "name of 254": ".".join(["a" * 49] * 5) + ".abcd",
    "name of 255 with its root": ".".join(["a" * 49] * 5) + ".abcd.",
    "CVE-2024-3651": "\u0370" * 100_000,
    "lone surrogate": "allowed\ud800.com",
    "right-to-left override": "allowed\u202e.com",
    "zero-width joiner out of place": "allow\u200ded.com",
    "emoji": "💩.example",
    "interpolation": "${env}.allowed.com",
    "quotes": "'allowed'.com",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_plain_name_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        Host.read(text)


@pytest.mark.parametrize("lookalike", ["аpple.com", "appӏe.com", "applе.com", "åpple.com", "app1e.com", "apple.сom"])
def test_what_looks_alike_stays_distinct(lookalike: str) -> None:
    assert Host.read(lookalike).text != "apple.com"


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9.。:%@\[\]\-_ -ÿ]{1,40}", fullmatch=True))
def test_any_text_is_refused_or_a_plain_spelling(text: str) -> None:
    try:
        host = Host.read(text)
    except BadName:
        return
    assert isinstance(host.address, IPv6Address) or PLAIN.fullmatch(host.text)
    assert Host.read(host.bracketed) == host


@given(st.ip_addresses(v=4))
def test_each_ipv4_address_reads_as_itself_only(address: IPv4Address) -> None:
    assert Host.read(str(address)) == Host(str(address), address)
    for odd in (str(int(address)), hex(int(address)), f"{address}.", f"0{address}", f"[::ffff:{address}]"):
        with pytest.raises(BadName):
            Host.read(odd)


@given(st.ip_addresses(v=6).filter(lambda one: one.ipv4_mapped is None))
def test_each_ipv6_address_has_one_spelling(address: IPv6Address) -> None:
    for text in (str(address), address.exploded, address.exploded.upper()):
        assert Host.read(f"[{text}]").text == str(address)


def test_an_authority_is_a_host_and_a_port() -> None:
    assert str(Authority.read("API.example.com.:8443")) == "api.example.com:8443"
    assert str(Authority.read("[2001:DB8::1]:443")) == "[2001:db8::1]:443"
    assert str(Authority.read("127.0.0.1:65535")) == "127.0.0.1:65535"


def test_only_where_a_default_is_known_may_the_port_be_left_out() -> None:
    assert str(Authority.read("example.com", 80)) == "example.com:80"
    assert str(Authority.read("[::1]", 443)) == "[::1]:443"
    for text in ("example.com", "[::1]"):
        with pytest.raises(BadName):
            Authority.read(text)


BAD_PORTS = [
    "",
    "0",
    "00",
    "080",
    "00443",
    "65536",
    "99999",
    "443443",
    "+80",
    "-1",
    " 80",
    "80 ",
    "8_0",
    "0x50",
    "８０",
    "٨٠",
]
BAD_PORTS += ["80\n", "80\0", "80.", "8e1", "http", "443@evil.example", "443/", "443#", "²"]


@pytest.mark.parametrize("port", BAD_PORTS)
@pytest.mark.parametrize("default", [None, 443])
def test_a_port_is_a_plain_number(port: str, default: int | None) -> None:
    for host in ("example.com", "[::1]"):
        with pytest.raises(BadName):
            Authority.read(f"{host}:{port}", default)


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com:443",
        "user:password@example.com:443",
        "allowed.com:443@evil.example:443",
        "example.com:443:443",
        "::1:443",
        "[::1]443",
        "[::1]x:443",
        "x[::1]:443",
        "[::1",
        ":443",
        ":",
        "",
        "https://example.com:443",
        "example.com:443]",
        "example.com/:443",
    ],
)
def test_an_authority_is_nothing_else(text: str) -> None:
    with pytest.raises(BadName):
        Authority.read(text, 443)


@given(st.text(max_size=40), st.none() | st.just(443))
def test_any_text_is_refused_or_an_authority_that_reads_back(text: str, default: int | None) -> None:
    try:
        authority = Authority.read(text, default)
    except BadName:
        return
    assert Authority.read(str(authority)) == authority
