"""What each process of the table is told, and which are there to be started."""

import base64
import json
from pathlib import Path

import pytest

from sessions.gateways import dsse
from stack import Stack, processes
from stack.environment import first_policy_keys, sockets, verifiers_of
from stack.processes import PROCESSES, Process

ENV = {
    "PORT": "1",
    "WITNESS_PORT": "2",
    "DATABASE_URL": "app",
    "DATABASE_INTEGRATOR_URL": "integrator",
    "SECRET_KEY_FILE": "/secret",
    "GATEWAY_LISTEN": "127.0.0.1:3",
    "NO_PROXY": "localhost",
}


def row(name: str) -> Process:
    return next(process for process in PROCESSES if process.name == name)


def test_gateway_is_told_of_gateways_and_of_nothing_else() -> None:
    command = processes.command(row("gateway"), Path("/data"), ENV)
    assert command.argv[1:] == ("-m", "gateway")
    assert command.env == {"GATEWAY_LISTEN": "127.0.0.1:3", "NO_PROXY": "localhost", "PYTHONUNBUFFERED": "1"}


def test_others_get_the_database_of_their_own_role() -> None:
    found = {
        name: processes.command(row(name), Path("/data"), ENV).env["DATABASE_URL"] for name in ("web", "integrator")
    }
    assert found == {"web": "app", "integrator": "integrator"}


@pytest.mark.parametrize(("spec", "there"), [(None, False), (object(), True)])
def test_gateway_is_started_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, spec: object, there: bool) -> None:
    monkeypatch.setattr(processes, "find_spec", lambda name: spec)
    assert processes.is_there(row("gateway")) is there
    assert processes.is_there(row("web")) is True


def test_stack_tells_gateways_where_everything_is(stack: Stack) -> None:
    env = stack.environment()
    assert env["GATEWAY_LISTEN"] == f"127.0.0.1:{stack.ports['gateway']}"
    assert env["GATEWAY_CONTROL_URL"] == env["DRAWBRIDGE_URL"]
    assert Path(env["GATEWAY_SPOOL"]).is_dir()


@pytest.mark.parametrize(("length", "there"), [(79, True), (80, False)])
def test_a_folder_too_deep_for_sockets_is_not_named(length: int, there: bool) -> None:
    folder = Path("/" + "x" * (length - 1))
    assert sockets(folder) == ({"GATEWAY_SOCKETS": str(folder)} if there else {})


def test_gateways_believe_what_the_control_plane_signs(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([*json.loads(first_policy_keys()), *json.loads(first_policy_keys())]))
    publics = [base64.b64decode(each) for each in verifiers_of(keys)]
    assert [len(public) for public in publics] == [32, 32]
    assert len({dsse.key_id(public) for public in publics}) == 2
