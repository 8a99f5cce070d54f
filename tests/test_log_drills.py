"""The log's drills in their short form; `script/drill tamper` and `script/drill syscalls` are the full ones."""

import subprocess
import sys

from tests.conftest import REPOSITORY


def drill(name: str, *arguments: str) -> str:
    argv = [sys.executable, "-m", f"tests.drills.{name}", *arguments]
    ended = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    return ended.stdout


def test_each_tampering_is_found_and_named() -> None:
    assert "Each of them was found." in drill("tamper")


def test_nothing_acknowledged_is_lost_at_any_system_call() -> None:
    assert "Nothing acknowledged was lost or doubled." in drill("syscalls", "4")
