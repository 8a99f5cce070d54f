"""In a real terminal: the command is in front of it, and the progress moves."""

import subprocess
import sys

from sessions.models import AgentSession
from tests import factories
from tests.runner.conftest import Runner
from tests.serving import REPOSITORY, approve

IN_A_TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
IN_FRONT = "import os; print('in front:', os.tcgetpgrp(0) == os.getpgrp(), os.isatty(1))"
STOPS = "import os, signal; os.kill(os.getpid(), signal.SIGTTIN); print('went on')"


def in_a_terminal(runner: Runner, *arguments: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, sys.executable, "-m", "runner", *arguments],
        cwd=REPOSITORY,
        env=runner.environment(TERM="xterm"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    runner.running.append(process)
    return process


def test_the_command_is_in_front_of_the_terminal(runner: Runner) -> None:
    runner.begin()
    out, _ = in_a_terminal(runner, "exec", "--", sys.executable, "-c", IN_FRONT).communicate(timeout=30)

    assert "in front: True True" in out


def test_a_command_that_was_stopped_for_the_terminal_goes_on(runner: Runner) -> None:
    runner.begin()
    out, _ = in_a_terminal(runner, "exec", "--", sys.executable, "-c", STOPS).communicate(timeout=30)

    assert "went on" in out


def test_progress_counts_the_seconds(runner: Runner, world: factories.World, eventually) -> None:
    process = in_a_terminal(runner, "request", "--profile", "warehouse-orders", "--purpose", "Look", "--wait")
    assert eventually(lambda: AgentSession.objects.filter(agent=world.agent).exists())
    assert process.stdout is not None
    shown = ""
    while "0:01" not in shown:
        shown += process.stdout.read(1)
    approve(AgentSession.objects.get(agent=world.agent).id)
    out, _ = process.communicate(timeout=30)

    assert "waiting for approval" in shown
    assert "Approved" in out
    assert process.returncode == 0
