"""`drawbridge run` in tests: asked for, approved at once, and waited for."""

import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from sessions import lifecycle
from sessions.models import AgentSession
from tests import factories
from tests.runner.conftest import Runner
from tests.serving import mint
from tests.waiting import eventually


@dataclass
class Run:
    """A command in its sandbox."""

    process: "subprocess.Popen[str]"
    session_id: uuid.UUID

    def ended(self, timeout_s: float = 120) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    def kinds(self) -> list[str]:
        return [event["kind"] for event in factories.events_of(self.session_id)]


def begun(runner: Runner, workspace: Path, *command: str, options: tuple[str, ...] = (), **extra: str) -> Run:
    purpose = f"Work {uuid.uuid4().hex[:8]}"
    asked = ["--profile", "warehouse-orders", "--purpose", purpose, "--workspace", str(workspace)]
    process = runner.start("run", *asked, *options, "--", *command, **extra)
    eventually(lambda: AgentSession.objects.filter(purpose=purpose, state="requested").exists())
    row = AgentSession.objects.get(purpose=purpose)
    lead = row.team.memberships.filter(role="lead").earliest("id").person
    lifecycle.approve(row.id, lead, row.grant_hash)
    mint(row.id)
    return Run(process, row.id)
