"""A control group for one sandbox, where the kernel lets us make one: memory, number of processes, and its end."""

import os
from contextlib import suppress
from pathlib import Path

from runner.sandbox.interface import Limits

ROOT = Path("/sys/fs/cgroup")
# What the files are called in version 2, and in the version 1 that some machines still run.
MEMORY, MEMORY_V1, PIDS = "memory.max", "memory.limit_in_bytes", "pids.max"


class Cgroup:
    """Folders, one for each hierarchy. All of it is as good as absent where none could be made."""

    def __init__(self, name: str, limits: Limits, root: Path = ROOT) -> None:
        self._folders: list[Path] = []
        self.limits: dict[str, int] = {}
        wanted = {MEMORY: limits.memory_bytes, MEMORY_V1: limits.memory_bytes, PIDS: limits.processes}
        for parent in _parents(root):
            folder = parent / name
            with suppress(OSError):
                folder.mkdir()
                self._folders.append(folder)
            for file, value in wanted.items():
                self._limit(folder / file, value)

    def take(self, pid: int) -> None:
        """Put a process into it, with all that it will start."""
        try:
            for folder in self._folders:
                (folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            self.limits.clear()

    def kill(self) -> None:
        for folder in self._folders:
            with suppress(OSError):
                (folder / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Only an empty one can be removed: to be called when everything in it has ended."""
        for folder in self._folders:
            with suppress(OSError):
                folder.rmdir()

    def _limit(self, file: Path, value: int | None) -> None:
        if value is None or not file.exists():
            return
        with suppress(OSError):
            file.write_text(str(value))
            self.limits["processes" if file.name == PIDS else "memory_bytes"] = value


def _parents(root: Path) -> list[Path]:
    """Our own groups: `0::/path` is the one of version 2, `8:pids:/path` one of version 1 (cgroups(7))."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory", "pids"):
            mount = root / controllers if controllers else _unified(root)
            found.append(Path(f"{mount}{path}"))
    return [one for one in found if os.access(one, os.W_OK) and (one / "cgroup.procs").exists()]


def _unified(root: Path) -> Path:
    return root / "unified" if (root / "unified").is_dir() else root
