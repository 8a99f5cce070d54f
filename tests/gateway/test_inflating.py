"""Compressed bodies are looked into, and are neither bombs nor broken."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.head import Head
from gateway.inflating import Inflater, asking_identity, coding_of, inflated
from gateway.refusal import InflationError

TEXT = b"the quick brown fox " * 50


def bare_deflate(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()


def inflate(coding: bytes, *chunks: bytes, most: int = 1 << 30) -> bytes:
    inflater = Inflater(coding, most=most)
    out = b"".join([piece for chunk in chunks for piece in inflater.feed(chunk)])
    inflater.finish()
    return out


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b"x-gzip", gzip.compress(TEXT)),
        (b"gzip", gzip.compress(TEXT[:333]) + gzip.compress(TEXT[333:])),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", bare_deflate(TEXT)),
    ],
)
def test_a_body_comes_out_whatever_the_chunks(coding, body):
    assert inflate(coding, body) == TEXT
    assert inflate(coding, *[bytes([byte]) for byte in body]) == TEXT


@given(st.binary(max_size=300_000), st.sampled_from([(b"gzip", gzip.compress), (b"deflate", zlib.compress)]))
def test_any_body_comes_out_in_small_pieces(data, coded):
    inflater = Inflater(coded[0])
    pieces = list(inflater.feed(coded[1](data)))
    inflater.finish()
    assert b"".join(pieces) == data
    assert max(map(len, pieces), default=0) <= 65536


def test_a_body_of_exactly_one_piece_comes_out():
    assert inflate(b"gzip", gzip.compress(bytes(65536))) == bytes(65536)
    assert inflate(b"gzip", gzip.compress(bytes(65537))) == bytes(65537)


def test_an_empty_body_is_no_error():
    assert inflate(b"gzip") == b""


def test_a_bomb_is_refused_before_it_grows():
    inflater = Inflater(b"gzip")
    sizes: list[int] = []
    with pytest.raises(InflationError) as refused:
        sizes.extend(len(piece) for piece in inflater.feed(gzip.compress(bytes(50 << 20))))
    assert refused.value.code == "encoding_bomb"
    assert sum(sizes) < 12 << 20


def test_a_body_over_the_limit_is_refused():
    with pytest.raises(InflationError, match="far larger"):
        inflate(b"gzip", gzip.compress(TEXT), most=len(TEXT) - 1)
    assert inflate(b"gzip", gzip.compress(TEXT), most=len(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(TEXT)[:-1]),
        (b"gzip", b"plain text"),
        (b"gzip", gzip.compress(TEXT) + b"GET / HTTP/1.1"),
        (b"deflate", zlib.compress(TEXT)[:-1]),
        (b"deflate", zlib.compress(TEXT) + b"x"),
        (b"deflate", b"x"),
    ],
)
def test_a_broken_body_is_refused(coding, body):
    with pytest.raises(InflationError) as refused:
        inflate(coding, body)
    assert refused.value.code == "encoding_broken"


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        ([], None),
        ([b"identity"], None),
        ([b"aws-chunked"], None),
        ([b"GZip"], b"gzip"),
        ([b"aws-chunked, gzip"], b"gzip"),
        ([b"identity", b" deflate "], b"deflate"),
    ],
)
def test_the_compression_is_read_from_all_headers(headers, coding):
    assert coding_of(Head(b"GET", b"/", tuple((b"Content-Encoding", value) for value in headers))) == coding


@pytest.mark.parametrize("value", [b"br", b"zstd", b"gzip, gzip", b"gzip,br", b"compress"])
def test_a_compression_that_cannot_be_read_is_refused(value):
    with pytest.raises(InflationError, match="cannot be looked into"):
        coding_of(Head(b"GET", b"/", ((b"content-encoding", value),)))


def test_what_goes_on_inflated_says_so():
    names = [(b"Content-Encoding", b"gzip"), (b"content-length", b"9"), (b"Content-MD5", b"x"), (b"ETag", b"y")]
    assert inflated(Head(b"GET", b"/", tuple(names))).headers == ((b"ETag", b"y"),)
    framed = Head(b"PUT", b"/", ((b"content-encoding", b"aws-chunked,gzip"),))
    assert inflated(framed).headers == ((b"Content-Encoding", b"aws-chunked"),)


def test_only_identity_is_asked_for():
    agent = Head(b"GET", b"/", ((b"accept-encoding", b"gzip, br"), (b"Accept-Encoding", b"zstd")))
    assert asking_identity(agent).headers == ((b"Accept-Encoding", b"identity"),)
