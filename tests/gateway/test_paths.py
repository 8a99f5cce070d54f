"""Paths: segments that can be compared, or a refusal where a server could read another path out of them."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadName
from gateway.names import segments

READ = [
    ("/", [b""]),
    ("/a", [b"a"]),
    ("/a/", [b"a", b""]),
    ("/a/b.c", [b"a", b"b.c"]),
    ("/A/a", [b"A", b"a"]),
    ("//a", [b"", b"a"]),
    ("/a//b", [b"a", b"", b"b"]),
    ("/%61/%7Euser", [b"a", b"~user"]),
    ("/a%2Fb", [b"a/b"]),
    ("/@scope%2fname", [b"@scope/name"]),
    ("/a?b=/../c", [b"a"]),
    ("/a?", [b"a"]),
    ("/a??", [b"a"]),
    ("/a%3Fb", [b"a?b"]),
    ("/a%20b", [b"a b"]),
    ("/a%25b", [b"a%b"]),
    ("/a+b;v=1", [b"a+b;v=1"]),
    ("/b%C3%BCcher", ["bücher".encode()]),
    ("/.git/..a/a../a..b/.a.", [b".git", b"..a", b"a..", b"a..b", b".a."]),
    ("/compare/main...feature", [b"compare", b"main...feature"]),
    (b"/a/b", [b"a", b"b"]),
]


@pytest.mark.parametrize(("path", "expected"), READ)
def test_a_path_is_its_decoded_segments(path: str | bytes, expected: list[bytes]) -> None:
    assert list(segments(path)) == expected


REFUSED = {
    "dot dot": "/a/../b",
    "dot dot last": "/a/..",
    "dot dot first": "/../a",
    "dot": "/a/./b",
    "dot last": "/a/.",
    "escaped": "/a/%2e%2e/b",
    "half escaped": "/a/.%2e/b",
    "upper case": "/a/%2E%2E/b",
    "escaped once": "/a/%2e/b",
    "twice": "/a/%252e%252e/b",
    "thrice": "/a/%25252e%25252e/b",
    "four times": "/a/%2525252e%2525252e/b",
    "escape of an escape in halves": "/a/%%32%65%%32%65/b",
    "path parameter (Tomcat, CVE-2020-5902)": "/a/..;/b",
    "path parameter with a value": "/a/..;v=1/b",
    "dot and parameter": "/a/.;/b",
    "escaped parameter": "/a/..%3b/b",
    "twice escaped parameter": "/a/..%253b/b",
    "escaped query (Apache, CVE-2024-38474)": "/a/..%3f/b",
    "escaped fragment": "/a/..%23/b",
    "escaped slash (Apache, CVE-2021-41773)": "/a/..%2fb",
    "all escaped": "/a/%2e%2e%2fb",
    "slash twice escaped": "/a/..%252fb",
    "hidden behind a slash": "/a/b%2f..%2f..%2fc",
    "backslash": "/a\\b",
    "dot dot and backslash": "/a/..\\b",
    "escaped backslash": "/a/..%5cb",
    "twice escaped backslash": "/a/..%255cb",
    "overlong dot (IIS, CVE-2000-0884)": "/a/%c0%ae%c0%ae/b",
    "overlong slash": "/a/..%c0%afb",
    "overlong in three": "/a/%e0%80%ae%e0%80%ae/b",
    "overlong in four": "/a/%f0%80%80%ae/b",
    "no UTF-8": "/a/%ff",
    "cut off UTF-8": "/a/%c3",
    "surrogate": "/a/%ed%a0%80",
    "UTF-16 escape (IIS)": "/a/%u002e%u002e/b",
    "full-width dots": "/a/%ef%bc%8e%ef%bc%8e/b",
    "two dot leader": "/a/%e2%80%a5/b",
    "full-width slash": "/a/..%ef%bc%8fb",
    "trailing space (Windows)": "/a/..%20/b",
    "three dots (Windows)": "/a/.../b",
    "NUL": "/a%00b",
    "dot dot NUL": "/a/..%00/b",
    "twice escaped NUL": "/a%2500b",
    "escaped CR LF": "/a%0d%0aHost:%20evil.example",
    "escaped tab": "/a/.%09./b",
    "escaped DEL": "/a%7f",
    "escaped C1": "/a%c2%85b",
    "CR LF": "/a\r\nHost: evil.example",
    "CR LF in the query": "/a?b\r\nHost: evil.example",
    "tab": "/a\tb",
    "space": "/a b",
    "space in the query": "/a?b HTTP/1.1",
    "fragment": "/a#b",
    "fragment in the query": "/a?b#c",
    "broken escape": "/a%2",
    "broken escape last": "/a%",
    "no escape": "/a%zz",
    "raw UTF-8": "/bücher",
    "beyond Latin-1, once read as a query": "/中/secret",
    "raw surrogate": "/\ud800",
    "relative": "a/b",
    "empty": "",
    "only a query": "?a",
    "star": "*",
    "absolute-form": "https://evil.example/",
    "authority-form": "evil.example:443",
    "too long": "/" + "a" * 8_192,
}


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED.keys())
def test_a_path_with_a_second_reading_is_refused(path: str) -> None:
    with pytest.raises(BadName):
        segments(path)


def test_nesting_escapes_costs_nothing() -> None:
    with pytest.raises(BadName):
        segments("/%" + "25" * 4_000 + "2e")


def servers(path: str) -> Iterator[str]:
    """What servers with careless habits open for a path: decoded often, split late, parameters and cases forgotten."""
    for _ in range(4):
        path = unquote(path, errors="replace")
        for one in (path, path.replace("\\", "/"), path.partition("?")[0], path.partition("#")[0]):
            yield posixpath.normpath(one)
            yield posixpath.normpath("/".join(segment.partition(";")[0].rstrip(" ") for segment in one.split("/")))


PIECES = [
    "..",
    ".",
    "%2e",
    "%2E",
    "%252e",
    "/",
    "%2f",
    "%252F",
    "\\",
    "%5c",
    ";",
    "%3b",
    "a",
    "x",
    "%61",
    "?",
    "%3f",
    "#",
]
PIECES += ["%23", "%20", "%00", "%", "25", "2e", "%25", "%c0%ae", "//", "acme", "..;"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_server_leaves_the_prefix_that_was_compared(rest: str) -> None:
    try:
        parts = list(segments(f"/repos/acme/{rest}"))
    except BadName:
        return
    assert parts[:2] == [b"repos", b"acme"]
    for opened in servers(f"/repos/acme/{rest.partition('?')[0]}"):
        assert (opened + "/").startswith("/repos/acme/")


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_path_is_refused_or_read(path: bytes | str) -> None:
    try:
        parts = segments(path)
    except BadName:
        return
    assert not {b".", b".."} & set(parts)
