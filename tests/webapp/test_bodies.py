"""A body that is too long is refused before anything of it is read, in the words of the API's other problems."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from sessions.api.events import LARGEST_BATCH
from sessions.api.problems import Code, Refusal, response
from tests.serving import server
from webapp.bodies import LONGEST_BATCH, LONGEST_CALL, LONGEST_FORM, counted, limited

__all__ = ["server"]

EVENTS = "/api/v1/events"


def ask(path: str, **headers: str) -> tuple[int, bytes, bool]:
    """Status, what was said, and whether the application was reached; reading the body is an error."""
    sent: list[Any] = []
    reached = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(limited(application)({"type": "http", "path": path, "headers": named}, receive, send))
    return sent[0]["status"], sent[1]["body"], bool(reached)


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/", "0", 200),
        ("/", str(LONGEST_FORM), 200),
        ("/", str(LONGEST_FORM + 1), 413),
        ("/nowhere", str(LONGEST_FORM + 1), 413),
        ("/events", str(LONGEST_BATCH), 413),
        ("/api/v1/token", str(LONGEST_CALL), 200),
        ("/api/v1/token", str(LONGEST_CALL + 1), 413),
        ("/v1/logs", str(LONGEST_BATCH), 200),
        (EVENTS, str(LONGEST_BATCH), 200),
        (EVENTS, str(LONGEST_BATCH + 1), 413),
        ("/", "-1", 413),
        ("/", "many", 413),
        ("/", "9" * 5000, 413),
    ],
)
def test_body_is_judged_by_its_length(path: str, length: str, status: int) -> None:
    answered, _, reached = ask(path, content_length=length)
    assert (answered, reached) == (status, status == 200)


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/v1/token", EVENTS])
def test_body_of_unknown_length_is_refused(path: str) -> None:
    answered, _, reached = ask(path, transfer_encoding="chunked")
    assert (answered, reached) == (411, False)


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"content_length": "99999"}, Code.TOO_LARGE), ({"transfer_encoding": "chunked"}, Code.LENGTH_REQUIRED)],
)
def test_refusal_reads_like_any_other_problem_of_the_api(headers: dict[str, str], code: Code) -> None:
    said = json.loads(ask("/api/v1/token", **headers)[1])
    assert said == json.loads(response(Refusal(code, said["detail"])).content)


def test_limits_of_the_gate_and_of_the_api_are_one() -> None:
    assert LARGEST_BATCH == LONGEST_BATCH


def test_more_than_was_announced_is_not_read() -> None:
    async def endless() -> Any:
        return {"type": "http.request", "body": b"x" * 40, "more_body": True}

    take = counted(endless, 100)
    assert [asyncio.run(take())["type"] for _ in range(3)] == ["http.request", "http.request", "http.disconnect"]


@pytest.mark.parametrize(("path", "kind"), [("/api/v1/token", "application/problem+json"), ("/nowhere", "text/plain")])
def test_server_refuses_an_endless_body_and_hangs_up(server: str, path: str, kind: str) -> None:
    answer = httpx.post(f"{server}{path}", content=iter([b"x" * 1024] * 3), trust_env=False)
    assert (answer.status_code, answer.headers["Connection"]) == (411, "close")
    assert answer.headers["Content-Type"].startswith(kind)
