"""Server-sent events (WHATWG HTML, section 9.2): their framing, and the response that carries them."""

from collections.abc import AsyncIterator

from django.http import StreamingHttpResponse

HEARTBEAT = b": \n\n"
RETRY = b"retry: 1000\n\n"


def frame(event: str, data: str, event_id: int | None = None) -> bytes:
    """One event. A line break in the data becomes another data line, so that it arrives as it was."""
    lines = [f"event: {event}"]
    if event_id is not None:
        lines.append(f"id: {event_id}")
    lines += [f"data: {line}" for line in data.splitlines() or [""]]
    return ("\n".join(lines) + "\n\n").encode()


def response(frames: AsyncIterator[bytes]) -> StreamingHttpResponse:
    streaming = StreamingHttpResponse(frames, content_type="text/event-stream")
    streaming["Cache-Control"] = "no-store, no-transform"
    streaming["X-Accel-Buffering"] = "no"
    return streaming
