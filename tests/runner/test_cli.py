"""The commands: what they keep, what they say, and their exit codes."""

import json
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from sessions import lifecycle, tokens
from sessions.models import AgentSession
from tests import factories
from tests.runner.conftest import Runner, newest_session
from tests.serving import REPOSITORY, approve


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "runner.cli", "--help"], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
        )
        return time.monotonic() - began

    assert min(seconds() for _ in range(5)) < 0.3


def test_login_keeps_the_key_for_its_owner_alone(runner: Runner) -> None:
    path = runner.home / ".config/drawbridge/config.json"

    assert json.loads(path.read_text()) == {"url": runner.url, "agent_key": runner.key}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_login_takes_the_key_from_a_file(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(runner.key + "\n")
    ended = runner.run("login", "--url", runner.url, "--key-file", str(tmp_path / "key"))

    assert ended.returncode == 0
    assert "shipping-bot" in ended.stdout
    assert "warehouse-orders" in ended.stdout
    assert runner.key not in ended.stdout


def test_a_key_that_is_refused_is_not_kept(tmp_path: Path, server: str) -> None:
    ended = Runner(tmp_path, server, tokens.new("dbk")).run("login", "--url", server, DRAWBRIDGE_AGENT_KEY="wrong")

    assert (ended.returncode, ended.stderr.count("\n")) == (6, 1)
    assert not (tmp_path / ".config").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 2),
        (["end"], 2),
        (["exec", "--", "true"], 2),
        (["exec", "--session", "nonsense", "--", "true"], 2),
        (["request"], 2),
        (["request", "--profile", "warehouse-orders", "--purpose", "x", "--duration", "soon"], 2),
        (["request", "--profile", "nothing", "--purpose", "x"], 6),
    ],
)
def test_a_failure_is_one_sentence(runner: Runner, arguments: list[str], code: int) -> None:
    ended = runner.run(*arguments)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("drawbridge: ")
    assert ended.stderr.count("\n") == 1


def test_without_a_key_it_says_to_log_in(tmp_path: Path, server: str) -> None:
    ended = Runner(tmp_path, server, "").run("request", "--profile", "p", "--purpose", "x")

    assert (ended.returncode, "drawbridge login" in ended.stderr) == (7, True)


def test_a_server_that_is_away_is_one_sentence(runner: Runner) -> None:
    ended = runner.run("request", "--profile", "p", "--purpose", "x", DRAWBRIDGE_URL="http://127.0.0.1:1")

    assert (ended.returncode, ended.stderr.count("\n")) == (5, 1)


def test_a_request_shows_code_and_link(runner: Runner) -> None:
    ended = runner.run("request", "--profile", "warehouse-orders", "--purpose", "Look", "--duration", "10m", "--json")
    shown = json.loads(ended.stdout)

    row = AgentSession.objects.get(pk=shown["session_id"])
    assert (shown["user_code"], row.duration_s, row.purpose) == (row.user_code, 600, "Look")
    assert shown["verification_uri"].endswith(row.user_code)
    assert "dbd_" not in ended.stdout + ended.stderr


def test_a_request_that_waits_ends_with_the_approval(runner: Runner, eventually) -> None:
    process = runner.start("request", "--profile", "warehouse-orders", "--purpose", "Look", "--wait")
    assert eventually(lambda: AgentSession.objects.filter(agent__keys__digest=tokens.digest(runner.key)).exists())
    session_id = newest_session(runner.key)
    approve(session_id)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "waiting for approval" in err
    stored = runner.home / f".local/state/drawbridge/sessions/{session_id}.json"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert tokens.well_formed(json.loads(stored.read_text())["token"], "dbs")
    assert "dbs_" not in err


def test_a_denied_request_exits_with_three(runner: Runner, world: factories.World, eventually) -> None:
    process = runner.start("request", "--profile", "warehouse-orders", "--purpose", "Look", "--wait")
    assert eventually(lambda: AgentSession.objects.filter(agent=world.agent).exists())
    row = AgentSession.objects.get(agent=world.agent)
    lifecycle.deny(row.id, world.lead, row.grant_hash)
    _, err = process.communicate(timeout=30)

    assert (process.returncode, "denied" in err) == (3, True)


def test_status_and_end(runner: Runner) -> None:
    session_id = runner.begin()
    assert runner.run("exec", "--", "true").returncode == 0

    assert "active until" in runner.run("status").stdout
    assert runner.run("end").returncode == 0
    assert runner.run("status", "--session", str(session_id)).stdout.split()[1] == "completed"
    assert AgentSession.objects.get(pk=session_id).end_reason == "completed"


def test_a_request_that_nobody_decided_is_taken_back(runner: Runner) -> None:
    runner.run("request", "--profile", "warehouse-orders", "--purpose", "Look")

    assert "taken back" in runner.run("end").stdout
    assert AgentSession.objects.get(pk=newest_session(runner.key)).state == "withdrawn"


def test_an_unknown_session_is_not_asked_for_here(runner: Runner) -> None:
    assert runner.run("status", "--session", str(uuid.uuid4())).returncode == 2
