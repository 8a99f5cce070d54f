"""What the kernel tells of files and programs, by real events on mounts of a namespace of the test's own."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.kernel import MOST_TOLD, Observer, Unobservable
from tests.waiting import becomes

Told = list[tuple[str, dict[str, object]]]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A process in a mount namespace of its own, where a file system in memory lies at this path."""
    (tmp_path / "files").mkdir()
    script = 'mount -t tmpfs none "$0" && touch "$0/ready" && exec sleep 60'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(tmp_path / "files")]
    with subprocess.Popen(argv) as process:
        assert becomes(lambda: Path(f"/proc/{process.pid}/root{tmp_path}/files/ready").exists(), 10)
        yield process.pid, str(tmp_path / "files")
        process.kill()


def run(pid: int, script: str) -> None:
    subprocess.run(["nsenter", f"--mount=/proc/{pid}/ns/mnt", "sh", "-c", script], check=True)


def observed(place: tuple[int, str], script: str) -> Told:
    pid, path = place
    told: Told = []
    observer = Observer(pid, [path], [path], lambda kind, data: told.append((kind, data)))
    run(pid, f"cd {path}; {script}")
    observer.close()
    return told


def test_reads_writes_and_executions_are_told_with_who_did_them(place: tuple[int, str]) -> None:
    told = observed(place, "echo a > one; cat one; cp /bin/true prog; ./prog")
    seen = {(kind, str(data["path"]).rpartition("/")[2]) for kind, data in told}
    assert {("file.write", "one"), ("file.read", "one"), ("file.write", "prog"), ("process.executed", "prog")} <= seen
    assert {data["seen_by"] for _, data in told} == {"kernel"}
    assert {str(data["path"]).rpartition("/")[0] for _, data in told} == {place[1]}


def test_the_same_file_again_and_again_is_one_event_with_a_count(place: tuple[int, str]) -> None:
    told = observed(place, "echo a > one; for i in 1 2 3 4 5 6 7; do cat one > /dev/null; done")
    counts = [data["count"] for kind, data in told if kind == "file.read"]
    assert (len(counts), sum(int(str(one)) for one in counts)) == (1, 7)


def test_what_happens_elsewhere_is_not_told(place: tuple[int, str], tmp_path: Path) -> None:
    told = observed(place, f"cat /etc/hostname > /dev/null; echo x > {tmp_path}/outside")
    assert told == []


def test_what_nobody_needs_is_left_out(place: tuple[int, str]) -> None:
    told = observed(place, "mkdir -p node_modules/a; echo a > node_modules/a/b; echo a > kept")
    assert [str(data["path"]).rpartition("/")[2] for _, data in told] == ["kept"]


def test_more_than_can_be_told_is_counted(place: tuple[int, str]) -> None:
    told = observed(place, f"for i in $(seq {MOST_TOLD + 50}); do echo a > f$i; done")
    lost = sum(int(str(data["count"])) for kind, data in told if kind == "sandbox.unseen")
    assert len([1 for kind, _ in told if kind == "file.write"]) + lost == MOST_TOLD + 50


def test_files_are_told_while_they_come(place: tuple[int, str]) -> None:
    told: Told = []
    observer = Observer(place[0], [place[1]], [], lambda kind, data: told.append((kind, data)))
    began = time.monotonic()
    run(place[0], f"echo a > {place[1]}/now")
    assert becomes(lambda: bool(told), 5)
    assert time.monotonic() - began < 3
    observer.close()


def test_where_the_kernel_does_not_let_us_look_that_is_said(place: tuple[int, str]) -> None:
    code = """from runner.kernel import Observer, Unobservable
try:
    Observer({pid}, ["/"], [], print)
except Unobservable as why:
    print("said:", why)"""
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "/usr/bin/python3", "-c"]
    ran = subprocess.run([*argv, code.format(pid=os.getpid())], capture_output=True, text=True, env={"PYTHONPATH": "."})
    assert "said: fanotify_" in ran.stdout, ran.stderr
    assert issubclass(Unobservable, Exception)
