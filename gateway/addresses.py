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
        "fd00:c1::a9fe:a9fe/128",
        "fd00:42::42/128",
        "fd00:a9fe:a9fe::/48",
        "fe80::/10",
    )
)
# What the special-purpose registries of IANA (RFC 6890) keep from the public Internet, and what is out of use there.
# Written out, because `ipaddress` changes its mind between releases of Python (CVE-2024-4032).
SPECIAL: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
UNICAST = IPv6Network("2000::/3")
NAT64, LOCAL_NAT64 = IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48")
COMPATIBLE, TRANSLATED = IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96")
EMBEDDING = (NAT64, LOCAL_NAT64, TRANSLATED)


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
        if any(address in one for one in EMBEDDING) or (address in COMPATIBLE and int(address) > 1):
            yield low
        # ISATAP (RFC 5214) carries an IPv4 address behind its own interface identifier, whatever its "u" and "g" bits.
        if int(address) >> 32 & 0xFCFF_FFFF == 0x0000_5EFE:
            yield low


def against(
    address: Address, port: int, network: Network | None = None, own: Collection[tuple[Address, int]] = ()
) -> str | None:
    """Why this address may not be connected to, in a sentence; None if it may.

    `network` is the range that an approved rule names for an internal service. `own` is where this gateway listens:
    each address of the machine, if it listens on all.
    """
    if any(
        port == own_port and (_loopback(address) or own_address in readings(address)) for own_address, own_port in own
    ):
        return f"{address} is this gateway itself."
    for reading in readings(address):
        if any(reading in one for one in METADATA if one.version == reading.version):
            return f"{address} is a link-local or metadata address: no rule opens it."
        if reading.is_multicast or reading.is_unspecified or reading == IPv4Address("255.255.255.255"):
            return f"{address} is no single machine's address."
    if network is not None:
        inside = address.version == network.version and address in network
        return None if inside else f"{address} is outside {network}, the range that the rule names."
    if not all(_public(reading) for reading in readings(address)):
        return f"{address} is a private address, and the rule names no range."
    return None


def _public(address: Address) -> bool:
    if address.version == 6 and address not in UNICAST and address not in NAT64:
        return False
    return not any(address in one for one in SPECIAL if one.version == address.version)


def _loopback(address: Address) -> bool:
    return any(reading.is_loopback for reading in readings(address))
