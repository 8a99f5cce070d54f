"""The rehearsal agent does real work, is killed, is refused, and asks again."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions import revoking
from sessions.models import AgentSession, Revocation
from tests import factories
from tests.serving import REPOSITORY, approve, kill


@pytest.fixture
def rehearsal(tmp_path: Path, server: str, world: factories.World) -> Iterator["subprocess.Popen[bytes]"]:
    key = tmp_path / "key"
    key.write_text(world.key)
    env = {"DRAWBRIDGE_URL": server, "DRAWBRIDGE_AGENT_KEY_FILE": str(key), "HOME": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "runner.rehearsal"], cwd=REPOSITORY, env=env, stdout=log)
        yield process
        process.terminate()
        assert process.wait(10) == 0


def sessions_of(world: factories.World, state: str) -> list[uuid.UUID]:
    return list(AgentSession.objects.filter(agent=world.agent, state=state).values_list("id", flat=True))


def test_it_works_until_it_is_killed_and_asks_again(
    rehearsal: "subprocess.Popen[bytes]", world: factories.World, eventually
) -> None:
    assert eventually(lambda: bool(sessions_of(world, "requested")))
    [session_id] = sessions_of(world, "requested")
    approve(session_id)
    assert eventually(lambda: factories.kinds_of(session_id).count("db.statement") >= 3)

    kill(session_id)
    for revocation in Revocation.objects.filter(credential__agent_session=session_id):
        revoking.run(revocation.id)
    assert eventually(lambda: "db.login" in factories.kinds_of(session_id))

    by_kind = {event["kind"]: event for event in factories.events_of(session_id)}
    assert by_kind["db.login"]["outcome"] == "denied"
    assert by_kind["db.login"]["act"]["sub"] == world.agent.reference
    assert {"table", "statement", "rows", "elapsed_ms"} <= by_kind["db.statement"]["data"].keys() or by_kind[
        "db.statement"
    ]["outcome"] == "denied"
    assert by_kind["credential.proven"]["outcome"] == "success"
    assert eventually(lambda: bool(sessions_of(world, "requested")))
