"""Batches of events as they come over the wire: JSON or NDJSON, packed or not. What is in them is read elsewhere."""

import json
import zlib
from collections.abc import Sequence

import orjson

MOST_EVENTS = 1_000
LARGEST_BATCH = 4 * 1024 * 1024
JSON, NDJSON = "application/json", "application/x-ndjson"


class BadBatch(Exception):
    """The whole batch cannot be read: the text says why, and what to send instead."""


class TooLarge(BadBatch):
    """More than one batch may hold."""


class OtherType(BadBatch):
    """A content type or encoding that is not taken here."""


class Line:
    """A line of NDJSON that is not JSON. It is rejected by itself, and keeps nothing else out."""


def read(body: bytes, content_type: str, encoding: str) -> Sequence[object]:
    """The events of a batch, unread. Raises BadBatch."""
    body = unpacked(body, encoding)
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (NDJSON, "application/ndjson", "application/jsonl"):
        lines = [line for line in body.split(b"\n") if line.strip()]
        raws: Sequence[object] = [_line(line) for line in lines] if len(lines) <= MOST_EVENTS else lines
    elif kind in (JSON, ""):
        raws = _events(body)
    else:
        raise OtherType(f"Send {JSON} or {NDJSON}.")
    if len(raws) > MOST_EVENTS:
        raise TooLarge(f"A batch may have {MOST_EVENTS} events, this one has {len(raws)}.")
    return raws


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding, of which gzip is taken. Raises BadBatch."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise OtherType("Content-Encoding may be gzip.")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(body, LARGEST_BATCH + 1)
    except zlib.error as error:
        raise BadBatch("The body is not gzip, as its Content-Encoding says.") from error
    if len(data) > LARGEST_BATCH:
        raise TooLarge(f"Unpacked, a batch may have {LARGEST_BATCH} bytes.")
    if not unpacker.eof or unpacker.unused_data:
        raise BadBatch("The gzip of the body is cut off, or something follows it.")
    return data


def _events(body: bytes) -> Sequence[object]:
    batch = parsed(body)
    if not isinstance(batch, dict) or batch.keys() != {"events"} or not isinstance(batch["events"], list):
        raise BadBatch('The body must be {"events": [...]}.')
    events: Sequence[object] = batch["events"]
    return events


def parsed(body: bytes) -> object:
    """One JSON text. Raises BadBatch."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # A lone surrogate in one event is no reason to refuse the others: the standard library reads it.
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadBatch("The body is not JSON.") from error


def _line(line: bytes) -> object:
    try:
        return parsed(line)
    except BadBatch:
        return Line()
