"""A database of its own with a log in which most of the entries are old: pruning cannot be shared with other tests."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import time_machine
from django.db import connection, connections, transaction
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker

from audit import log, verify
from audit.event import NewEvent
from audit.integrator import Integrator, publisher
from audit.models import Event, Hold
from audit.note import SigningKey
from audit.sources import Folder
from audit.verify import Policy, Verified
from stack import Stack
from tests import factories
from tests.conftest import REPOSITORY

ORIGIN = "retention.example/log"
KEY = SigningKey(ORIGIN, bytes(range(32)))
OLD = datetime.now(UTC).replace(day=10, hour=12) - timedelta(days=500)


@dataclass
class Aged:
    """One team's log: `entries_at` appends as if it were then, `grow` has the integrator sign for it."""

    stack: dict[str, str]
    database: str
    folder: Path
    world: factories.World = field(init=False)

    def act_as(self, role: str) -> None:
        """As "app" or as "integrator", whose rights differ."""
        url = urlsplit(self.stack["DATABASE_URL" if role == "app" else "DATABASE_INTEGRATOR_URL"])
        connections["default"].close()
        connections["default"].close_pool()
        user = {"USER": unquote(url.username or ""), "PASSWORD": unquote(url.password or "")}
        connections["default"].settings_dict.update({"NAME": self.database, **user})

    def entries_at(self, at: datetime, streams: Sequence[uuid.UUID], count: int) -> None:
        """`count` events for each of the streams, in turn, ten to a batch."""
        with time_machine.travel(at, tick=False):
            for _ in range(count // 10):
                for stream in streams:
                    batch = [reported(stream) for _ in range(10)]
                    with transaction.atomic():
                        log.append_batch(stream, batch)

    def session_at(self, at: datetime) -> uuid.UUID:
        with time_machine.travel(at, tick=False):
            return self.world.approved().id

    def grow(self) -> int:
        self.act_as("integrator")
        return Integrator(publisher(KEY.format()), threading.Event(), lambda line: None).once()

    def verified(self, **asked: Any) -> Verified:
        return verify.verify(Folder(self.folder), Policy(ORIGIN, (KEY.verifier,)), **asked)

    def bundles(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "tile/entries").iterdir() if path.is_file())

    def hold(self, what: str, value: uuid.UUID) -> Hold:
        self.act_as("app")
        made = Hold.objects.create(what=what, value=value, by="person:x", since=datetime.now(UTC))
        self.act_as("integrator")
        return made


def reported(stream: uuid.UUID) -> NewEvent:
    data = {"path": "/srv/orders", "command": f"run {uuid.uuid4().hex}"}
    return NewEvent("tool.call", stream, "person:p", "agent:a", data=data, session=stream)


def bodies(stream: uuid.UUID) -> list[bytes]:
    return [bytes(body) for body in Event.objects.filter(stream=stream).order_by("seq").values_list("body", flat=True)]


@pytest.fixture(scope="session")
def migrated(stack: Stack, stack_environment: dict[str, str]) -> str:
    """The name of a migrated database that others are copied from."""
    name = f"retention_{uuid.uuid4().hex[:8]}"
    with stack.postgres.connect("postgres") as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE {} OWNER drawbridge_owner").format(sql.Identifier(name)))
    url = stack_environment["DATABASE_OWNER_URL"].rpartition("/")[0] + f"/{name}"
    env = {**os.environ, **stack_environment, "DATABASE_URL": url}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=REPOSITORY, env=env, check=True, timeout=120)
    return name


@pytest.fixture
def empty(
    migrated: str,
    stack: Stack,
    stack_environment: dict[str, str],
    settings: Any,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Aged]:
    """No entry yet."""
    name = f"retention_{uuid.uuid4().hex[:8]}"
    with stack.postgres.connect("postgres") as superuser:
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER drawbridge_owner")
        superuser.execute(copy.format(sql.Identifier(name), sql.Identifier(migrated)))
    settings.LOG_ORIGIN, settings.LOG_VERIFIER_KEYS = ORIGIN, [str(KEY.verifier)]
    settings.LOG_STORE, settings.LOG_HEAD_STORE = str(tmp_path / "log"), str(tmp_path / "head")
    settings.LOG_WITNESSES, settings.LOG_WITNESS_QUORUM, settings.ARCHIVE_STORE = [], 0, ""
    before = dict(connection.settings_dict)
    with django_db_blocker.unblock():
        try:
            yield Aged(stack_environment, name, tmp_path / "log")
        finally:
            connections["default"].close()
            connections["default"].close_pool()
            connections["default"].settings_dict.update(before)
    with stack.postgres.connect("postgres") as superuser:
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def aged(empty: Aged) -> Aged:
    """A team of long ago, with two sessions of which the log holds some 600 old entries, and some 300 of today."""
    empty.act_as("integrator")
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_make_partition(%s)", [OLD.date()])
    empty.act_as("app")
    with time_machine.travel(OLD, tick=False):
        empty.world = factories.world()
    return empty


Two = tuple[uuid.UUID, uuid.UUID]


@pytest.fixture
def two(aged: Aged) -> Two:
    """Two sessions of the team whose entries stand side by side in every bundle."""
    first, second = aged.session_at(OLD), aged.session_at(OLD)
    aged.entries_at(OLD, [first, second], 300)
    aged.entries_at(datetime.now(UTC), [uuid.uuid4()], 300)
    aged.grow()
    return first, second


Kill = Callable[[str, int], None]
