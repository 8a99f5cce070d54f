"""Hosts, ports and paths as one spelling each. What has a second reading is refused, never guessed."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import unquote_to_bytes

import idna

from gateway.errors import BadName

LONGEST_NAME, LONGEST_LABEL, LONGEST_PATH = 253, 63, 8_192
# Readings that are remembered: agents say the same few names again and again.
KEPT = 1_024
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
# A name whose last label is a number is an IPv4 address to many parsers (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4 = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_BAD_TARGET = re.compile(rb"[\x00-\x20\x7f-\xff#]")
_BAD_PATH = re.compile(rb"\\|%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
# How often servers in a row may decode one path. What is escaped once more than that is refused.
_DECODINGS = 3


@dataclass(frozen=True)
class Host:
    """A name in A-labels and lower case, or an address. `text` is its one spelling, without brackets."""

    text: str
    address: IPv4Address | IPv6Address | None = None

    @classmethod
    @lru_cache(KEPT)
    def read(cls, text: str) -> "Host":
        """Raises BadName."""
        if text.startswith("[") and text.endswith("]"):
            return _ipv6(text[1:-1])
        if ":" in text:
            raise BadName("An IPv6 address stands in brackets.")
        name = _a_labels(text)
        if _IPV4.fullmatch(name):
            return _ipv4(text)
        labels = name.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            raise BadName(f"{text[:80]!r} is an address in an unusual notation: write it as four decimal numbers.")
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
    @lru_cache(KEPT)
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


@lru_cache(KEPT)
def segments(path: str | bytes) -> Sequence[bytes]:
    """The decoded segments of an absolute path, without its query (RFC 3986 section 6.2.2).

    Raises BadName where a server could read another path out of it: dot segments in any encoding, backslashes, control
    characters, broken escapes, what is not UTF-8.
    """
    target = path.encode("utf-8", "surrogatepass") if isinstance(path, str) else path
    raw = target.partition(b"?")[0]
    if not raw.startswith(b"/") or len(raw) > LONGEST_PATH or _BAD_TARGET.search(target) or _BAD_PATH.search(raw):
        raise BadName("The path is not one that can be compared: it must be absolute and written plainly.")
    decoded = [unquote_to_bytes(one) for one in raw[1:].split(b"/")]
    # One look at all of them first: most paths have nothing to decode and no dot that could matter.
    if (b"%" in raw or b"." in raw) and any(_ambiguous(reading) for one in decoded for reading in _readings(one)):
        raise BadName("The path has dot segments or hidden characters.")
    return tuple(decoded)


def _readings(segment: bytes) -> Iterator[str]:
    """What servers may make of a segment: decoded again and again, and with its compatibility characters folded."""
    for _ in range(_DECODINGS):
        try:
            text = segment.decode()
        except UnicodeDecodeError as error:
            # Overlong forms are how "." and "/" were hidden from those who checked before they decoded.
            raise BadName("The path is not UTF-8 behind its escapes.") from error
        yield text
        if not text.isascii():
            yield unicodedata.normalize("NFKC", text)
        if not _ESCAPE.search(segment):
            return
        segment = unquote_to_bytes(segment)
    raise BadName("The path is escaped too often.")


def _ambiguous(text: str) -> bool:
    """Control characters, or a dot segment to some server.

    "..;x" is ".." to those that know path parameters, "..?" to those that decode before they look for the query,
    ".. " and "..." to Windows.
    """
    parts = (re.split("[;?#]", part)[0] for part in re.split(r"[/\\]", text))
    return any("." in part and not part.strip(". ") for part in parts) or any(
        ord(one) < 32 or 127 <= ord(one) < 160 for one in text
    )


def _a_labels(text: str) -> str:
    # The length is looked at first: what follows is slower than linear on long labels (CVE-2024-3651).
    if not 0 < len(text) <= LONGEST_NAME + 1 or any(ord(one) <= 32 or one in "%/\\@#?<>^|`{}\"'\x7f" for one in text):
        raise BadName(f"{text[:80]!r} is not the name of a host.")
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode()
        except UnicodeError as error:
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
    if address.ipv4_mapped is not None:
        raise BadName(f"{text[:80]!r} is an IPv4 address in an unusual notation: write it as four decimal numbers.")
    return Host(str(address), address)


def _ipv4(text: str) -> Host:
    """Only as it is written everywhere: neither with a dot at its end nor in other scripts' digits."""
    try:
        return Host(text, IPv4Address(text))
    except ValueError as error:
        raise BadName(f"{text[:80]!r} is not an IPv4 address.") from error


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65_535:
        raise BadName(f"{text[:20]!r} is not a port.")
    return int(text)
