"""Batches as they come over the wire: each form is read, and what cannot be read says what to send instead."""

import gzip
import json

import pytest

from sessions.api import batches
from sessions.api.batches import LARGEST_BATCH, MOST_EVENTS, BadBatch, Line, OtherType, TooLarge, read

EVENT = {"id": "x", "data": {"n": 1}}
NDJSON = "application/x-ndjson"


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "", "Application/JSON"])
def test_json_is_read(kind: str) -> None:
    assert read(json.dumps({"events": [EVENT, 5]}).encode(), kind, "") == [EVENT, 5]


@pytest.mark.parametrize("kind", [NDJSON, "application/x-ndjson; charset=utf-8", "application/ndjson"])
def test_ndjson_is_read(kind: str) -> None:
    assert read(lines(EVENT, EVENT) + b"\n", kind, "identity") == [EVENT, EVENT]


def test_a_line_that_is_not_json_keeps_no_other_out() -> None:
    first, bad, last = read(lines(EVENT) + b"{nonsense\n" + lines(EVENT), NDJSON, "")
    assert (first, type(bad), last) == (EVENT, Line, EVENT)


def test_a_lone_surrogate_in_one_event_does_not_refuse_the_batch() -> None:
    assert read(b'{"events": [{"a": "\\ud800"}, {"b": 1}]}', "", "") == [{"a": "\ud800"}, {"b": 1}]


def test_gzip_is_unpacked() -> None:
    assert read(gzip.compress(lines(EVENT)), NDJSON, "gzip") == [EVENT]


@pytest.mark.parametrize("most", [MOST_EVENTS, MOST_EVENTS + 1])
def test_more_events_than_a_batch_may_have_are_refused(most: int) -> None:
    body = b"{}\n" * most
    if most == MOST_EVENTS:
        assert len(read(body, NDJSON, "")) == most
        return
    with pytest.raises(TooLarge, match="may have 1000 events, this one has 1001"):
        read(body, NDJSON, "")


def test_gzip_that_unpacks_to_more_than_a_batch_is_refused_early() -> None:
    bomb = gzip.compress(b" " * (LARGEST_BATCH + 1))
    with pytest.raises(TooLarge, match="Unpacked, a batch may have 4194304 bytes"):
        batches.unpacked(bomb, "gzip")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"nonsense", "is not gzip"),
        (gzip.compress(b"{}\n")[:-4], "cut off"),
        (gzip.compress(b"{}\n") + b"more", "something follows"),
    ],
)
def test_bad_gzip_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(BadBatch, match=why):
        batches.unpacked(body, "gzip")


@pytest.mark.parametrize(("kind", "encoding"), [("text/plain", ""), ("application/xml", ""), (NDJSON, "br")])
def test_what_is_not_taken_says_what_is(kind: str, encoding: str) -> None:
    with pytest.raises(OtherType, match=r"application/x-ndjson|gzip"):
        read(b"{}\n", kind, encoding)
