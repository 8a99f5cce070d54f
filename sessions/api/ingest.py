"""The events endpoint without Django's middleware: programs with a token need none of it, and it costs as much as the
batch itself. What is not exactly a POST of a batch with a token goes the ordinary way, where the answer is the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sessions import tokens
from sessions.api import problems
from sessions.api.application import PREFIX
from sessions.api.events import at_work, taken
from sessions.api.problems import Code, Refusal

PATH = f"/{PREFIX}events"
ARRIVES_S = 20.0

Message = Mapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def shortcut(application: Application) -> Application:
    """The application, with batches of events taken before it. Bodies were judged by their length already."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        token = token_of(scope) if scope["type"] == "http" else None
        if token is None:
            return await application(scope, receive, send)
        answered = await _answer(scope, token, receive)
        if answered is not None:
            await _send(send, *answered)

    return answer


def token_of(scope: Scope) -> str | None:
    """The session token of a batch, well formed and not looked up; None for any other request."""
    if scope["path"] != PATH or scope["method"] != "POST":
        return None
    scheme, _, token = _header(scope, b"authorization").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and tokens.well_formed(token, tokens.SESSION_TOKEN) else None


async def read(receive: Receive) -> bytes | None:
    """The whole body; None where the sender went away."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(scope: Scope, token: str, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    """None where nobody is left to hear it. The body is read under the batch's own place, and not for ever."""
    try:
        with at_work(token):
            async with asyncio.timeout(ARRIVES_S):
                body = await read(receive)
            if body is None:
                return None
            content = await taken(token, body, _header(scope, b"content-type"), _header(scope, b"content-encoding"))
    except Exception as error:  # noqa: BLE001 - told as a problem, and logged by of_error where nobody expects it
        refused = problems.response(problems.of_error(_late(error), PATH))
        headers = [(name.lower().encode(), value.encode()) for name, value in refused.items()]
        return refused.status_code, headers, refused.content
    return 200, [(b"content-type", b"application/json"), (b"cache-control", b"no-store")], content


def _late(error: Exception) -> Exception:
    if isinstance(error, TimeoutError):
        return Refusal(Code.MALFORMED, f"The body did not arrive within {ARRIVES_S:.0f} seconds.")
    return error


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(content)).encode()), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for found, value in scope["headers"] if found.lower() == name), "")
