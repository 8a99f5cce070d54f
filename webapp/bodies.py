"""The first gate: how long a body may be, before anything of it is read or kept.

Under ASGI Django writes a whole body to disk before it looks at the request, so this stands in front of it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_BATCH = 4 * 1024 * 1024
LONGEST = 256 * 1024


def limit_of(path: str) -> int:
    """Batches of events may be longer than everything else."""
    return LONGEST_BATCH if path.startswith("/api/") and path.endswith("/events") else LONGEST


def refusal(scope: Scope) -> tuple[int, str] | None:
    """Status and sentence for a body that is too long, or does not say how long it is."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    limit = limit_of(scope["path"])
    if b"transfer-encoding" in headers:
        return 411, "Send a Content-Length instead of Transfer-Encoding."
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > limit:
        return 413, f"A body here may have {limit} bytes."
    return None


def limited(application: Application) -> Application:
    """The application behind the gate. The server in front of it reads no more than Content-Length says."""

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        refused = refusal(scope) if scope["type"] == "http" else None
        if refused is None:
            await application(scope, receive, send)
        else:
            await _answer(send, *refused)

    return gate


async def _answer(send: Send, status: int, said: str) -> None:
    """A problem document (RFC 9457); the connection ends, so that the rest of the body is not read either."""
    title = {411: "Length Required", 413: "Content Too Large"}[status]
    code = {411: "length_required", 413: "too_large"}[status]
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": said, "code": code}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
