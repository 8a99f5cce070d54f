"""The events endpoint without Django's middleware: programs with a token need none of it, and it costs as much as the
batch itself. What is not exactly a POST of a batch with a token goes the ordinary way, where the answer is the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sessions import tokens
from sessions.api import problems
from sessions.api.application import PREFIX
from sessions.api.events import taken

PATH = f"/{PREFIX}events"

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
        body = await read(receive)
        if body is not None:
            await _send(send, *await _answer(scope, token, body))

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


async def _answer(scope: Scope, token: str, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    try:
        content = await taken(token, body, _header(scope, b"content-type"), _header(scope, b"content-encoding"))
    except Exception as error:  # noqa: BLE001 - told as a problem, and logged by of_error where nobody expects it
        refused = problems.response(problems.of_error(error, PATH))
        headers = [(name.lower().encode(), value.encode()) for name, value in refused.items()]
        return refused.status_code, headers, refused.content
    return 200, [(b"content-type", b"application/json"), (b"cache-control", b"no-store")], content


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(content)).encode()), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for found, value in scope["headers"] if found.lower() == name), "")
