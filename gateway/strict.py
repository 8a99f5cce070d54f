"""Heads of requests with one reading only (RFC 9112).

h11 parses them afterwards; what two servers on the way could read in two ways never comes so far.
"""

import re
from collections.abc import Sequence

from gateway.errors import GatewayError
from gateway.head import Head

LONGEST_HEAD, MOST_HEADERS = 65_536, 200
END = b"\r\n\r\n"
_LINE = re.compile(rb"(?P<method>[A-Z][A-Z-]{0,31}) (?P<target>[\x21-\x7e]{1,16384}) HTTP/1\.(?P<minor>[01])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,15}")
# Those that say where a request ends and where it goes: each at most once, and written in one way.
SINGLE = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"content-type", b"authorization"}
    | {b"proxy-authorization"}
)
FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"connection", b"te"})


class BadRequest(GatewayError):
    """The head is none that a client needs to send."""


def head(raw: bytes) -> Head:
    """The head in these bytes, which end with an empty line. The target stays as it came. Raises BadRequest."""
    if len(raw) > LONGEST_HEAD or not raw.endswith(END):
        raise BadRequest("The head of the request is too long.")
    first, *lines = raw[: -len(END)].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise BadRequest("The request line is not one of HTTP/1.1.")
    if line["minor"] == b"0" and line["method"] != b"CONNECT":
        raise BadRequest("HTTP/1.0 is too old to be told apart.")
    if len(lines) > MOST_HEADERS:
        raise BadRequest("The request has too many headers.")
    read = Head(line["method"], line["target"], tuple(_header(one) for one in lines))
    _check(read)
    return read


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        raise BadRequest("A header has no name, or one with spaces.")
    # Servers behind a gateway of their own (CGI, WSGI) read "_" as "-".
    if b"_" in name and name.lower().replace(b"_", b"-") in FRAMING:
        raise BadRequest("A header looks like one that frames the request, and is not.")
    if _BAD_VALUE.search(value):
        raise BadRequest("A header holds control characters.")
    return name, value.strip(b" \t")


def _check(read: Head) -> None:
    names = [name.lower() for name, _ in read.headers]
    for name in SINGLE:
        if names.count(name) > 1:
            raise BadRequest(f"The header {name.decode()} is there more than once.")
    length, coding = read.one(b"content-length"), read.one(b"transfer-encoding")
    if length is not None and coding is not None:
        raise BadRequest("The request says twice where it ends.")
    if length is not None and not _LENGTH.fullmatch(length):
        raise BadRequest("Content-Length is not a number.")
    if coding is not None and coding.lower() != b"chunked":
        raise BadRequest("Transfer-Encoding is not chunked.")
    if read.method == b"CONNECT" and (coding is not None or length not in (None, b"0")):
        raise BadRequest("CONNECT has no body.")
    expect = read.one(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise BadRequest("Nothing but 100-continue can be expected.")


def listed(read: Head, name: bytes) -> Sequence[bytes]:
    """The members of a header that is a list, in lower case."""
    return [one.strip().lower() for value in read.all(name) for one in value.split(b",") if one.strip()]
