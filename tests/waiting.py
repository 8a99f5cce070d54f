"""Waiting for a condition instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T | None], timeout_s: float = 15.0, pause_s: float = 0.05) -> T:
    """What `look` answers as soon as that is true; AssertionError with its last answer when the time is over."""
    ends = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < ends, f"not within {timeout_s:g} s; the last answer was {found!r}"
        time.sleep(pause_s)
    return found


def becomes(condition: Callable[[], bool], within_s: float) -> bool:
    """Whether a condition becomes true in this time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
