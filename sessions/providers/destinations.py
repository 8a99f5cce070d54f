"""What the location of an `egress` object names: a scheme, a host, a port, and a path where the gateway sees inside.

One spelling each: what is shown to whoever decides is what the gateway compares. Nothing here talks to anybody.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import idna

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

INSPECT, TUNNEL, FORWARD = "inspect", "tunnel", "forward"
MODES: Mapping[str, str] = MappingProxyType({"https": INSPECT, "http": INSPECT, "tls": TUNNEL, "tcp": FORWARD})
PORTS: Mapping[str, int] = MappingProxyType({"https": 443, "http": 80, "tls": 443})
LONGEST_HOST, LONGEST_PATH = 253, 400
FEWEST_LABELS = 2

LOCATION = re.compile(r"(https?|tls|tcp)://(\[[0-9a-f.]*:[0-9a-f:.]*\]|[^/:\[\]]+)(?::([0-9]{1,5}))?(/.*)?", re.DOTALL)
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# What the URL standard reads as an IPv4 address in some notation, if it is the last label.
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
PATH = re.compile(r"/[A-Za-z0-9._~!$&'()+,;=:@/-]*", re.ASCII)
OURS = "drawbridge.internal"

PRIVATE = tuple(
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128")
)
# Link-local addresses, and where clouds tell a machine its own credentials.
NEVER = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"),
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    )
)


class Unclear(ValueError):
    """It cannot be a destination: the text says why."""


@dataclass(frozen=True)
class Destination:
    """One location, read. `path` is None where nothing is seen inside."""

    scheme: str
    host: str
    port: int
    path: str | None

    @property
    def mode(self) -> str:
        return MODES[self.scheme]

    @property
    def address(self) -> Address | None:
        """The host, where it is an IP literal."""
        return address_of(self.host)

    @property
    def has_name(self) -> bool:
        """Whether the host is a name of the Internet, which only needs to be resolved."""
        return self.address is None and "." in self.host and not self.host.endswith(".localhost")

    @classmethod
    def of(cls, location: object) -> "Destination":
        """Raises Unclear."""
        match = LOCATION.fullmatch(location) if isinstance(location, str) else None
        if match is None:
            raise Unclear("write https://host/path/, http://host/path/, tls://host or tcp://host:port, in lower case")
        scheme, host, port, path = match.groups()
        _demand_host(host.strip("[]"))
        return cls(scheme, host.strip("[]"), _port(scheme, port), _path(scheme, path))


def address_of(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def network_of(text: object) -> Network:
    """A range of private addresses. Raises Unclear."""
    try:
        network = ipaddress.ip_network(text) if isinstance(text, str) and "/" in text else None
    except ValueError:
        network = None
    if network is None or str(network) != text:
        raise Unclear("write a range such as 10.20.0.0/16, with no bits set behind the slash")
    if any(_overlap(network, never) for never in NEVER):
        raise Unclear("it holds link-local or metadata addresses, which are never reached")
    if not any(_inside(network, private) for private in PRIVATE):
        raise Unclear("it is not a range of private addresses: leave network out for what is public")
    return network


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _inside(network: Network, wide: Network) -> bool:
    return network.version == wide.version and network.subnet_of(wide)  # type: ignore[arg-type]


def _demand_host(host: str) -> None:
    address = address_of(host)
    if address is not None:
        if str(address) != host:
            raise Unclear(f"write the address as {address}")
        return
    labels = host.removeprefix("*.").split(".")
    if len(host) > LONGEST_HOST or not all(map(LABEL.fullmatch, labels)):
        raise Unclear("the host must be a name in lower case (xn-- for other letters), with no dot at its end")
    if NUMERIC.fullmatch(labels[-1]):
        raise Unclear("the host is read by some programs as an address in an odd notation")
    if host.startswith("*.") and len(labels) < FEWEST_LABELS:
        raise Unclear("a wildcard needs two names behind it: *.example.com")
    if labels[-2:] == OURS.split("."):
        raise Unclear(f"names under {OURS} are the gateway itself")
    for label in labels:
        _demand_a_label(label)


def _demand_a_label(label: str) -> None:
    """`xn--` is only what IDNA 2008 makes of a name (RFC 5891): two spellings of one name would be two rules."""
    if label[2:4] != "--":
        return
    try:
        made = idna.alabel(idna.ulabel(label)).decode()
    except idna.IDNAError:
        made = ""
    if made != label:
        raise Unclear(f"{label} is not the A-label of any name")


def _port(scheme: str, text: str | None) -> int:
    if text is None:
        if scheme not in PORTS:
            raise Unclear("tcp:// needs a port")
        return PORTS[scheme]
    if text.startswith("0") or not 1 <= int(text) <= 65535:
        raise Unclear("the port must be from 1 to 65535")
    return int(text)


def _path(scheme: str, path: str | None) -> str | None:
    if MODES[scheme] != INSPECT:
        if path is not None:
            raise Unclear(f"{scheme}:// has no path: nothing is seen inside")
        return None
    if path is None:
        raise Unclear("it needs a path: / stands for all of the host")
    for problem in _path_problems(path):
        raise Unclear(problem)
    return path


def _path_problems(path: str) -> Iterator[str]:
    if len(path) > LONGEST_PATH or not PATH.fullmatch(path):
        yield "the path is compared decoded: letters, digits and the like, without %, ?, # and *"
    segments = path.split("/")[1:]
    if any(segment in (".", "..") for segment in segments) or "" in segments[:-1]:
        yield "the path has no empty segments, no . and no .."
