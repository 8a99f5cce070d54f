"""drawbridge run, whole: control plane, gateway, sandbox, and a command that reaches what was approved, and no more."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions.models import AgentSession
from tests import factories
from tests.gateway.bed.far_end import FarEnd
from tests.runner.conftest import Runner
from tests.runner.gateways import gateway
from tests.runner.running import begun
from tests.serving import kill
from tests.waiting import eventually


@pytest.fixture
def world(committed: None, far_end: FarEnd, stack_environment: dict[str, str]) -> factories.World:
    target = json.loads(Path(stack_environment["TARGETS_FILE"]).read_text())["warehouse"]
    web = {
        "type": "egress",
        "locations": [f"http://api.example:{far_end.port}/ok/"],
        "actions": ["GET", "POST"],
        "network": "127.0.0.0/8",
    }
    database = {
        "type": "egress",
        "locations": [f"tcp://127.0.0.1:{target['port']}"],
        "actions": ["forward"],
        "network": "127.0.0.0/8",
        "listen": 6432,
    }
    details = [*factories.CONTENT["authorization_details"], web, database]
    return factories.world({**factories.CONTENT, "authorization_details": details, "sandbox": "required"})


@pytest.fixture
def way_out(server: str, world: factories.World, stack_environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    names = "127.0.0.1 api.example other.example\n"
    with gateway(server, stack_environment, tmp_path / "gateway", names):
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_it_asks_runs_and_ends_with_the_commands_exit_code(runner: Runner, way_out: None, workspace: Path) -> None:
    process = begun(runner, workspace, "sh", "-c", "echo $DRAWBRIDGE_SANDBOX; pwd; exit 7")
    code, out, err = process.ended()
    assert (code, out) == (7, f"1\n{workspace}\n"), err
    assert "the sandbox is bubblewrap" in err
    row = AgentSession.objects.get(pk=process.session_id)
    assert (row.state, row.end_reason, row.sandbox[:10]) == ("ended", "completed", "bubblewrap")
    assert {"sandbox.started", "process.started", "process.ended"} <= set(process.kinds())


def test_what_was_approved_is_reached_and_nothing_else(
    runner: Runner, way_out: None, workspace: Path, far_end: FarEnd
) -> None:
    there = f"http://api.example:{far_end.port}"
    script = f"""
    curl -sS -o /dev/null -w '%{{http_code}}\\n' {there}/ok/a
    curl -sS -o /dev/null -w '%{{http_code}}\\n' {there}/elsewhere
    curl -sS -o /dev/null -w '%{{http_code}}\\n' http://other.example:{far_end.port}/ok/a
    curl -sS -m 3 --noproxy '*' http://127.0.0.1:{far_end.port}/ok/direct 2>&1 | head -c 60; echo
    python3 -c "import socket; print(socket.gethostbyname('api.example'))"
    python3 -c "import socket; socket.gethostbyname('evil.example')" 2>&1 | tail -1
    """
    process = begun(runner, workspace, "sh", "-c", script)
    _, out, err = process.ended()
    lines = out.splitlines()
    assert lines[:3] == ["200", "403", "403"], err
    assert "Failed to connect" in lines[3]
    assert lines[4] == "127.0.0.1"
    assert "Name or service not known" in lines[5]
    assert [one.path for one in far_end.arrived] == ["/ok/a"]
    told = eventually(lambda: process.kinds().count("egress.denied") >= 3 and process.kinds())
    assert {"egress.request", "egress.response"} <= set(told)


def test_the_database_is_reached_by_its_forward_and_its_service(
    runner: Runner, way_out: None, workspace: Path, stack_environment: dict[str, str]
) -> None:
    code = (
        "import configparser, os, socket; c = configparser.ConfigParser(); c.read(os.environ['PGSERVICEFILE'])\n"
        "s = c[os.environ['PGSERVICE']]; print(s['host'], s['port'], s['user'][:4])\n"
        "k = socket.create_connection((s['host'], int(s['port'])))\n"
        "k.sendall(bytes.fromhex('0000000804d2162f')); print(k.recv(1))"
    )
    _, out, err = begun(runner, workspace, "python3", "-c", code).ended()
    assert out.splitlines() == ["127.0.0.1 6432 dbr_", "b'N'"], err


def test_no_token_and_no_secret_of_the_proxy_is_inside(runner: Runner, way_out: None, workspace: Path) -> None:
    script = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; cat /run/drawbridge/* 2>/dev/null"
    _, out, _ = begun(runner, workspace, "sh", "-c", script).ended()
    assert "PGSERVICEFILE" in out
    assert not [part for part in ("dbs_", "dbk_", "dbd_", "dbp_", "dbg_") if part in out]


def test_a_kill_ends_everything_inside_within_a_second(
    runner: Runner, way_out: None, workspace: Path, far_end: FarEnd
) -> None:
    script = (
        f"curl -sSN http://api.example:{far_end.port}/ok/stream > stream & "
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do date > beat; sleep 0.05; done' &) ; sleep 60"
    )
    process = begun(runner, workspace, "sh", "-c", script)
    eventually(lambda: (workspace / "beat").exists() and (workspace / "stream").stat().st_size > 0)
    began = time.monotonic()
    kill(process.session_id)
    code, _, err = process.ended()
    assert (code, "killed" in err) == (137, True)
    assert time.monotonic() - began < 3
    size = (workspace / "stream").stat().st_size
    assert far_end.gone.wait(5)
    assert (workspace / "stream").stat().st_size == size
    eventually(lambda: "gateway.cut" in process.kinds())


def test_files_and_programs_are_on_the_timeline_without_the_agents_help(
    runner: Runner, way_out: None, workspace: Path
) -> None:
    (workspace / "plan.txt").write_text("secret plan")
    process = begun(runner, workspace, "sh", "-c", "cat plan.txt > copy.txt")
    process.ended()
    seen = {
        (event["kind"], event["data"]["path"])
        for event in factories.events_of(process.session_id)
        if event["data"].get("seen_by") == "kernel"
    }
    assert ("file.read", str(workspace / "plan.txt")) in seen
    assert ("file.write", str(workspace / "copy.txt")) in seen
    assert ("process.executed", "/usr/bin/cat") in seen


def test_exec_is_refused_where_a_sandbox_is_demanded(runner: Runner, workspace: Path) -> None:
    runner.begin()
    refused = runner.run("exec", "--", "true")
    assert (refused.returncode, "drawbridge run" in refused.stderr) == (2, True)


def test_a_sandbox_that_does_not_work_here_is_no_reason_to_go_without(runner: Runner, workspace: Path) -> None:
    options = ["--profile", "warehouse-orders", "--purpose", "x", "--workspace", str(workspace), "--", "true"]
    refused = runner.run("run", *options, PATH="/nonexistent")
    assert refused.returncode == 8
    assert "To go without one, say --sandbox=none" in refused.stderr


@pytest.mark.parametrize("folder", ["/", "/etc"])
def test_a_workspace_that_is_not_one_is_refused_before_anybody_is_asked(runner: Runner, folder: str) -> None:
    before = AgentSession.objects.count()
    options = ["--profile", "warehouse-orders", "--purpose", "x", "--workspace", folder, "--", "true"]
    assert runner.run("run", *options).returncode == 2
    assert AgentSession.objects.count() == before
