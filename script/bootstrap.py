"""Makes the Python environment of this repository from hashed locks, then runs something in it.

    python3 script/bootstrap.py runtime|test PYTHON-ARGUMENTS...
    python3 script/bootstrap.py uv UV-ARGUMENTS...

Needs Python 3.11 and nothing beside its standard library. A second run finds a stamp with the lock's SHA-256 and
goes on at once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parent.parent
LOCAL = REPOSITORY / ".local"
VENV = LOCAL / "venv"
UV_VENV = LOCAL / "uv"
LOCKS = {"runtime": REPOSITORY / "requirements.lock", "test": REPOSITORY / "requirements-test.lock"}
UV_LOCK = REPOSITORY / "requirements-bootstrap.lock"
STAMP = "lock.sha256"
NEEDED_BYTES = 2_000_000_000


class BootstrapError(Exception):
    """The environment cannot be made. Its text says what to do."""


def digest(lock: Path) -> str:
    """What the stamp of an environment made from this lock holds."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def stamp_of(venv: Path) -> str:
    """Which lock an environment was made from; empty where it is not finished."""
    stamp = venv / STAMP
    works = (venv / "bin" / "python").exists()
    return stamp.read_text() if works and stamp.exists() else ""


def run(what: str, *command: str | Path) -> None:
    """Run a command quietly; show what it said if it fails."""
    ended = subprocess.run(  # noqa: S603
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ended.returncode:
        raise BootstrapError(f"{what} failed:\n{ended.stdout.strip()}")


def check_folder() -> None:
    """Raise where the environment could not be kept."""
    try:
        LOCAL.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=LOCAL):
            pass
    except OSError as error:
        raise BootstrapError(
            f"The folder {LOCAL} cannot be written to ({error.strerror}). Make it writable or use another clone."
        ) from error
    free = shutil.disk_usage(LOCAL).free
    if free < NEEDED_BYTES:
        raise BootstrapError(f"{LOCAL} has {free / 1e9:.1f} GB free, and 2 GB are needed. Make room and start again.")


def make_venv(venv: Path, *options: str) -> None:
    """An empty environment, in place of what is there."""
    shutil.rmtree(venv, ignore_errors=True)
    try:
        run("Making a Python environment", sys.executable, "-m", "venv", *options, venv)
    except BootstrapError as error:
        raise BootstrapError(
            f"{error}\nOn Debian and Ubuntu the package python3-venv is missing: apt-get install python3-venv"
        ) from error


def uv() -> Path:
    """uv from its own hashed lock, in an environment of its own."""
    program = UV_VENV / "bin" / "uv"
    wanted = digest(UV_LOCK)
    if stamp_of(UV_VENV) != wanted:
        make_venv(UV_VENV)
        pip: list[str | Path] = [
            UV_VENV / "bin" / "python",
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
        ]
        run("Installing uv", *pip, "--require-hashes", "-r", UV_LOCK)
        (UV_VENV / STAMP).write_text(wanted)
    return program


def ensure(kind: str) -> None:
    """Bring the environment to the lock of that kind. The test lock holds all of the runtime lock too."""
    enough = {digest(LOCKS["test"])} | {digest(LOCKS[kind])}
    if stamp_of(VENV) in enough:
        return
    began = time.monotonic()
    print("Python packages ...", end=" ", flush=True)
    if not stamp_of(VENV):
        make_venv(VENV, "--without-pip")
    (VENV / STAMP).unlink(missing_ok=True)
    python = VENV / "bin" / "python"
    # Compiled once here, and not again by each process that starts where nothing may be written.
    sync = ("--system-certs", "pip", "sync", "-q", "--compile-bytecode", "--python", python)
    sync = (*sync, "--require-hashes", LOCKS[kind])
    run("Installing the Python packages", uv(), *sync)
    (VENV / STAMP).write_text(digest(LOCKS[kind]))
    print(f"{time.monotonic() - began:.1f} s", flush=True)


def become(program: Path, *arguments: str) -> NoReturn:
    """Turn into the program, so that its pid is the one that was started. Both streams are flushed before."""
    sys.stdout.flush()
    os.execv(program, [str(program), *arguments])  # noqa: S606


def main() -> NoReturn:
    """See the module's docstring."""
    kind, *arguments = sys.argv[1:]
    os.chdir(REPOSITORY)
    try:
        check_folder()
        if kind == "uv":
            become(uv(), "--system-certs", *arguments)
        ensure(kind)
    except BootstrapError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    become(VENV / "bin" / "python", *arguments)


if __name__ == "__main__":
    main()
