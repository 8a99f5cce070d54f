"""A sandbox out of Linux namespaces, built by bubblewrap (bwrap, 0.8 or later). Needs no privileges."""

import json
import os
import platform
import re
import resource
import select
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from runner.child import CannotStart
from runner.reaping import waited
from runner.sandbox import filter as system_calls
from runner.sandbox.cgroup import Cgroup
from runner.sandbox.filesystem import ETC, FILES, GID, PROC_MASKED, PROC_READ_ONLY, SYSTEM, UID
from runner.sandbox.interface import HOME, INSIDE, Limits, Spec, Unavailable

INSTALL = "Install it: apt-get install bubblewrap util-linux."
OLDEST = (0, 8)
BUILT_WITHIN_S = 10.0
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
UNSHARED = ("--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")


class Bubblewrap:
    """All of its promises hold for root, too, but that root's processes are not counted by RLIMIT_NPROC."""

    name = "bubblewrap"

    @cached_property
    def version(self) -> str:
        ended = subprocess.run([self._program, "--version"], capture_output=True, text=True)
        return ended.stdout.strip().rpartition(" ")[2]

    @cached_property
    def _program(self) -> str:
        return shutil.which("bwrap") or "/usr/bin/bwrap"

    def available(self) -> str | None:
        if platform.machine() not in system_calls.MACHINES:
            return f"There is no system call filter for {platform.machine()}."
        if not Path(self._program).exists() or shutil.which("setsid") is None:
            return f"bubblewrap is not installed. {INSTALL}"
        if tuple(int(part) for part in re.findall(r"\d+", self.version)[:2]) < OLDEST:
            return f"bubblewrap {self.version} is too old: 0.8 or later is needed."
        return self._tried()

    def _tried(self) -> str | None:
        argv = [self._program, *UNSHARED, "--ro-bind", "/", "/", "--proc", "/proc", "--", "/usr/bin/env", "true"]
        ended = subprocess.run(argv, capture_output=True, text=True)
        said = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"bubblewrap cannot make its namespaces here: {said}" if ended.returncode else None

    def start(self, spec: Spec) -> "Confined":
        command = _resolved(spec)
        with _Descriptors() as open_ones:
            told, tells = open_ones.pipe()
            waits, releases = open_ones.pipe()
            filtered = open_ones.file(system_calls.program(platform.machine()))
            argv = [self._program, *UNSHARED, "--unshare-cgroup-try", "--uid", str(UID), "--gid", str(GID)]
            argv += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
            argv += [part for name, value in spec.environment.items() for part in ("--setenv", name, value)]
            argv += _mounts(spec, open_ones)
            argv += ["--seccomp", str(filtered), "--info-fd", str(tells), "--block-fd", str(waits), "--", *command]
            process = subprocess.Popen(
                argv,
                env={},
                stdin=spec.stdio[0],
                stdout=spec.stdio[1],
                stderr=spec.stdio[2],
                pass_fds=open_ones.inside(told, releases),
                start_new_session=True,
            )
            os.close(tells)
            open_ones.forget(tells)
            try:
                pid = _first_process(told, process)
                return Confined(process, pid, open_ones.keep(releases), spec.limits)
            except BaseException:
                process.kill()
                process.wait()
                raise


class Confined:
    """See interface.Running. Its first process is bubblewrap's, and the command is the child of that."""

    def __init__(self, process: "subprocess.Popen[bytes]", pid: int, release: int, limits: Limits) -> None:
        self._process, self.pid, self._release = process, pid, release
        self._lock = threading.Lock()
        self._gone = False
        self._handle = os.pidfd_open(pid)
        self._cgroup = Cgroup(f"drawbridge-{uuid.uuid4().hex[:12]}", limits)
        self._cgroup.take(pid)
        self.limits: Mapping[str, int] = {**_limit(pid, limits), **self._cgroup.limits}

    @property
    def namespaces(self) -> Mapping[str, Path]:
        return {name: Path(f"/proc/{self.pid}/ns/{name}") for name in NAMESPACES}

    def release(self) -> None:
        os.write(self._release, b"1")

    def signal(self, number: int) -> None:
        for child in _children(self.pid):
            with suppress(ProcessLookupError):
                os.kill(child, number)

    def wait(self) -> int:
        self._process.returncode = code = os.waitstatus_to_exitcode(waited(self._process.pid))
        # What the command left behind goes with the first process.
        self.kill()
        select.select([self._handle], [], [])
        with self._lock:
            self._gone = True
            os.close(self._handle)
            os.close(self._release)
        self._cgroup.remove()
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        """When the first process of a pid namespace dies, the kernel kills all the others (pid_namespaces(7))."""
        with self._lock:
            if self._gone:
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            self._cgroup.kill()


class _Descriptors:
    """Descriptors that bubblewrap reads; closed here when it has them."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def __enter__(self) -> "_Descriptors":
        return self

    def __exit__(self, *error: object) -> None:
        for one in self._open:
            os.close(one)

    def pipe(self) -> tuple[int, int]:
        both = os.pipe()
        self._open += both
        return both

    def file(self, content: bytes) -> int:
        handle = os.memfd_create("drawbridge")
        self._open.append(handle)
        os.write(handle, content)
        os.lseek(handle, 0, os.SEEK_SET)
        return handle

    def inside(self, *ours: int) -> tuple[int, ...]:
        return tuple(one for one in self._open if one not in ours)

    def forget(self, one: int) -> None:
        self._open.remove(one)

    def keep(self, one: int) -> int:
        self.forget(one)
        return one


def _mounts(spec: Spec, open_ones: _Descriptors) -> list[str]:
    """In their order: a later one lies over an earlier one."""
    argv: list[str] = []
    for one in SYSTEM:
        path = Path(one)
        if path.is_symlink():
            argv += ["--symlink", os.readlink(path), one]
        elif path.exists():
            argv += ["--ro-bind", one, one]
    for name in ETC:
        argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for one, text in FILES.items():
        argv += ["--perms", "0444", "--ro-bind-data", str(open_ones.file(text.encode())), one]
    argv += ["--dev", "/dev", *_proc()]
    for folder in ("/tmp", "/var/tmp", "/run", "/home", "/root", "/mnt", "/media", "/opt", "/srv"):  # noqa: S108
        argv += ["--tmpfs", folder]
    argv += ["--dir", str(HOME), "--ro-bind", str(spec.handover), str(INSIDE)]
    for path in spec.readable:
        argv += ["--ro-bind", str(path), str(path)]
    workspace = str(spec.workspace)
    return [*argv, "--bind", workspace, workspace, "--remount-ro", "/", "--chdir", workspace]


def _proc() -> list[str]:
    """The user who is root outside could write to some of it even from here."""
    argv = ["--proc", "/proc"]
    for name in PROC_READ_ONLY:
        argv += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
    for name in PROC_MASKED:
        path = Path(f"/proc/{name}")
        if path.is_dir():
            argv += ["--tmpfs", str(path), "--remount-ro", str(path)]
        elif path.exists():
            argv += ["--ro-bind", "/dev/null", str(path)]
    return argv


def _resolved(spec: Spec) -> list[str]:
    """The command as it starts inside. Raises CannotStart where it would not be found."""
    name, *rest = spec.argv
    found = shutil.which(name, path=spec.environment.get("PATH")) if "/" not in name else name
    visible = [Path(one) for one in SYSTEM] + [*spec.readable, spec.workspace]
    path = spec.workspace / found if found else None
    if path is None or not path.exists() or not any(path.is_relative_to(one) for one in visible):
        raise CannotStart(f"There is no command {name!r} in the sandbox: see --read for folders outside /usr.", 127)
    if not os.access(path, os.X_OK) or path.is_dir():
        raise CannotStart(f"{name!r} cannot be run: it is no program.", 126)
    # A session of its own, in front of the terminal: Ctrl-C goes to the command and not to what holds it.
    leads = ["/usr/bin/setsid", "--ctty", "--"] if spec.terminal else []
    return [*leads, str(path), *rest]


def _first_process(told: int, process: "subprocess.Popen[bytes]") -> int:
    """Its pid, as soon as all is built. Raises Unavailable."""
    said = b""
    while chunk := os.read(told, 4096):
        said += chunk
        if b"}" in said:
            break
    if b"}" not in said:
        raise Unavailable(f"The sandbox was not built (bubblewrap ended with {process.wait()}).")
    pid = int(json.loads(said)["child-pid"])
    deadline = time.monotonic() + BUILT_WITHIN_S
    while not _built(pid):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable("The sandbox was not built: bubblewrap said why.")
        time.sleep(0.002)
    return pid


def _built(pid: int) -> bool:
    """Its root is the new one, and read-only: the last thing that is done to it."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return False
    mounts = {fields[4]: fields[5] for fields in (line.split() for line in lines)}
    return "ro" in mounts.get("/", "").split(",") and str(INSIDE) in mounts


def _limit(pid: int, limits: Limits) -> dict[str, int]:
    """Set on the first process, while it waits: all others have them from it."""
    wanted = {
        "processes": (resource.RLIMIT_NPROC, limits.processes),
        "open_files": (resource.RLIMIT_NOFILE, limits.open_files),
        "file_bytes": (resource.RLIMIT_FSIZE, limits.file_bytes),
        "address_space_bytes": (resource.RLIMIT_AS, limits.address_space_bytes),
        "core_bytes": (resource.RLIMIT_CORE, 0),
    }
    held = {}
    for name, (which, value) in wanted.items():
        if value is not None:
            hard = resource.prlimit(pid, which)[1]
            lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, which, (lower, lower))
            held[name] = lower
    if os.geteuid() == 0:
        # The kernel does not count the processes of root.
        del held["processes"]
    return held


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
