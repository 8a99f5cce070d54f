"""An auditor runs the verifier without our server: no Django, and nothing but the standard library and cryptography."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULES = [
    "checkpoint",
    "cosignature",
    "errors",
    "merkle",
    "note",
    "proof",
    "pruned",
    "sources",
    "tile_store",
    "tiles",
    "verify",
    "witness",
    "witness_client",
]
PROBE = """
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("audit", "cryptography", "cffi", "_cffi_backend"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
importlib.import_module(f"audit.{sys.argv[1]}")
"""


@pytest.mark.parametrize("module", MODULES)
def test_imports_no_more_than_the_standard_library_and_cryptography(module: str) -> None:
    command = [sys.executable, "-c", PROBE, module]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
