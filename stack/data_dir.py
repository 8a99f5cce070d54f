"""The data folder: where everything of one stack lies, its secrets, and the lock that keeps a second one out."""

import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stack.errors import StackError
from stack.process import private_file

LOCK_WAIT_SECONDS = 20.0
# Whoever runs the stack reads them, and nobody else on the machine.
PRIVATE = (
    "log",
    "secrets",
    "log-files",
    "log-head",
    "witness",
    "archive",
    "exports",
    "gateway-spool",
    "gateway-sockets",
)


class DataDir:
    """One stack's folder. Whatever is secret in it is readable by its owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def create(self) -> None:
        """Make the folders; one clear sentence where that is not possible."""
        try:
            # PostgreSQL runs as another user when we are root: that user may pass through, but not look around.
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for name in PRIVATE:
                (self.root / name).mkdir(exist_ok=True)
                (self.root / name).chmod(0o700)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StackError(
                f"The folder {self.root} cannot be written to ({error.strerror}). "
                "Make it writable, or choose another one with --data-dir."
            ) from error

    def path(self, *names: str) -> Path:
        """A path below the folder."""
        return self.root.joinpath(*names)

    def log(self, name: str) -> Path:
        """Where the process of that name writes."""
        return self.path("log", f"{name}.log")

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_hex(24)) -> Path:
        """The file of one secret, made on first use and never changed afterwards."""
        path = self.path("secrets", name)
        if not path.exists():
            self.write(f"secrets/{name}", make())
        return path

    def secret_text(self, name: str) -> str:
        """A secret that has been made already or is made now."""
        return self.secret(name).read_text()

    def write(self, name: str, text: str) -> Path:
        """Replace a file in one step, durable and readable by its owner only."""
        path = self.path(*name.split("/"))
        draft = path.with_name(f".{path.name}.new")
        with open(draft, "w", opener=private_file) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return path

    def write_json(self, name: str, value: object) -> Path:
        """As `write`, for a JSON value."""
        return self.write(name, json.dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """The JSON value of a file; None where there is no such file."""
        path = self.path(*name.split("/"))
        return json.loads(path.read_text()) if path.exists() else None

    def lock(self) -> int:
        """Keep every other stack out of this folder while the returned descriptor is open.

        Leashes hold it too, so a stack whose supervisor was killed keeps its folder until its last process has ended.
        """
        descriptor = os.open(self.path("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not try_lock(descriptor):
            holder = os.pread(descriptor, 20, 0).decode().strip()
            if is_alive(holder) or time.monotonic() > deadline:
                os.close(descriptor)
                raise StackError(
                    f"A server is already running on {self.root} (process {holder or 'unknown'}). "
                    "Use that one, stop it, or give this one another folder with --data-dir."
                )
            time.sleep(0.1)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


def try_lock(descriptor: int) -> bool:
    """Whether we got the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_alive(pid: str) -> bool:
    """Whether a process of that number runs; a zombie or an empty text counts as no."""
    try:
        stat = Path("/proc", pid, "stat").read_text() if pid.isdigit() else ""
    except OSError:
        return False
    return bool(stat) and stat.rpartition(")")[2].split()[0] != "Z"
