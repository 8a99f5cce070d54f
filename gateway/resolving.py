"""Names to addresses, and connections to exactly the address that was checked: no second look-up can change it."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from gateway import addresses
from gateway.addresses import Address, Network
from gateway.errors import Denied
from gateway.names import Host
from gateway.policy import Code, Rule, deny
from gateway.wire import TlsWire, Wire

CONNECT_S, KEEP_S, MOST_KEPT = 10.0, 5.0, 4_096

Connection = TypeVar("Connection")
Lookup = Callable[[str], Awaitable[Sequence[Address]]]


class UpstreamError(Exception):
    """The far end cannot be reached, or is not who it should be."""


async def system_lookup(name: str) -> Sequence[Address]:
    """What this machine's resolver says. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


def hosts_lookup(path: Path, otherwise: Lookup = system_lookup) -> Lookup:
    """A file in the form of /etc/hosts first; what it does not name is asked of the resolver."""
    known = read_hosts(path.read_text())

    async def lookup(name: str) -> Sequence[Address]:
        return known[name] if name in known else await otherwise(name)

    return lookup


def read_hosts(text: str) -> Mapping[str, Sequence[Address]]:
    known: dict[str, list[Address]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            known.setdefault(name.lower(), []).append(ip_address(address))
    return known


class Resolver:
    """Looks names up, for KEEP_S, and says which of their addresses a rule opens."""

    def __init__(self, lookup: Lookup, own: Collection[tuple[Address, int]] = ()) -> None:
        self._lookup, self.own = lookup, frozenset(own)
        self._kept: dict[str, tuple[float, Sequence[Address]]] = {}

    async def checked(self, host: Host, port: int, rule: Rule) -> Sequence[Address]:
        """The addresses that may be connected to. Raises Denied if there are none, UpstreamError if nobody knows it."""
        found = [host.address] if host.address is not None else await self._found(host.text)
        against = {one: _against(one, port, rule.network, self.own) for one in found}
        good = [one for one, why in against.items() if why is None]
        if not good:
            raise Denied(deny(Code.ADDRESS, f"{host}: {next(iter(against.values()))}", rule))
        return good

    async def _found(self, name: str) -> Sequence[Address]:
        now = time.monotonic()
        kept = self._kept.get(name)
        if kept is not None and kept[0] > now:
            return kept[1]
        try:
            found = await self._lookup(name)
        except OSError as error:
            raise UpstreamError(f"The name {name} does not resolve.") from error
        if not found:
            raise UpstreamError(f"The name {name} has no address.")
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[name] = now + KEEP_S, found
        return found


@lru_cache(1_024)
def _against(address: Address, port: int, network: Network | None, own: frozenset[tuple[Address, int]]) -> str | None:
    return addresses.against(address, port, network, own)


async def dial(found: Sequence[Address], port: int, host: Host) -> tuple[Wire, Address]:
    """A connection to the first of these addresses that answers. Raises UpstreamError."""
    return await _first(found, port, host, _connected)


async def dial_tls(found: Sequence[Address], port: int, host: Host, context: ssl.SSLContext) -> tuple[TlsWire, Address]:
    """The same with TLS, for the host's name. Raises UpstreamError."""

    async def secured(address: Address, port: int) -> TlsWire:
        wire = await _connected(address, port)
        try:
            tls = TlsWire(wire, context, host.text)
            await tls.handshake()
        except BaseException:
            wire.close()
            raise
        return tls

    return await _first(found, port, host, secured)


async def _connected(address: Address, port: int) -> Wire:
    _, wire = await asyncio.get_running_loop().create_connection(Wire, str(address), port)
    return wire


async def _first(
    found: Sequence[Address], port: int, host: Host, connect: Callable[[Address, int], Awaitable[Connection]]
) -> tuple[Connection, Address]:
    problem: Exception | None = None
    for address in found:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await connect(address, port), address
        except (OSError, TimeoutError) as error:
            problem = error
    raise UpstreamError(f"{host}:{port} cannot be reached: {_why(problem)}.") from problem


def _why(problem: Exception | None) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not good ({problem.verify_message})"
    if isinstance(problem, TimeoutError):
        return "no answer"
    return getattr(problem, "strerror", None) or type(problem).__name__
