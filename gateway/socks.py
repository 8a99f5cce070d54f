"""SOCKS5 (RFC 1928) with user name and password (RFC 1929): only CONNECT, and names stay names."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gateway.errors import BadName, GatewayError
from gateway.names import Host

VERSION = 5
NO_AUTHENTICATION, PASSWORD, NOTHING = 0x00, 0x02, 0xFF
CONNECT = 1
GRANTED, FAILED, NOT_ALLOWED, UNREACHABLE, NO_COMMAND, NO_ADDRESS = 0, 1, 2, 4, 7, 8


class BadSocks(GatewayError):
    """What came is not SOCKS5, or asks for what is not offered. `reply` is what to answer before closing."""

    def __init__(self, message: str, reply: bytes = b"") -> None:
        super().__init__(message)
        self.reply = reply


@dataclass(frozen=True)
class Asked:
    host: Host
    port: int


Exactly = Callable[[int], Awaitable[bytes]]


async def greeting(exactly: Exactly, write: Callable[[bytes], None], authenticated: bool) -> tuple[str, str] | None:
    """The first half of the dialogue. Returns the name and the password, None where none are needed."""
    version, count = await exactly(2)
    methods = await exactly(count)
    wanted = NO_AUTHENTICATION if authenticated else PASSWORD
    if version != VERSION or wanted not in methods:
        raise BadSocks("The client does not offer the way to sign in that is needed.", bytes([VERSION, NOTHING]))
    write(bytes([VERSION, wanted]))
    if authenticated:
        return None
    if await exactly(1) != b"\x01":
        raise BadSocks("The sub-negotiation has an unknown version.", b"\x01\x01")
    name = await exactly((await exactly(1))[0])
    password = await exactly((await exactly(1))[0])
    return name.decode("latin-1"), password.decode("latin-1")


async def request(exactly: Exactly) -> Asked:
    """The second half: where to. Raises BadSocks, BadName."""
    version, command, reserved, kind = await exactly(4)
    if version != VERSION or reserved:
        raise BadSocks("This is no SOCKS5 request.", reply(FAILED))
    host = await _host(exactly, kind)
    port = int.from_bytes(await exactly(2), "big")
    if command != CONNECT:
        raise BadSocks("Only CONNECT is offered.", reply(NO_COMMAND))
    if not port:
        raise BadName("0 is not a port.")
    return Asked(host, port)


def reply(code: int) -> bytes:
    return bytes([VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0])


async def _host(exactly: Exactly, kind: int) -> Host:
    if kind == 1:
        address: IPv4Address | IPv6Address = IPv4Address(await exactly(4))
    elif kind == 4:
        address = IPv6Address(await exactly(16))
    elif kind == 3:
        name = await exactly((await exactly(1))[0])
        try:
            return Host.read(name.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise BadName("The host is not UTF-8.") from error
    else:
        raise BadSocks("The kind of address is unknown.", reply(NO_ADDRESS))
    return Host(str(address), address)
