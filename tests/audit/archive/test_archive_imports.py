"""Archives can be read and checked without the server: no Django."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PROBE = "import importlib, sys; importlib.import_module(sys.argv[1]); print(sorted(sys.modules.keys() & {'django'}))"


@pytest.mark.parametrize("module", ["archive", "archive_drift", "archive_manifest", "archive_store"])
def test_imports_no_django(module: str) -> None:
    command = [sys.executable, "-c", PROBE, f"audit.{module}"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
