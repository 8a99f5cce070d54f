"""Streams with events of many kinds, written by the log's own writer."""

import os
import random
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction

from audit import log
from audit.event import NewEvent, now
from audit.uuid7 import uuid7

AGENT = "agent:a"
REPOSITORY = Path(__file__).resolve().parents[3]


def integrate(environment: Mapping[str, str]) -> None:
    """The integrator's own command, under its own role, up to all that is committed."""
    env = {**os.environ, **environment, "DATABASE_URL": environment["DATABASE_INTEGRATOR_URL"]}
    command = [sys.executable, "manage.py", "integrate", "--once"]
    ended = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def event(stream: uuid.UUID, kind: str = "tool.called", act: str = AGENT, **other: Any) -> NewEvent:
    return NewEvent(kind, stream, "person:p", act, agent=AGENT, session=stream, **other)


def write(stream: uuid.UUID, events: Iterable[NewEvent]) -> None:
    with transaction.atomic():
        log.append_batch(stream, list(events))


def written(**other: Any) -> uuid.UUID:
    """A stream of one event."""
    stream = uuid7()
    write(stream, [event(stream, **other)])
    return stream


def mixed(stream: uuid.UUID, count: int, seed: int) -> list[NewEvent]:
    """All kinds of what filters look at, another order for each seed; times are not in the order of numbers."""
    chosen, at = random.Random(seed), now()
    kinds = ("tool.called", "tool.ended", "db.statement", "file.read", "http.request", "toolbox.opened")
    return [
        event(
            stream,
            chosen.choice(kinds),
            chosen.choice((AGENT, AGENT, AGENT, "person:p", "service:issuer")),
            outcome=chosen.choice(("success", "success", "success", "failure", "denied")),
            occurred_at=at - timedelta(seconds=chosen.randint(0, 100)),
            data={
                "host": chosen.choice(("API.example", "db.example", None)),
                "path": chosen.choice(("/srv/a", "/srv/ab/c", "/etc", None)),
                "statement": f'say "{chosen.choice(("hello", "Hélène", "shipped_at"))}"\nrow{chosen.randint(1, 9)}',
            },
        )
        for _ in range(count)
    ]
