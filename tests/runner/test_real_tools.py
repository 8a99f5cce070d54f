"""Tools as they are installed everywhere, inside a sandbox: they find their way out, and never see the credential."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack import Stack
from stack.openbao_setup import put_secret
from tests import factories, node
from tests.gateway.bed.far_end import certified
from tests.runner.conftest import Runner
from tests.runner.gateways import gateway
from tests.runner.running import begun
from tests.runner.services import GitServer, Model, NpmRegistry, PipIndex, serving

GIT_SECRET, MODEL_SECRET = "ghp_real_0123456789abcdef", "sk-ant-real-0123456789abcdef"
ORDERS = "echo out of the sandbox > made.txt && cat made.txt"


@dataclass
class Services:
    """Ports, and what arrived."""

    ports: dict[str, int]
    seen: dict[str, list[Any]]
    ca_file: Path


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    (tmp_path / "tls").mkdir()
    ca_file, tls = certified(tmp_path / "tls", "git.example", "model.example")
    repositories = tmp_path / "repositories"
    subprocess.run(["git", "init", "-q", "--bare", str(repositories / "work.git")], check=True)
    subprocess.run(["git", "-C", str(repositories / "work.git"), "config", "http.receivepack", "true"], check=True)
    kinds: dict[str, tuple[type, ssl.SSLContext | None, dict[str, Any]]] = {
        "git": (GitServer, tls, {"root": repositories, "secret": GIT_SECRET}),
        "model": (Model, tls, {"secret": MODEL_SECRET, "orders": ORDERS}),
        "pip": (PipIndex, None, {}),
        "npm": (NpmRegistry, None, {}),
    }
    with ExitStack() as stack:
        running = {name: stack.enter_context(serving(kind, tls, **more)) for name, (kind, tls, more) in kinds.items()}
        ports = {name: port for name, (port, _) in running.items()}
        yield Services(ports, {name: seen for name, (_, seen) in running.items()}, ca_file)


@pytest.fixture
def world(committed: None, services: Services, stack: Stack, stack_environment: dict[str, str]) -> factories.World:
    put_secret(stack.openbao, "git", GIT_SECRET)
    put_secret(stack.openbao, "model", MODEL_SECRET)
    ports = services.ports
    near = {"type": "egress", "network": "127.0.0.0/8"}
    target = json.loads(Path(stack_environment["TARGETS_FILE"]).read_text())["warehouse"]
    rules = [
        {
            **near,
            "locations": [f"https://git.example:{ports['git']}/work.git/"],
            "actions": ["GET", "POST"],
            "inject": {"slot": "secret:git", "as": "basic", "username": "x-access-token"},
        },
        {
            **near,
            "locations": [
                f"https://model.example:{ports['model']}/v1/",
                f"https://model.example:{ports['model']}/api/",
            ],
            "actions": ["GET", "HEAD", "POST"],
            "inject": {"slot": "secret:model", "as": "header", "name": "x-api-key"},
        },
        {**near, "locations": [f"http://{name}.example:{ports[name]}/" for name in ("pip", "npm")], "actions": ["GET"]},
        {**near, "locations": [f"tcp://127.0.0.1:{target['port']}"], "actions": ["forward"]},
    ]
    secrets = {"type": "secret", "locations": ["kv:git", "kv:model"], "actions": ["inject"]}
    details = [*factories.CONTENT["authorization_details"], secrets, *rules]
    return factories.world({**factories.CONTENT, "authorization_details": details, "sandbox": "required"})


@pytest.fixture
def way_out(
    server: str, world: factories.World, services: Services, stack_environment: dict[str, str], tmp_path: Path
) -> Iterator[None]:
    names = "127.0.0.1 git.example model.example pip.example npm.example\n"
    with gateway(server, stack_environment, tmp_path / "gateway", names, services.ca_file):
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_git_clones_and_pushes_with_a_credential_that_it_never_has(
    runner: Runner, way_out: None, services: Services, workspace: Path
) -> None:
    url = f"https://git.example:{services.ports['git']}/work.git"
    script = f"""
    set -e
    git clone -q {url} clone 2>&1 && cd clone
    git config user.email a@example.test && git config user.name Agent
    head -c 300000 /dev/urandom > data && git add data && git commit -qm one && git push -q origin HEAD:main 2>&1
    cd .. && git clone -q -b main {url} again && cmp clone/data again/data && echo same
    cat clone/.git/config; env
    """
    code, out, err = begun(runner, workspace, "sh", "-c", script).ended()
    assert (code, "same" in out) == (0, True), out + err
    assert GIT_SECRET not in out
    assert any("git-receive-pack" in line for line, _ in services.seen["git"])


def test_pip_installs_from_an_allowed_index(runner: Runner, way_out: None, services: Services, workspace: Path) -> None:
    index = f"http://pip.example:{services.ports['pip']}/simple/"
    options = "--disable-pip-version-check --trusted-host pip.example -q --no-deps"
    install = f"/usr/bin/python3 -m pip install {options} --target lib -i {index} greeting"
    script = f"{install} && PYTHONPATH=lib /usr/bin/python3 -c 'import greeting; print(greeting.WORD)'"
    code, out, err = begun(runner, workspace, "sh", "-c", script).ended()
    assert (code, out.strip().splitlines()[-1:]) == (0, ["hello from the index"]), out + err


def test_npm_installs_from_an_allowed_registry(
    runner: Runner, way_out: None, services: Services, workspace: Path
) -> None:
    options = f"--silent --no-audit --no-fund --registry http://npm.example:{services.ports['npm']}/"
    script = f"npm install {options} greeting && node -p 'require(\"greeting\")'"
    code, out, err = begun(runner, workspace, "sh", "-c", script).ended()
    assert (code, out.strip().splitlines()[-1:]) == (0, ["hello from the registry"]), out + err


def test_psql_reaches_the_database_with_a_dynamic_credential(runner: Runner, way_out: None, workspace: Path) -> None:
    query = "SELECT count(*) > 0, current_user LIKE 'dbr_%' FROM orders"
    code, out, err = begun(runner, workspace, "psql", "-Atc", query).ended()
    assert (code, out.strip()) == (0, "t|t"), err


@pytest.fixture(scope="session")
def claude() -> Path:
    return node.installed() / "@anthropic-ai/claude-code"


def test_claude_code_works_inside_with_a_key_that_it_never_sees(
    runner: Runner, way_out: None, services: Services, workspace: Path, claude: Path
) -> None:
    base = f"https://model.example:{services.ports['model']}"
    variables = f"ANTHROPIC_BASE_URL={base} ANTHROPIC_API_KEY=placeholder CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1"
    program = claude / "bin/claude.exe"
    script = (
        f"{variables} {program} -p 'Do the work' --allowedTools Bash </dev/null; cat /proc/*/environ | tr '\\0' '\\n'"
    )
    code, out, err = begun(runner, workspace, "sh", "-c", script, options=("--read", str(claude))).ended(180)
    assert "It said:" in out, out + err
    assert "out of the sandbox" in out
    assert (workspace / "made.txt").read_text() == "out of the sandbox\n"
    assert code == 0
    assert MODEL_SECRET not in out + err
    assert all(headers["x-api-key"] == MODEL_SECRET for _, headers in services.seen["model"])


def test_the_tools_are_those_of_the_system() -> None:
    assert all(shutil.which(name) for name in ("git", "npm", "node", "psql", "curl"))
