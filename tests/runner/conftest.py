"""The runner as people run it: a process of its own, a home of its own, a real server."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from sessions.models import AgentSession
from tests import factories
from tests.gateway.bed.far_end import FarEnd
from tests.serving import REPOSITORY, approve, server
from tests.waiting import becomes

__all__ = ["server"]


@dataclass
class Runner:
    """`drawbridge` with its own home. What it starts is ended with the test."""

    home: Path
    url: str
    key: str
    running: list["subprocess.Popen[str]"] = field(default_factory=list)

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "NO_PROXY") if name in os.environ}
        return {**kept, "HOME": str(self.home), **extra}

    def start(self, *arguments: str, **extra: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "runner.cli", *arguments],
            cwd=REPOSITORY,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, *arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments, **extra)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def log_in(self) -> None:
        ended = self.run("login", "--url", self.url, DRAWBRIDGE_AGENT_KEY=self.key)
        assert ended.returncode == 0, ended.stderr

    def begin(self, **asked: str) -> uuid.UUID:
        """Ask for a session and have it approved; returns its id."""
        options = {"profile": "warehouse-orders", "purpose": "Find late shipments", **asked}
        process = self.start("request", *[part for name, value in options.items() for part in (f"--{name}", value)])
        assert process.wait(30) == 0, process.stderr and process.stderr.read()
        session_id = newest_session(self.key)
        approve(session_id)
        return session_id

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


def newest_session(key: str) -> uuid.UUID:
    from sessions import tokens

    rows = AgentSession.objects.filter(agent__keys__digest=tokens.digest(key)).order_by("-requested_at")
    return rows.values_list("id", flat=True)[0]


@pytest.fixture
def world(committed: None) -> factories.World:
    return factories.world()


@pytest.fixture
def runner(tmp_path: Path, server: str, world: factories.World) -> Iterator[Runner]:
    runner = Runner(tmp_path, server, world.key)
    runner.log_in()
    yield runner
    runner.stop()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Whether something becomes so within twenty seconds."""

    return partial(becomes, within_s=20)


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    far = FarEnd()
    yield far
    far.close()
