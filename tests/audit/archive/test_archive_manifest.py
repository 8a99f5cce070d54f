"""The manifest's format: what it writes, and that nothing else is read."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from audit import canonical
from audit.archive_manifest import File, Manifest, Span
from audit.checkpoint import Checkpoint
from audit.errors import FormatError

MANIFEST = Manifest(
    Span(0, 256),
    Checkpoint("log.example/team", 300, bytes(32)),
    datetime(2026, 11, 25, 22, 0, tzinfo=UTC),
    datetime(2033, 11, 25, 22, 0, tzinfo=UTC),
    {"tile/0/000": File.of(b"hashes"), "checkpoint": File.of(b"")},
)
TEXT = (
    b'{"archived_at":"2026-11-25T22:00:00Z","end":256,"files":{"checkpoint":{"length":0,"sha256":'
    b'"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"tile/0/000":{"length":6,"sha256":"'
    + File.of(b"hashes").sha256.encode()
    + b'"}},"first":0,"origin":"log.example/team","retain_until":"2033-11-25T22:00:00Z","root":"'
    + b"00" * 32
    + b'","size":300,"v":1}'
)


def test_manifest_is_canonical_json() -> None:
    assert MANIFEST.encode() == TEXT


def test_manifest_is_read_as_it_was_written() -> None:
    assert Manifest.parse(TEXT) == MANIFEST


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"more": 1},
        {"first": 256},
        {"first": -1},
        {"first": 0.5},
        {"first": True},
        {"end": "256"},
        {"size": "300"},
        {"size": -1},
        {"root": "00"},
        {"root": "zz" * 32},
        {"root": None},
        {"origin": ""},
        {"origin": "a\nb"},
        {"retain_until": "2033-11-25"},
        {"retain_until": "2033-13-25T22:00:00Z"},
        {"archived_at": 1},
        {"files": []},
        {"files": {"../x": {"sha256": "00" * 32, "length": 1}}},
        {"files": {"checkpoint": {"sha256": "00", "length": 1}}},
        {"files": {"checkpoint": {"sha256": "00" * 32, "length": -1}}},
        {"files": {"checkpoint": {"sha256": "00" * 32, "length": 1, "more": 1}}},
        {"files": {"checkpoint": None}},
    ],
)
def test_manifest_with_anything_else_in_it_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        Manifest.parse(canonical.dumps({**canonical.loads(TEXT), **change}))


@pytest.mark.parametrize(
    "field", ["v", "first", "end", "origin", "size", "root", "archived_at", "retain_until", "files"]
)
def test_manifest_with_a_field_missing_is_refused(field: str) -> None:
    content = canonical.loads(TEXT)
    del content[field]
    with pytest.raises(FormatError):
        Manifest.parse(canonical.dumps(content))


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"1", b"\xff", TEXT + b"\n", TEXT.replace(b":", b": ", 1)])
def test_bytes_that_are_no_manifest_are_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        Manifest.parse(text)


def test_span_names_its_folder_and_its_manifest() -> None:
    span = Span(1234567, 10**12)
    assert span.folder == "segment/000001234567-1000000000000/"
    assert span.manifest == "manifest/000001234567-1000000000000.json"
    assert (Span.of_folder(span.folder), Span.of_manifest(span.manifest)) == (span, span)
    assert span.words == "entries 1,234,567 to 999,999,999,999"


@pytest.mark.parametrize("text", ["0-5", "000000000005-000000000005", "0000000000000-000000000005", "a", ""])
def test_span_of_another_writing_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Span.parse(text)


def test_spans_sort_by_their_entries() -> None:
    assert sorted([Span(10**12, 10**12 + 1), Span(5, 9), Span(0, 5)])[-1].first == 10**12
    assert replace(Span(0, 5), end=6) > Span(0, 5)
