"""A body that is too long is refused before anything of it is read."""

import asyncio
import json
from typing import Any

import pytest

from webapp.bodies import LONGEST, LONGEST_BATCH, limited


def ask(path: str = "/", **headers: str) -> tuple[int, Any, bool]:
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
    scope = {"type": "http", "path": path, "headers": named}
    asyncio.run(limited(application)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"]), bool(reached)


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/", "0", 200),
        ("/", str(LONGEST), 200),
        ("/", str(LONGEST + 1), 413),
        ("/nowhere", str(LONGEST + 1), 413),
        ("/api/v1/sessions/x/events", str(LONGEST_BATCH), 200),
        ("/api/v1/sessions/x/events", str(LONGEST_BATCH + 1), 413),
        ("/", "-1", 413),
        ("/", "many", 413),
    ],
)
def test_body_is_judged_by_its_length(path: str, length: str, status: int) -> None:
    answered, said, reached = ask(path, content_length=length)
    assert (answered, reached) == (status, status == 200)
    assert said.get("status") in (None, status)


def test_body_of_unknown_length_is_refused() -> None:
    answered, said, reached = ask(transfer_encoding="chunked")
    assert (answered, said["code"], reached) == (411, "length_required", False)
