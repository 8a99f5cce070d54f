"""A Docker daemon of the tests' own, with an image out of this machine's programs: nothing is pulled."""

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMAGE = "drawbridge-tests"
# What the probes and tests run inside.
PROGRAMS = (
    *("sh", "cat", "chmod", "cp", "date", "dd", "df", "env", "false", "grep", "head", "id", "kill", "ls", "mkdir"),
    *("mount", "nproc", "ps", "python3", "readlink", "rm", "sed", "seq", "sleep", "stat", "stty", "tail", "test"),
    *("touch", "tr", "true", "tty", "umount", "uname", "unshare", "wc", "curl"),
)
UP_S = 30.0


@contextmanager
def docker_daemon(folder: Path) -> Iterator[str]:
    """The address for DOCKER_HOST. Raises RuntimeError with the daemon's last words where it does not come up."""
    host = f"unix://{folder}/docker.sock"
    argv = ["/usr/sbin/dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--host", host]
    argv += ["--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as daemon:
        try:
            deadline = time.monotonic() + UP_S
            while subprocess.run(["docker", "--host", host, "info"], capture_output=True).returncode:
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "log").read_text()[-1_000:])
                time.sleep(0.1)
            subprocess.run(
                ["docker", "--host", host, "import", "-", IMAGE], input=image(), check=True, capture_output=True
            )
            yield host
        finally:
            daemon.terminate()
            daemon.wait(20)


def image() -> bytes:
    """A tar archive: the programs, all that they are linked with, and Python's library."""
    packed = io.BytesIO()
    found = [Path(path) for name in PROGRAMS if (path := shutil.which(name, path="/usr/bin:/bin")) is not None]
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("tmp", "var/tmp", "run", "home", "proc", "sys", "dev", "root", "etc/ssl/certs"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name in ("bin", "lib", "lib64", "sbin"):
            if Path(f"/{name}").is_symlink():
                tar.add(f"/{name}", name)
        for path in sorted({*found, *linked(found)}):
            tar.add(path.resolve(), str(path.parent.resolve() / path.name).lstrip("/"))
        tar.add("/usr/lib/python3.11", "usr/lib/python3.11", filter=without_caches)
        tar.add("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt")
    return packed.getvalue()


def linked(programs: list[Path]) -> set[Path]:
    """The shared libraries of programs, and of Python's own modules."""
    modules = list(Path("/usr/lib/python3.11/lib-dynload").glob("*.so"))
    said = subprocess.run(["ldd", *map(str, (*programs, *modules))], capture_output=True, text=True).stdout
    words = (word for line in said.splitlines() for word in line.split())
    return {Path(word) for word in words if word.startswith("/") and ".so" in word and Path(word).exists()}


def without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    skipped = ("__pycache__", "test", "idlelib", "ensurepip", "lib2to3", "tkinter")
    return None if any(part in skipped for part in Path(entry.name).parts) else entry


def clean_environment(host: str) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": host}
