"""What the person at the terminal sees while something takes time."""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runner.errors import Usage
from runner.shapes import Asked

_DURATION = re.compile(r"(?:(\d{1,3})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?")
PLAIN_EVERY_S = 30.0


def seconds(text: str) -> int:
    """900, 90s, 30m, 1h30m. Raises Usage."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise Usage(f"{text!r} is not a duration. Write it like 900, 30m or 1h30m.")
    hours, minutes, rest = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest


def print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(dict(value)), flush=True)


def show_request(asked: Asked, as_json: bool) -> None:
    """Where the decision is made. The device code is nobody's business but ours."""
    if as_json:
        shown = {"session_id": asked.session_id, "state": "requested", "user_code": asked.user_code}
        print_json({**shown, "verification_uri": asked.link, "expires_in": asked.expires_in_s})
        return
    print(f"Ask a lead to approve {asked.user_code} at\n  {asked.link}", file=sys.stderr, flush=True)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A line that says for how long we have been waiting, and for what; plain lines where there is no terminal."""
    showing = _Live if sys.stderr.isatty() else _Plain
    shown = showing(text)
    try:
        yield shown.tell
    finally:
        shown.close()


class _Plain:
    """A line when something changes, and one each PLAIN_EVERY_S."""

    def __init__(self, text: str) -> None:
        self._began = self._spoke = time.monotonic()
        self._text = text
        print(f"{text} ...", file=sys.stderr, flush=True)

    def tell(self, text: str) -> None:
        now = time.monotonic()
        if text != self._text or now - self._spoke > PLAIN_EVERY_S:
            self._text, self._spoke = text, now
            print(f"{text} ... {now - self._began:.0f} s", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left on the screen."""


class _Live:
    """A spinner with the elapsed time, renewed each second."""

    def __init__(self, text: str) -> None:
        from rich.console import Console

        self._began, self._text, self._closed = time.monotonic(), text, threading.Event()
        self._status = Console(stderr=True).status(self._line())
        self._status.start()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._thread.start()

    def tell(self, text: str) -> None:
        self._text = text

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._status.stop()

    def _tick(self) -> None:
        while not self._closed.wait(1.0):
            self._status.update(self._line())

    def _line(self) -> str:
        minutes, rest = divmod(int(time.monotonic() - self._began), 60)
        return f"{self._text} ... {minutes}:{rest:02}"
