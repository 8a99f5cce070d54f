"""The sandbox in a container: what it shows, what it refuses, how it ends. Against a daemon of the tests' own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.probes.outcome import CROSSED, INVALID, SKIPPED
from runner.sandbox import choice
from runner.sandbox.docker import Docker
from runner.sandbox.interface import Limits, Running, Spec, Unavailable
from runner.verification import verify
from tests.runner.docker_daemon import IMAGE, docker_daemon
from tests.serving import REPOSITORY
from tests.waiting import becomes

USUAL = Limits()
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/home/agent", "WITH_SPACE": "a b"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_daemon(tmp_path_factory.mktemp("docker")) as host:
        yield host


@pytest.fixture(autouse=True)
def docker(daemon: str, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setenv("DOCKER_HOST", daemon)
    return Docker(IMAGE)


class Started:
    """Starts commands; what they print goes to a file."""

    def __init__(self, folder: Path, docker: Docker) -> None:
        self.workspace, self.handover, self._docker = folder / "workspace", folder / "handover", docker
        for one in (self.workspace, self.handover):
            one.mkdir()
        self.workspace.chmod(0o777)
        self.output = (folder / "output").open("w+b")
        self.running: list[Running] = []

    def __call__(self, *argv: str, limits: Limits = USUAL) -> Running:
        spec = Spec(
            argv,
            self.workspace,
            ENVIRONMENT,
            self.handover,
            limits=limits,
            stdio=(os.open(os.devnull, os.O_RDONLY), self.output.fileno(), self.output.fileno()),
        )
        self.running.append(self._docker.start(spec))
        return self.running[-1]

    def said(self, script: str, code: int = 0, limits: Limits = USUAL) -> str:
        running = self("sh", "-c", script, limits=limits)
        running.release()
        assert running.wait() == code, self.printed()
        return self.printed()

    def printed(self) -> str:
        self.output.seek(0)
        return self.output.read().decode()


@pytest.fixture
def started(tmp_path: Path, docker: Docker) -> Iterator[Started]:
    made = Started(tmp_path, docker)
    yield made
    for one in made.running:
        one.kill()
    made.output.close()


def containers() -> list[str]:
    ran = subprocess.run(["docker", "ps", "--all", "--quiet"], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_every_probe_holds_and_every_control_crosses() -> None:
    found = verify("docker", IMAGE, None, lambda *_: None)
    assert [(one.id, one.saw, one.why) for one in found.outcomes if one.outcome in (CROSSED, INVALID)] == []
    assert {one.id for one in found.of(SKIPPED)} <= {"K13", "K14", "K24"}
    assert containers() == []


def test_the_command_waits_until_it_is_released_and_its_exit_code_is_ours(started: Started) -> None:
    running = started("sh", "-c", "touch ran; exit 7")
    time.sleep(0.3)
    assert not (started.workspace / "ran").exists()
    running.release()
    assert running.wait() == 7
    assert (started.workspace / "ran").exists()
    assert containers() == []


def test_the_workspace_is_the_only_place_of_ours_that_can_be_written(started: Started) -> None:
    tried = "touch in; for f in / /usr /etc /bin /root /run/drawbridge /sys; do touch $f/x 2>/dev/null && echo $f; done"
    assert started.said(tried + "; echo .").split() == ["."]
    assert [one.name for one in started.workspace.iterdir()] == ["in"]


def test_it_gets_its_own_environment_and_nothing_else(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for you")
    text = started.said("env; ls -A /home/agent /run/drawbridge /var/run/docker.sock 2>&1; true")
    assert "WITH_SPACE=a b\n" in text
    assert "AWS" not in text
    assert "cannot access '/var/run/docker.sock'" in text


def test_there_is_no_network_but_its_own_loopback_and_no_resolver(started: Started) -> None:
    code = "import socket; print([n for _, n in socket.if_nameindex()]); print(open('/etc/resolv.conf').read())"
    text = started.said(f'python3 -c "{code}"')
    assert "['lo']" in text
    assert [line for line in text.splitlines() if line.startswith("nameserver")] == ["nameserver 127.0.0.1"]


def test_there_are_no_capabilities_no_new_privileges_and_a_filter(started: Started) -> None:
    text = started.said("grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status")
    assert text.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]


def test_limits_hold(started: Started) -> None:
    limits = Limits(processes=20, open_files=64, file_bytes=1_048_576, memory_bytes=64 * 1024**2)
    text = started.said(
        "ulimit -n; head -c 2000000 /dev/zero > large; ls -l large | tr -s ' ' | cut -d' ' -f5", 127, limits
    )
    assert text.split()[0] == "64"
    assert (started.workspace / "large").stat().st_size == 1_048_576


def test_memory_beyond_its_limit_ends_it(started: Started) -> None:
    started.said("exec python3 -c 'bytearray(300_000_000)'", 137, Limits(memory_bytes=64 * 1024**2))


def test_a_signal_reaches_the_command(started: Started) -> None:
    running = started("sh", "-c", "trap 'echo told; exit 3' TERM; touch ready; while :; do sleep 0.05; done")
    running.release()
    assert becomes(lambda: (started.workspace / "ready").exists(), 10)
    running.signal(signal.SIGTERM)
    assert running.wait() == 3
    assert started.printed() == "told\n"


def test_a_kill_ends_all_of_it_within_a_second(started: Started) -> None:
    running = started("sh", "-c", "trap '' TERM; (setsid sleep 60 &); touch ready; sleep 60")
    running.release()
    assert becomes(lambda: (started.workspace / "ready").exists(), 10)
    began: list[float] = []
    threading.Timer(0.1, lambda: (began.append(time.monotonic()), running.kill())).start()
    running.wait()
    assert time.monotonic() - began[0] < 1.0
    assert becomes(lambda: containers() == [], 5)


RUNS = """
import os, sys
from pathlib import Path
from runner.sandbox.docker import Docker
from runner.sandbox.interface import Spec
workspace, handover, image = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
running = Docker(image).start(Spec(["sh", "-c", "touch ready; sleep 60"], workspace, {"PATH": "/bin"}, handover))
running.release()
running.wait()
"""


def test_whoever_runs_it_is_killed_and_it_is_gone(started: Started) -> None:
    argv = [sys.executable, "-c", RUNS, str(started.workspace), str(started.handover), IMAGE]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL) as process:
        assert becomes(lambda: (started.workspace / "ready").exists(), 15)
        process.kill()
    assert becomes(lambda: containers() == [], 10)


def test_what_is_missing_is_said(docker: Docker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert docker.available() is None
    assert "name one with --image" in str(Docker(None).available())
    assert "No such image" in str(Docker("nothing-here").available())
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    assert "Docker does not work here" in str(Docker(IMAGE).available())
    with pytest.raises(Unavailable, match="Docker does not work here"):
        choice.chosen("docker", IMAGE)


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr("runner.sandbox.bubblewrap.Bubblewrap.available", lambda self: "bubblewrap is away.")
    return lambda: None


def test_auto_takes_it_where_bubblewrap_does_not_work(no_bubblewrap: None) -> None:
    chosen = choice.chosen("auto", IMAGE)
    assert chosen is not None
    assert chosen.name == "docker"
    with pytest.raises(Unavailable, match="bubblewrap is away. docker: Docker needs an image"):
        choice.chosen("auto")
