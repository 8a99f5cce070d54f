"""Reporting: what goes over the wire, and what each answer means."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from runner.client import LONGEST_WAIT_S, WAIT_S, Client, _retry_after_s
from runner.errors import Busy, Refused, Unreachable
from runner.shapes import Event


def client(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client("http://drawbridge", httpx.MockTransport(answer))


def lines(*data: dict[str, Any]) -> list[bytes]:
    return [Event("agent.step", one).line() + b"\n" for one in data]


def receipts(count: int) -> dict[str, Any]:
    return {"events": [{"id": None, "answer": "stored", "why": None}] * count}


class Listener:
    """Takes everything, and remembers the last request."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        packed = request.headers.get("Content-Encoding") == "gzip"
        self.body = gzip.decompress(request.content) if packed else request.content
        return httpx.Response(200, json=receipts(self.body.count(b"\n")))


def test_events_go_to_the_session_of_the_token_as_ndjson() -> None:
    listener, sent = Listener(), lines({"n": 1})
    answered = client(listener).report("dbs_sample", sent)

    assert (listener.request.method, listener.request.url.path) == ("POST", "/api/v1/events")
    assert listener.request.headers["Authorization"] == "Bearer dbs_sample"
    assert listener.request.headers["Content-Type"] == "application/x-ndjson"
    assert listener.body == sent[0]
    assert [one.answer for one in answered] == ["stored"]


def test_a_batch_is_packed_where_that_is_shorter() -> None:
    listener, long = Listener(), lines(*[{"text": "x" * 100}] * 50)
    client(listener).report("dbs_sample", long)

    assert listener.request.headers["Content-Encoding"] == "gzip"
    assert len(listener.request.content) < len(listener.body) == len(b"".join(long))


def test_a_batch_is_sent_as_it_is_where_packing_makes_it_longer() -> None:
    listener = Listener()
    client(listener).report("dbs_sample", [b"{}\n"])

    assert "Content-Encoding" not in listener.request.headers


def test_what_is_no_text_can_be_reported() -> None:
    (line,) = lines({"argv": ["ls", b"\xff".decode(errors="surrogateescape"), "é\n"]})

    assert json.loads(line)["data"]["argv"] == ["ls", "?", "é\n"]
    assert line.count(b"\n") == 1


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "7"}), (503, {"Retry-After": "7"})])
def test_a_server_that_asks_to_wait_is_busy_and_says_how_long(status: int, headers: dict[str, str]) -> None:
    with pytest.raises(Busy, match="7 seconds") as busy:
        client(lambda request: httpx.Response(status, headers=headers)).report("dbs_sample", lines({}))

    assert busy.value.wait_s == 7


def test_without_retry_after_a_429_has_its_own_and_a_503_is_a_failure() -> None:
    with pytest.raises(Busy) as busy:
        client(lambda request: httpx.Response(429)).report("dbs_sample", lines({}))
    assert busy.value.wait_s == WAIT_S

    with pytest.raises(Unreachable) as failed:
        client(lambda request: httpx.Response(503)).report("dbs_sample", lines({}))
    assert type(failed.value) is Unreachable


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("0", 0),
        ("120", 120),
        ("999999999999", LONGEST_WAIT_S),
        ("Mon, 23 Nov 2026 08:16:22 GMT", 30),
        ("Mon, 23 Nov 2026 08:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 08:16:22", WAIT_S),
        ("-5", WAIT_S),
        ("1.5", WAIT_S),
        ("soon", WAIT_S),
        ("", WAIT_S),
    ],
)
def test_retry_after_is_seconds_or_a_time(said: str, wait_s: float) -> None:
    assert _retry_after_s(said, datetime(2026, 11, 23, 8, 15, 52, tzinfo=UTC)) == wait_s


@pytest.mark.parametrize("body", [{}, [], {"events": [{}]}, {"events": None}, receipts(1), receipts(3)])
def test_an_answer_that_is_not_one_receipt_for_each_event_is_no_answer(body: object) -> None:
    with pytest.raises(Unreachable):
        client(lambda request: httpx.Response(200, json=body)).report("dbs_sample", lines({}, {}))


def test_any_other_refusal_is_one() -> None:
    problem = {"code": "session_killed", "detail": "The session was killed."}

    with pytest.raises(Refused, match="killed") as refused:
        client(lambda request: httpx.Response(409, json=problem)).report("dbs_sample", lines({}))
    assert (refused.value.status, refused.value.over) == (409, True)
