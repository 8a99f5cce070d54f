"""What a drill runs on: services of its own, migrated, with Django set up."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from stack import Stack

REPOSITORY = Path(__file__).resolve().parent.parent.parent
UP_S = 60.0


@contextmanager
def standing() -> Iterator[Stack]:
    with Stack.temporary() as stack:
        environment = stack.environment()
        os.environ.update(environment, DJANGO_SETTINGS_MODULE="webapp.settings", DJANGO_ALLOW_ASYNC_UNSAFE="1")
        owner = {**os.environ, "DATABASE_URL": environment["DATABASE_OWNER_URL"]}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=REPOSITORY, env=owner, check=True)
        import django

        django.setup()
        yield stack


def wait_for_web(stack: Stack) -> str:
    """Returns its address as soon as it answers."""
    url, ends = stack.environment()["DRAWBRIDGE_URL"], time.monotonic() + UP_S
    while True:
        try:
            if httpx.get(f"{url}/healthz", trust_env=False).is_success:
                return url
        except httpx.TransportError:
            pass
        if time.monotonic() > ends:
            raise RuntimeError(f"the web process did not come up within {UP_S:.0f} s")
        time.sleep(0.05)
