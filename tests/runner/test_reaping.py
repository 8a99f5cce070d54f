"""Waiting for a child: its status comes, and signals are handled at once, even those that come before the waiting."""

import os
import signal
import subprocess
import sys

from runner.reaping import waited


def test_the_status_of_a_child_that_ends():
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    child.returncode = os.waitstatus_to_exitcode(waited(child.pid))
    assert child.returncode == 7


def test_a_child_that_ended_before_is_there_at_once():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    child.returncode = os.waitstatus_to_exitcode(waited(child.pid))
    assert child.returncode == 0


def test_a_signal_that_came_just_before_is_handled_and_ends_the_waiting(monkeypatch):
    child = subprocess.Popen(["sleep", "60"])
    before = signal.signal(signal.SIGUSR1, lambda *_: child.terminate())
    real = os.waitpid

    def late(pid: int, options: int) -> tuple[int, int]:
        answer = real(pid, options)
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGUSR1)
        return answer

    monkeypatch.setattr(os, "waitpid", late)
    try:
        child.returncode = os.waitstatus_to_exitcode(waited(child.pid))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert child.returncode == -signal.SIGTERM
