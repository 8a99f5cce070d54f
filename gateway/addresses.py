"""Which addresses may be connected to. Pure: what a name resolved to comes in, a reason against it comes out."""

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Where clouds answer for credentials, whatever else these addresses are. No rule opens them.
METADATA: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in (
        "169.254.0.0/16",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::/32",
        "fd20:ce::/32",
        "fe80::/10",
    )
)
NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
COMPATIBLE, TRANSLATED = IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96")


def readings(address: Address) -> Iterator[Address]:
    """The address, and each IPv4 address that somebody on the way may read out of it."""
    yield address
    if isinstance(address, IPv6Address):
        low = IPv4Address(int(address) & 0xFFFF_FFFF)
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
        if any(address in one for one in (*NAT64, TRANSLATED)) or (address in COMPATIBLE and int(address) > 1):
            yield low
        # ISATAP (RFC 5214) carries an IPv4 address behind its own interface identifier.
        if int(address) >> 32 & 0xFEFF_FFFF == 0x0000_5EFE:
            yield low


def against(
    address: Address, port: int, network: Network | None = None, own: Collection[tuple[Address, int]] = ()
) -> str | None:
    """Why this address may not be connected to, in a sentence; None if it may.

    `network` is the range that an approved rule names for an internal service. `own` is where this gateway listens.
    """
    if (address, port) in own or (_loopback(address) and any(port == one for _, one in own)):
        return f"{address} is this gateway itself."
    for reading in readings(address):
        if any(reading in one for one in METADATA if one.version == reading.version):
            return f"{address} is a link-local or metadata address: no rule opens it."
        if reading.is_multicast or reading.is_unspecified or reading == IPv4Address("255.255.255.255"):
            return f"{address} is no single machine's address."
    if network is not None:
        inside = address.version == network.version and address in network
        return None if inside else f"{address} is outside {network}, the range that the rule names."
    if not all(reading.is_global for reading in readings(address)):
        return f"{address} is a private address, and the rule names no range."
    return None


def _loopback(address: Address) -> bool:
    return any(reading.is_loopback for reading in readings(address))
