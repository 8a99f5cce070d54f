"""The sandbox of namespaces: what it shows, what it refuses, how it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.child import CannotStart
from runner.errors import Usage
from runner.sandbox.bubblewrap import Bubblewrap
from runner.sandbox.filesystem import checked
from runner.sandbox.interface import Limits, Running, Spec

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/home/agent"}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("workspace", "handover"):
        (tmp_path / name).mkdir()
    return tmp_path / "workspace", tmp_path / "handover"


@pytest.fixture
def started(folders, tmp_path):
    """Builds a sandbox around a command; what is printed goes to a file."""
    running: list[Running] = []
    output = (tmp_path / "output").open("w+b")

    def start(*argv: str, **changed: object) -> Running:
        spec = {"argv": argv, "workspace": folders[0], "environment": ENVIRONMENT, "handover": folders[1]}
        stdio = (subprocess.DEVNULL, output.fileno(), output.fileno())
        running.append(Bubblewrap().start(Spec(**(spec | {"stdio": stdio} | changed))))
        return running[-1]

    start.printed = lambda: (output.seek(0), output.read().decode())[1]
    yield start
    for one in running:
        one.kill()
    output.close()


def said(started, script: str, code: int = 0, **changed: object) -> str:
    running = started("sh", "-c", script, **changed)
    running.release()
    assert running.wait() == code, started.printed()
    return started.printed()


def test_it_works_here():
    assert Bubblewrap().available() is None


def test_the_command_waits_until_it_is_released(started, folders):
    running = started("touch", "ran")
    time.sleep(0.2)
    assert not (folders[0] / "ran").exists()
    running.release()
    assert running.wait() == 0
    assert (folders[0] / "ran").exists()


def test_the_workspace_is_the_only_place_of_ours_that_can_be_written(started, folders):
    (folders[1] / "pgpass").write_text("x")
    tried = (
        "touch in; for f in /usr /etc /bin /opt /root /run/drawbridge /sys; do touch $f/x 2>/dev/null && echo $f; done"
    )
    assert said(started, tried + "; echo .").split() == ["/opt", "/root", "."]
    assert [one.name for one in folders[0].iterdir()] == ["in"]
    assert not Path("/opt/x").exists()


def test_homes_secrets_and_sockets_are_not_there(started, monkeypatch, tmp_path):
    places = "/root /home/agent /run /mnt /var/lib /etc/shadow /etc/ssh /root/.aws /var/run/docker.sock"
    text = said(started, f"ls -A {places} 2>/dev/null; env")
    assert "/root:" in text
    assert text.partition("/run:\n")[2].splitlines()[0] == "drawbridge"
    assert "shadow" not in text
    assert {line.partition("=")[0] for line in text.splitlines() if "=" in line} <= {
        "PATH",
        "HOME",
        "PWD",
        "_",
        "SHLVL",
    }


def test_there_is_no_network_but_its_own_loopback(started):
    code = "import socket; print([n for _, n in socket.if_nameindex()]); socket.create_connection(('127.0.0.1', 1))"
    running = started("python3", "-c", code)
    running.release()
    assert running.wait() == 1
    assert "['lo']" in started.printed()
    assert "Connection refused" in started.printed()


def test_others_processes_cannot_be_seen(started):
    assert said(started, "ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm").split()[1] == "bwrap"
    assert int(started.printed().split()[0]) < 6


def test_there_are_no_capabilities_and_no_way_to_new_ones(started):
    text = said(started, "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; id -u")
    assert text.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2", "1000"]


@pytest.mark.parametrize(
    "call",
    [
        "unshare(0x10000000)",
        "syscall(101, 16, 1, 0, 0)",
        "mount(b'x', b'/mnt', b'tmpfs', 0, 0)",
        "syscall(425, 1, 0)",
        "syscall(321, 0, 0, 0)",
        "syscall(250, 0, -3, 1)",
        "syscall(298, 0, 0, 0, 0, 0)",
        "syscall(323, 0)",
        "syscall(304, 0, 0, 0)",
        "setns(0, 0)",
    ],
)
def test_system_calls_into_the_kernels_inside_are_refused(started, call):
    code = f"import ctypes, os; c = ctypes.CDLL(None, use_errno=True); print(c.{call}, os.strerror(ctypes.get_errno()))"
    text = said(started, f'python3 -c "{code}"')
    assert text.strip() in ("-1 Operation not permitted", "-1 Function not implemented")


@pytest.mark.parametrize(("family", "kind"), [(17, 3), (16, 3), (40, 1), (2, 3), (38, 5)])
def test_raw_and_unusual_sockets_are_refused(started, family, kind):
    code = f"import socket; socket.socket({family}, {kind}, 9 if {family} == 16 else 0)"
    said(started, f'python3 -c "{code}"', code=1)
    assert "not permitted" in started.printed() or "not supported" in started.printed()


def test_a_kill_ends_all_of_it_within_a_second(started, folders):
    script = (
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do date +%s%N > beat; sleep 0.05; done' &); sleep 60"
    )
    running = started("sh", "-c", script)
    running.release()
    beat = folders[0] / "beat"
    while not beat.exists() or not beat.read_text():
        time.sleep(0.02)
    began = time.monotonic()
    threading.Timer(0.1, running.kill).start()
    assert running.wait() == 128 + signal.SIGKILL
    assert time.monotonic() - began < 1
    last = beat.read_text()
    time.sleep(0.3)
    assert beat.read_text() == last
    assert not Path(f"/proc/{running.pid}").exists()


def test_it_ends_with_whoever_started_it(folders, tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from runner.sandbox.bubblewrap import Bubblewrap; from runner.sandbox.interface import Spec\n"
        f"spec = Spec(['sleep', '60'], Path({str(folders[0])!r}), {ENVIRONMENT!r}, Path({str(folders[1])!r}))\n"
        "running = Bubblewrap().start(spec); running.release(); print(running.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        holder.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_limits_hold(started):
    limits = Limits(open_files=64, file_bytes=1_000_000)
    assert said(started, "ulimit -n; ulimit -f; ulimit -c", limits=limits).split()[0] == "64"
    running = started("sh", "-c", "head -c 2000000 /dev/zero > big", limits=limits)
    assert running.limits["file_bytes"] == 1_000_000
    running.release()
    assert running.wait() != 0


def test_a_terminal_of_the_caller_cannot_be_typed_into(started):
    code = "import fcntl, os; fcntl.ioctl(os.open('/dev/tty', os.O_RDWR), 0x5412, b'x')"
    said(started, f'python3 -c "{code}"', code=1)


def test_a_command_that_is_not_there_says_so(started):
    with pytest.raises(CannotStart) as refused:
        started("no-such-command")
    assert refused.value.exit_code == 127


@pytest.mark.parametrize("folder", ["/", "/home", "/tmp", "/etc", "/usr/lib", "/run", str(Path.home()), "/nonexistent"])
def test_a_workspace_that_holds_more_than_work_is_refused(folder):
    with pytest.raises(Usage):
        checked(Path(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_works_for_an_ordinary_user(tmp_path):
    code = "from runner.sandbox.bubblewrap import Bubblewrap; print(Bubblewrap().available())"
    ended = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin"},
        cwd="/",
    )
    assert (ended.stdout.strip(), ended.stderr) == ("None", "")
