"""The integrator of the test run: its own process, under its own role, that can be stopped for a while."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit import evidence_source
from audit.evidence_source import Selection
from audit.proofs import Prover
from tests.waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
READY_S = 120.0


@dataclass(frozen=True)
class Integrating:
    process: "subprocess.Popen[bytes]"

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def covers(self, *streams: uuid.UUID) -> None:
        """Waits until a checkpoint covers all that is in the streams now."""
        within = evidence_source.bounds(Selection(streams))
        eventually(lambda: not evidence_source.unsigned(within, size()), READY_S)


@contextmanager
def running(environment: Mapping[str, str]) -> Iterator[Integrating]:
    env = {**os.environ, **environment, "DATABASE_URL": environment["DATABASE_INTEGRATOR_URL"]}
    with subprocess.Popen([sys.executable, "manage.py", "integrate"], cwd=REPOSITORY, env=env) as process:
        try:
            yield Integrating(process)
        finally:
            process.terminate()


def size() -> int:
    """How many leaves are signed for."""
    tree = Prover().tree
    return tree.size if tree else 0
