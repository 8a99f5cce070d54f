"""A sandbox in a container of Docker: no network, read-only root, no capabilities. Listeners are put in from outside.

A network of its own with the gateway as its only member would still have a bridge with an address of this machine;
`none` has nothing to close.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from runner.reaping import waited
from runner.sandbox import filter as system_calls
from runner.sandbox.filesystem import FILES
from runner.sandbox.interface import HOME, INSIDE, Spec, Unavailable

BUILT_WITHIN_S, ASKED_S, LOOK_S = 30.0, 20.0, 0.02
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
# The command waits for a line in this pipe, which is written when the way out is there.
GATE, RESOLVER = ".go", ".resolv.conf"
WAITS = f'read _ <{INSIDE}/{GATE}; exec "$@"'
# Whoever holds the other end of its input is dead: so is the container.
LEASH = 'cat >/dev/null; exec docker kill "$0" >/dev/null 2>&1'
# Docker's own failures, and a command that is not there (docker run, "Exit status").
FAILED = 125


class Docker:
    """Needs a daemon, root (to enter the container's network), and an image that is on this machine already."""

    name = "docker"

    def __init__(self, image: str | None) -> None:
        self._image = image

    @cached_property
    def version(self) -> str:
        return self._asked("version", "--format", "{{.Server.Version}}").strip()

    def available(self) -> str | None:
        if shutil.which("docker") is None:
            return "Docker is not installed."
        if self._image is None:
            return "Docker needs an image: name one with --image. It is not pulled."
        if os.geteuid() != 0:
            return "Docker's containers can be given a way out by root alone. Use bubblewrap, or run as root."
        try:
            self._asked("version", "--format", "{{.Server.Version}}")
            self._asked("image", "inspect", self._image)
        except Unavailable as error:
            return str(error)
        return None

    def start(self, spec: Spec) -> "Contained":
        name = f"drawbridge-{uuid.uuid4().hex[:16]}"
        gate = spec.handover / GATE
        os.mkfifo(gate)
        profile = spec.handover / ".seccomp.json"
        profile.write_text(json.dumps(system_calls.profile()))
        variables = spec.handover / ".environment"
        variables.write_text("".join(f"{key}={value}\n" for key, value in spec.environment.items()))
        variables.chmod(0o600)
        (spec.handover / RESOLVER).write_text(FILES["/etc/resolv.conf"])
        argv = ["docker", "run", "--rm", "--name", name, *_options(spec, profile, variables)]
        argv += [self._image or "", "/bin/sh", "-c", WAITS, "sh", *spec.argv]
        process = subprocess.Popen(argv, stdin=spec.stdio[0], stdout=spec.stdio[1], stderr=spec.stdio[2])
        try:
            pid = self._first_process(name, process)
        except BaseException:
            process.kill()
            process.wait()
            subprocess.run(["docker", "rm", "--force", name], capture_output=True)
            raise
        finally:
            profile.unlink()
            variables.unlink()
        leash = subprocess.Popen(["/bin/sh", "-c", LEASH, name], stdin=subprocess.PIPE, start_new_session=True)
        return Contained(process, leash, name, pid, gate, spec)

    def _first_process(self, name: str, process: "subprocess.Popen[bytes]") -> int:
        deadline = time.monotonic() + BUILT_WITHIN_S
        while process.poll() is None and time.monotonic() < deadline:
            ended = subprocess.run(
                ["docker", "inspect", "--format", "{{.State.Pid}}", name], capture_output=True, text=True
            )
            if ended.returncode == 0 and int(ended.stdout) > 0:
                return int(ended.stdout)
            time.sleep(LOOK_S)
        raise Unavailable("The container did not start: Docker said why.")

    def _asked(self, *arguments: str) -> str:
        try:
            ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=ASKED_S)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("Docker does not answer.") from error
        if ended.returncode:
            said = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"Docker does not work here: {said}")
        return ended.stdout


class Contained:
    """See interface.Running."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        leash: "subprocess.Popen[bytes]",
        name: str,
        pid: int,
        gate: Path,
        spec: Spec,
    ) -> None:
        self._process, self._leash, self._name, self.pid, self._gate = process, leash, name, pid, gate
        self.limits: Mapping[str, int] = {
            "processes": spec.limits.processes,
            "open_files": spec.limits.open_files,
            "file_bytes": spec.limits.file_bytes,
            **({"memory_bytes": spec.limits.memory_bytes} if spec.limits.memory_bytes else {}),
        }

    @property
    def namespaces(self) -> Mapping[str, Path]:
        return {name: Path(f"/proc/{self.pid}/ns/{name}") for name in NAMESPACES}

    def release(self) -> None:
        self._gate.write_text("go\n")
        self._gate.unlink()

    def signal(self, number: int) -> None:
        name = signal.Signals(number).name
        subprocess.run(["docker", "kill", "--signal", name, self._name], capture_output=True)

    def wait(self) -> int:
        self._process.returncode = code = os.waitstatus_to_exitcode(waited(self._process.pid))
        self._leash.communicate()
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        """The first process of its pid namespace is killed directly: the daemon may be slow, or away."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            subprocess.run(["docker", "kill", self._name], capture_output=True)


def _options(spec: Spec, profile: Path, variables: Path) -> list[str]:
    owner = spec.workspace.stat()
    limits = spec.limits
    options = ["--interactive", *(["--tty"] if spec.terminal else []), "--init", "--pull", "never"]
    options += ["--network", "none", "--read-only"]
    options += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", f"seccomp={profile}"]
    options += ["--user", f"{owner.st_uid}:{owner.st_gid}", "--ipc", "private", "--hostname", "sandbox"]
    options += ["--pids-limit", str(limits.processes), "--ulimit", f"nofile={limits.open_files}", "--ulimit", "core=0"]
    options += ["--ulimit", f"fsize={limits.file_bytes}", "--env-file", str(variables)]
    if limits.memory_bytes:
        options += ["--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes)]
    for folder in ("/tmp", "/var/tmp", "/run", str(HOME)):  # noqa: S108
        options += ["--tmpfs", f"{folder}:rw,nosuid,nodev,exec,mode=1777"]
    options += ["--volume", f"{spec.handover}:{INSIDE}:ro", "--volume", f"{spec.workspace}:{spec.workspace}:rw"]
    # Docker's own --dns warns whoever runs the command.
    options += ["--volume", f"{spec.handover / RESOLVER}:/etc/resolv.conf:ro"]
    for path in spec.readable:
        options += ["--volume", f"{path}:{path}:ro"]
    return [*options, "--workdir", str(spec.workspace)]
