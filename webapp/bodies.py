"""The first gate: how long a body may be, before anything of it is read or kept.

Under ASGI Django writes a whole body to disk before it looks at the request, so this stands in front of it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/api/"
GATEWAYS = "/api/v1/gateways/"
BATCHES = frozenset({"/api/v1/events", "/v1/logs"})
LONGEST_BATCH = 4 * 1024 * 1024
LONGEST_CALL = 64 * 1024
LONGEST_FORM = 256 * 1024
MOST_DIGITS = 12


@dataclass(frozen=True)
class Refused:
    """As sessions/api/problems.py would tell it, but without Django."""

    status: int
    code: str
    title: str
    detail: str


def limit_of(path: str) -> int:
    """Batches of events and what gateways say may be longer than all else; forms hold whole profiles."""
    if path in BATCHES or path.startswith(GATEWAYS):
        return LONGEST_BATCH
    return LONGEST_CALL if path.startswith(API) else LONGEST_FORM


def refusal(scope: Scope) -> Refused | None:
    """Why the body is not read: it is too long, or does not say how long it is."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    if b"transfer-encoding" in headers:
        detail = "Send a Content-Length instead of Transfer-Encoding."
        return Refused(411, "length_required", "The request must say its length", detail)
    limit, length = limit_of(scope["path"]), headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > MOST_DIGITS or int(length) > limit:
        return Refused(413, "too_large", "The request is too large", f"A body here may have {limit} bytes.")
    return None


def limited(application: Application) -> Application:
    """The application behind the gate."""

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await application(scope, receive, send)
        refused = refusal(scope)
        if refused is not None:
            return await _answer(scope["path"], refused, send)
        return await application(scope, counted(receive, limit_of(scope["path"])), send)

    return gate


def counted(receive: Receive, limit: int) -> Receive:
    """Whoever sends more than they may is treated as gone: a server may hand on a body without a length."""
    taken = 0

    async def take() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return message if taken <= limit else {"type": "http.disconnect"}

    return take


async def _answer(path: str, refused: Refused, send: Send) -> None:
    """A problem document (RFC 9457) for programs; the connection ends, so that the rest is not read either."""
    kind, body = b"text/plain; charset=utf-8", f"{refused.detail}\n".encode()
    if path.startswith(API):
        kind, body = b"application/problem+json", json.dumps(_problem(refused)).encode()
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _problem(refused: Refused) -> dict[str, Any]:
    return {
        "type": f"urn:drawbridge:problem:{refused.code}",
        "title": refused.title,
        "status": refused.status,
        "detail": refused.detail,
        "code": refused.code,
    }
