"""Answers to clients: framed in one way each, and never other than their head says."""

import pytest

from gateway.answering import Answer, BrokenAnswer
from gateway.head import Head


class Stream:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def answered(*pieces: bytes, status: int = 200, headers=(), method: bytes = b"GET", asked=()) -> tuple[bytes, Answer]:
    stream = Stream()
    answer = Answer(stream, Head(method, b"/", tuple(asked)))
    answer.begin(status, list(headers), b"OK")
    for piece in pieces:
        answer.send(piece)
    answer.finish()
    return b"".join(stream.written), answer


def test_a_length_stays_and_the_head_goes_with_the_first_piece():
    said, answer = answered(b"hel", b"lo", headers=[(b"Content-Length", b"5")])
    assert said == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert answer.goes_on
    assert len(answer._stream.written) == 2


def test_without_a_length_it_is_chunked():
    said, _ = answered(b"hello", b"", b"!", headers=[(b"X", b"y")])
    head = b"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert said == head + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_some_have_no_body_whatever_their_head_says(method, status):
    said, _ = answered(b"hello", method=method, status=status, headers=[(b"Content-Length", b"5")])
    assert said == b"HTTP/1.1 %d OK\r\nContent-Length: 5\r\n\r\n" % status


def test_who_asked_to_close_is_told_so():
    said, answer = answered(headers=[(b"Content-Length", b"0")], asked=[(b"Connection", b"Close")])
    assert said.endswith(b"\r\nConnection: close\r\n\r\n")
    assert not answer.goes_on


@pytest.mark.parametrize(("pieces", "why"), [([b"hello!"], "longer"), ([b"hell"], "shorter"), ([], "shorter")])
def test_another_length_than_was_said_is_no_answer(pieces, why):
    with pytest.raises(BrokenAnswer, match=why):
        answered(*pieces, headers=[(b"Content-Length", b"5")])


@pytest.mark.parametrize("header", [(b"X", b"a\r\nSet-Cookie: b"), (b"X\n", b"a"), (b"X", b"a\0")])
def test_a_header_that_holds_another_line_is_no_answer(header):
    with pytest.raises(BrokenAnswer, match="holds another"):
        answered(headers=[header])


def test_what_was_begun_can_be_sent_before_more_comes():
    stream = Stream()
    answer = Answer(stream, Head(b"GET", b"/"))
    answer.begin(200, [], b"OK")
    assert stream.written == []
    answer.flush()
    answer.flush()
    assert stream.written == [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
