"""Nothing outlives its starter: not when it is stopped, not when it is killed with -9, not as a grandchild."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.process import Command, Leashed

REPOSITORY = Path(__file__).resolve().parents[2]
Eventually = Callable[[Callable[[], bool]], bool]
Marked = Callable[[str], list[str]]

# A command with a child in a session of its own, which ignores the polite signal as its parent does.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"],
                 start_new_session=True)
print("up", flush=True)
time.sleep(600)
"""

# What script/server does, with one stubborn stand-in beside the three services.
SUPERVISOR = """
import sys
from pathlib import Path
from stack import Stack
from stack.process import Command
from stack.supervisor import Supervisor
with Stack(Path(sys.argv[1]), for_tests=True) as stack, Supervisor() as supervisor:
    stack.supervise_services(supervisor)
    command = Command("stand-in", (sys.executable, "-c", sys.argv[2]), grace_seconds=0.5)
    supervisor.start(command, stack.data.log("stand-in"))
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A mark that every process started in this test inherits."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("STARTED_BY_TEST", mark)
    return mark


def start_stubborn(log: Path, grace_seconds: float = 0.3) -> Leashed:
    command = Command("stubborn", (sys.executable, "-c", STUBBORN), grace_seconds=grace_seconds)
    return Leashed(command, log)


def test_stop_ends_a_command_and_its_detached_child_that_both_refuse(
    tmp_path: Path, mark: str, eventually: Eventually, processes_marked: Marked
) -> None:
    stubborn = start_stubborn(tmp_path / "log")
    assert eventually(lambda: stubborn.last_lines() == "up")
    assert len(processes_marked(mark)) == 3
    stubborn.stop()
    assert stubborn.exit_code() == 128 + signal.SIGKILL
    assert processes_marked(mark) == []


def test_kill_9_of_a_command_ends_its_detached_child(
    tmp_path: Path, mark: str, eventually: Eventually, processes_marked: Marked
) -> None:
    stubborn = start_stubborn(tmp_path / "log", grace_seconds=60)
    assert eventually(lambda: stubborn.last_lines() == "up")
    stubborn.kill()
    assert processes_marked(mark) == []


def test_exit_code_is_the_commands_own(tmp_path: Path, eventually: Eventually) -> None:
    ended = Leashed(Command("ends", (sys.executable, "-c", "raise SystemExit(7)")), tmp_path / "log")
    assert eventually(lambda: ended.exit_code() == 7)


def test_command_that_does_not_exist_says_so_in_its_log(tmp_path: Path, eventually: Eventually) -> None:
    missing = Leashed(Command("missing", ("/does/not/exist",)), tmp_path / "log")
    assert eventually(lambda: missing.exit_code() == 127)
    assert "/does/not/exist could not be started" in missing.last_lines()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_end_of_the_supervisor_ends_services_and_grandchildren(
    number: signal.Signals, data_folder: Path, mark: str, eventually: Eventually, processes_marked: Marked
) -> None:
    arguments = [sys.executable, "-c", SUPERVISOR, str(data_folder), STUBBORN]
    supervisor = subprocess.Popen(  # noqa: S603
        arguments, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"up\n"
        commands = " ".join(processes_marked(mark))
        assert [name in commands for name in ("postgres -D", "valkey-server", "bao server")] == [True] * 3
        os.kill(supervisor.pid, number)
        began = time.monotonic()
        assert eventually(lambda: processes_marked(mark) == []), processes_marked(mark)
        assert time.monotonic() - began < 10
