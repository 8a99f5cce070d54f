"""`pip install ./runner`: the command works with nothing else of this repository beside it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.serving import REPOSITORY


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    venv, source = folder / "venv", folder / "runner"
    # A build leaves files beside what it builds.
    shutil.copytree(REPOSITORY / "runner", source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    uv = [str(REPOSITORY / ".local/uv/bin/uv"), "--system-certs"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    install = ["pip", "install", "-q", "--python", str(venv / "bin/python"), str(source)]
    subprocess.run([*uv, *install], check=True)
    return venv / "bin"


def said(program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(program), *arguments], cwd="/", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )


def test_it_says_how_it_is_used_without_importing_what_it_does_not_need(installed: Path) -> None:
    began = time.monotonic()
    shown = said(installed / "drawbridge", "--help")
    print(f"{time.monotonic() - began:.2f} s")
    assert shown.returncode == 0, shown.stderr
    assert {"run", "exec", "verify", "more"} <= set(shown.stdout.split())
    imported = said(installed / "python", "-X", "importtime", "-c", "import runner.cli")
    assert not [name for name in ("httpx", "rich.table", "runner.confinement") if f"| {name}\n" in imported.stderr]


def test_its_probes_run(installed: Path) -> None:
    shown = said(installed / "drawbridge", "verify", "--sandbox", "bubblewrap", "--probe", "N01", "--probe", "F01")
    assert (shown.returncode, "2 of 2 probes held" in shown.stdout) == (0, True), shown.stderr


def test_what_it_needs_is_little(installed: Path) -> None:
    code = "import importlib.metadata as m; print('\\n'.join(sorted(d.name.lower() for d in m.distributions())))"
    assert len(said(installed / "python", "-c", code).stdout.split()) <= 20
