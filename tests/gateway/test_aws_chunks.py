"""Streaming uploads, signed anew chunk by chunk, pinned to the worked examples in AWS's own description of them."""

import io
import re
from datetime import UTC, datetime

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given
from hypothesis import strategies as st

from gateway.aws_chunks import Chunks
from gateway.head import Head
from gateway.refusal import SigningError
from gateway.sigv4 import Keys, Signed, sign
from gateway.sigv4_claim import read

KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)
ZERO = b"0" * 64
DATA = b"a" * 66560
CRC = b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
TRAILER = (b"x-amz-trailer", b"x-amz-checksum-crc32c")
SIGNED, WITH_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def upload(payload: bytes, *more: tuple[bytes, bytes]) -> Signed:
    """The example's request, as an agent with dummy keys signs it."""
    headers = (
        (b"Host", b"s3.amazonaws.com"),
        (b"x-amz-date", b"20130524T000000Z"),
        (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
        (b"x-amz-content-sha256", payload),
        (b"Content-Encoding", b"aws-chunked"),
        (b"x-amz-decoded-content-length", b"66560"),
        *more,
    )
    names = b";".join(sorted(name.lower() for name, _ in headers))
    scope = b"DUMMY/20130524/us-east-1/s3/aws4_request"
    value = b"AWS4-HMAC-SHA256 Credential=%b,SignedHeaders=%b,Signature=%b" % (scope, names, ZERO)
    head = Head(b"PUT", b"/examplebucket/chunkObject.txt", (*headers, (b"Authorization", value)))
    return sign(read(head, "s3.amazonaws.com"), head, KEYS, now=NOW)


def chunk(data: bytes, signature: bytes = ZERO) -> bytes:
    return b"%x;chunk-signature=%b\r\n%b\r\n" % (len(data), signature, data)


def last(trailers: bytes = b"", signature: bytes = ZERO) -> bytes:
    return b"0;chunk-signature=%b\r\n%b\r\n" % (signature, trailers)


def passed(chunks: Chunks | None, body: bytes, size: int = 1 << 20) -> tuple[bytes, bytes]:
    assert chunks is not None
    framed = [chunks.feed(body[at : at + size]) for at in range(0, len(body), size)]
    chunks.finish()
    return b"".join(piece.wire for piece in framed), b"".join(piece.payload for piece in framed)


def test_the_example_of_aws_is_signed_as_it_says():
    signed = upload(SIGNED, (b"Content-Length", b"66824"))
    assert signed.signature == "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    wire, payload = passed(signed.chunks, chunk(DATA[:65536]) + chunk(DATA[65536:]) + last())
    assert payload == DATA
    assert len(wire) == 66824
    assert re.findall(rb"chunk-signature=([0-9a-f]{64})", wire) == [
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]


def test_the_example_with_a_trailer_is_signed_as_it_says():
    signed = upload(WITH_TRAILER, TRAILER)
    assert signed.signature == "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    trailers = CRC + b"x-amz-trailer-signature:" + ZERO + b"\r\n"
    body = chunk(DATA[:65536]) + chunk(DATA[65536:]) + last(trailers)
    wire, payload = passed(signed.chunks, body)
    assert len(wire) == len(body)
    assert payload == DATA + b"\nx-amz-checksum-crc32c:sOO8/Q=="
    assert re.findall(rb"signature[=:]([0-9a-f]{64})", wire) == [
        b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
    ]


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 40))
def test_signatures_do_not_depend_on_how_the_body_arrives(parts, size):
    body = b"".join(map(chunk, parts)) + last()
    whole = passed(upload(SIGNED).chunks, body)
    assert passed(upload(SIGNED).chunks, body, size) == whole
    assert re.sub(rb"=[0-9a-f]{64}", b"=" + ZERO, whole[0]) == body
    assert whole[1] == b"".join(parts)


@given(st.binary(max_size=300), st.integers(1, 100), st.integers(1, 40))
def test_what_boto3_sends_passes_unchanged_and_is_seen_without_its_framing(data, chunk_size, size):
    body = AwsChunkedWrapper(io.BytesIO(data), Crc32Checksum, "x-amz-checksum-crc32", chunk_size).read()
    wire, payload = passed(upload(UNSIGNED, TRAILER).chunks, body, size)
    assert wire == body
    assert payload.rpartition(b"\nx-amz-checksum-crc32:")[0] == data


def test_an_unsigned_chunk_goes_on_as_it_comes():
    chunks = upload(UNSIGNED).chunks
    assert chunks is not None
    assert chunks.feed(b"5\r\nab") == (b"5\r\nab", b"ab")
    assert chunks.feed(b"cde\r\n") == (b"cde\r\n", b"cde")


def test_a_signed_chunk_waits_until_it_is_whole():
    chunks = upload(SIGNED).chunks
    assert chunks is not None
    assert chunks.feed(chunk(b"abcde")[:-3]) == (b"", b"abcd")
    wire, payload = chunks.feed(b"e\r\n")
    assert (wire[:18], wire[-7:], payload) == (b"5;chunk-signature=", b"abcde\r\n", b"e")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (SIGNED, b"5\r\nabcde\r\n"),
        (SIGNED, b"5;chunk-signature=abc\r\n"),
        (SIGNED, chunk(b"abcde").replace(b"5;", b"4;")),
        (SIGNED, chunk(b"abcde").replace(b"5;", b"-5;")),
        (SIGNED, last(CRC)),
        (SIGNED, last() + b"x"),
        (SIGNED, b"x" * 2000),
        (WITH_TRAILER, last(CRC)),
        (WITH_TRAILER, last(b"x-other:1\r\n")),
        (UNSIGNED, chunk(b"abcde")),
        (UNSIGNED, b"0\r\nHost: evil\r\n\r\n"),
        (UNSIGNED, b"0\r\nx-amz-trailer-signature:" + ZERO + b"\r\n\r\n"),
        (UNSIGNED, b"0\r\n" + CRC * 20),
    ],
)
def test_another_framing_is_refused(kind, body):
    with pytest.raises(SigningError) as refused:
        passed(upload(kind).chunks, body)
    assert refused.value.code == "chunks_shape"


@pytest.mark.parametrize("body", [b"", chunk(b"abc"), last()[:-2], chunk(b"abc")[:-3]])
def test_an_upload_that_ends_early_is_refused(body):
    with pytest.raises(SigningError, match="before its last chunk"):
        passed(upload(SIGNED).chunks, body)


def test_a_signed_chunk_that_would_fill_the_memory_is_refused():
    with pytest.raises(SigningError, match="over 16 MiB"):
        passed(upload(SIGNED).chunks, b"1000001;chunk-signature=" + ZERO + b"\r\n")
