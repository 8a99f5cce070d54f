"""Far ends that are programs: they print one line of JSON, then serve until their input ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def running(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The address of a program of this package, and what it printed: {"port", ...}."""
    argv = [sys.executable, "-W", "ignore", "-m", f"tests.sessions.providers.{name}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        yield f"http://127.0.0.1:{first['port']}", first
        process.communicate()
