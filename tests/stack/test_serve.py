"""What is in the way of `script/server` gets one clear sentence and exit code 1, and nothing stays behind."""

import os
import signal
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from stack import StackError
from stack.data_dir import DataDir
from stack.follow import LogFollower
from stack.serve import check_disk, is_healthy, manage

REPOSITORY = Path(__file__).resolve().parents[2]


def serve(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "stack", "serve", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)  # noqa: S603


def test_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        ended = serve("--data-dir", tmp_path / "data", "--port", str(port))
    sentence = (
        f"Port {port} (web) is in use by another program. Stop that program or choose another one with PORT=<number>."
    )
    assert (ended.returncode, ended.stderr) == (1, sentence + "\n")


def test_second_server_on_one_folder_is_refused(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    data.create()
    descriptor = data.lock()
    ended = serve("--data-dir", data.root)
    os.close(descriptor)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"A server is already running on {data.root} (process {os.getpid()}). ")


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = serve("--data-dir", tmp_path / "file" / "data")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"The folder {tmp_path}/file/data cannot be written to (Not a directory). ")


def test_nonsense_for_a_port_is_refused(tmp_path: Path) -> None:
    ended = serve("--data-dir", tmp_path / "data", "--port", "eighty")
    assert ended.stderr == "PORT is 'eighty', which is not a port. Give a number from 1 to 65535.\n"


def test_interrupt_while_starting_ends_cleanly_also_when_asked_twice(data_folder: Path) -> None:
    command = [sys.executable, "-m", "stack", "serve", "--data-dir", str(data_folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as starting:  # noqa: S603
        assert starting.stdout is not None
        assert starting.stdout.readline().startswith("Drawbridge starts")
        starting.send_signal(signal.SIGINT)
        starting.send_signal(signal.SIGTERM)
        assert starting.stdout.read().endswith("Ending ...\nEverything has ended.\n")
    assert starting.returncode == 0


def test_too_little_disk_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9 - 5 * 10**8, 5 * 10**8))
    with pytest.raises(StackError, match=r"has 0\.5 GB free, and 1 GB is needed"):
        check_disk(tmp_path)


def test_management_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(StackError, match="manage.py no_such_command failed:\n"):
        manage({}, "no_such_command")


def test_nothing_listening_is_not_healthy() -> None:
    assert is_healthy("http://127.0.0.1:1") is False


def test_python_that_is_too_old_is_said_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    command = ["/bin/sh", str(REPOSITORY / "script" / "python"), "-V"]
    ended = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)  # noqa: S603
    assert ended.returncode == 1
    assert ended.stderr.startswith("Drawbridge needs Python 3.11 or newer, and none was found.")


def test_follower_names_each_line_and_waits_for_whole_ones(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.create()
    data.log("web").write_text("old\n")
    data.log("beat").write_text("")
    follower = LogFollower(data, ["web", "beat"])
    with open(data.log("web"), "a") as web:
        web.write("new\nhalf")
    data.log("beat").write_text("tick\n")
    assert follower.new_lines() == ["web  | new", "beat | tick"]
    assert follower.new_lines() == []
