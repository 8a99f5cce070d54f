"""Hosts, ports and paths as one spelling each. What has a second reading is refused, never guessed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

import idna

from gateway.errors import BadName

LONGEST_NAME, LONGEST_LABEL, LONGEST_PATH = 253, 63, 8_192
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
# A name whose last label is a number is an IPv4 address to many parsers (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4 = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")
_BAD_PATH = re.compile(rb"[\x00-\x20\x7f\\]|%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Host:
    """A name in A-labels and lower case, or an address. `text` is its one spelling, without brackets."""

    text: str
    address: IPv4Address | IPv6Address | None = None

    @classmethod
    def read(cls, text: str) -> "Host":
        """Raises BadName."""
        if text.startswith("[") and text.endswith("]"):
            return _ipv6(text[1:-1])
        if ":" in text:
            raise BadName("An IPv6 address stands in brackets.")
        name = _a_labels(text)
        if _IPV4.fullmatch(name):
            return _literal(name)
        labels = name.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            raise BadName(f"{text!r} is an address in an unusual notation: write it as four decimal numbers.")
        if len(name) > LONGEST_NAME or not all(len(one) <= LONGEST_LABEL and _LABEL.fullmatch(one) for one in labels):
            raise BadName(f"{text[:80]!r} is not the name of a host.")
        return cls(name)

    @property
    def bracketed(self) -> str:
        """As it stands in a URL or a Host header."""
        return f"[{self.text}]" if isinstance(self.address, IPv6Address) else self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Authority:
    """A host and a port."""

    host: Host
    port: int

    @classmethod
    def read(cls, text: str, default_port: int | None = None) -> "Authority":
        """`host:port` as in CONNECT and Host; no user information. Raises BadName."""
        host, separator, port = text.rpartition(":")
        if not separator or text.endswith("]"):
            host, port = text, ""
        if not port:
            if default_port is None or separator and not text.endswith("]"):
                raise BadName(f"{text[:80]!r} names no port.")
            return cls(Host.read(host), default_port)
        return cls(Host.read(host), _port(port))

    def __str__(self) -> str:
        return f"{self.host.bracketed}:{self.port}"


def segments(path: str | bytes) -> Sequence[bytes]:
    """The decoded segments of an absolute path, without its query (RFC 3986 section 6.2.2).

    Raises BadName where a server could read another path out of it: dot segments in any encoding, backslashes, control
    characters, broken escapes.
    """
    raw = path.encode("latin-1", "replace") if isinstance(path, str) else path
    raw = raw.partition(b"?")[0]
    if not raw.startswith(b"/") or len(raw) > LONGEST_PATH or _BAD_PATH.search(raw) or b"#" in raw:
        raise BadName("The path is not one that can be compared: it must be absolute and written plainly.")
    decoded = [unquote_to_bytes(one) for one in raw[1:].split(b"/")]
    for segment in decoded:
        # "..;x" is ".." to servers that know path parameters, "%2e%2e%2f" to those that decode before they split.
        parts = re.split(rb"[/\\]", segment)
        if any(part.partition(b";")[0] in (b".", b"..") for part in parts) or _hidden(segment):
            raise BadName("The path has dot segments or hidden characters.")
    return decoded


def _hidden(segment: bytes) -> bool:
    """Control characters behind an escape, or an escape behind an escape that would be one after a second decoding."""
    twice = unquote_to_bytes(segment)
    parts = re.split(rb"[/\\]", twice)
    return any(byte < 32 or byte == 127 for byte in segment) or any(one in (b".", b"..") for one in parts)


def _a_labels(text: str) -> str:
    if not text or any(ord(one) <= 32 or one in "%/\\@#?<>^|`{}\"'," or ord(one) == 127 for one in text):
        raise BadName(f"{text[:80]!r} is not the name of a host.")
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise BadName(f"{text[:80]!r} is not the name of a host.") from error
    # One dot at the end is the root, and the same name.
    return text.lower().removesuffix(".")


def _ipv6(text: str) -> Host:
    if "%" in text:
        raise BadName("An address with a zone reaches only this machine's own links.")
    try:
        address = IPv6Address(text)
    except ValueError as error:
        raise BadName(f"{text[:80]!r} is not an IPv6 address.") from error
    return Host(str(address), address)


def _literal(text: str) -> Host:
    try:
        return Host(text, ip_address(text))
    except ValueError as error:
        raise BadName(f"{text!r} is not an IPv4 address.") from error


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise BadName(f"{text[:20]!r} is not a port.")
    return int(text)
