"""Runs one command and makes sure that nothing of it outlives the process that holds the leash.

    python leash.py --pid-fd 5 --stop-signal 15 --grace 8 [--uid 65534] -- COMMAND ...

The holder keeps the write end of the pipe that is standard input here. When that end closes, however the holder died,
the command is asked to stop, and after the grace everything below it is killed: also grandchildren that made sessions
of their own, because this process is their subreaper. If the leash itself is killed, the kernel kills the command.
Uses the standard library only and Linux's prctl(2).
"""

import argparse
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def prctl(option: int, value: int) -> None:
    """Raise OSError where the kernel refuses; a leash that cannot hold must not start."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) was refused by the kernel")


def become(argv: Sequence[str], uid: int | None) -> None:
    """Turn this freshly forked process into the command. Does not return."""
    os.setsid()
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    # A change of uid clears the death signal, so it comes last.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.execvp(argv[0], list(argv))  # noqa: S606


def spawn(argv: Sequence[str], uid: int | None) -> int:
    """Start the command in a session of its own and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        become(argv, uid)
    except OSError as error:
        print(f"{argv[0]} could not be started: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def children() -> list[int]:
    """The pids of our direct children, which after a parent's death include its orphans."""
    with open(f"/proc/self/task/{os.getpid()}/children") as listing:
        return [int(pid) for pid in listing.read().split()]


def end_descendants() -> None:
    """Kill what is left, round by round: each round turns grandchildren into children."""
    while pids := children():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


def reap(command: int) -> int | None:
    """Collect whatever has ended; return the command's exit code if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == command:
            code = os.waitstatus_to_exitcode(status)


class Watch:
    """Waits for one of three things: the command ended, the holder is gone, somebody asked us to stop."""

    def __init__(self, command: int, stop_signal: int, grace: float) -> None:
        self.command = command
        self.stop_signal = stop_signal
        self.grace = grace
        self.deadline: float | None = None
        self.asked = False
        self.wake, wake_end = os.pipe()
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in STOP_SIGNALS:
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        """Remember that the command shall stop."""
        self.asked = True

    def stop_command(self) -> None:
        """First time: the polite signal. After the grace: the other one."""
        if self.deadline is None:
            os.kill(self.command, self.stop_signal)
            self.deadline = time.monotonic() + self.grace
        elif time.monotonic() >= self.deadline:
            os.kill(self.command, signal.SIGKILL)

    def until_end(self) -> int:
        """Return the command's exit code, minus the signal's number where a signal ended it."""
        watched = [0, self.wake]
        while True:
            ready, _, _ = select.select(watched, [], [], None if self.deadline is None else 0.1)
            if self.wake in ready:
                os.read(self.wake, 4096)
            if 0 in ready and not os.read(0, 4096):
                watched.remove(0)
                self.asked = True
            code = reap(self.command)
            if code is not None:
                return code
            if self.asked:
                self.stop_command()


def main() -> int:
    """Run the command until it ends; exit as it did, 128 + signal where a signal ended it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pid-fd", type=int, required=True)
    parser.add_argument("--stop-signal", type=int, default=int(signal.SIGTERM))
    parser.add_argument("--grace", type=float, default=8.0)
    parser.add_argument("--uid", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    command = spawn(options.command, options.uid)
    watch = Watch(command, options.stop_signal, options.grace)
    os.write(options.pid_fd, f"{command}\n".encode())
    os.close(options.pid_fd)
    code = watch.until_end()
    end_descendants()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    # Not sys.exit: while Python winds down, a second polite signal would end the leash with the wrong code.
    os._exit(main())
