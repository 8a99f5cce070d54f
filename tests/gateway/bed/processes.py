"""`python -m gateway` under a control plane of the bed, as a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server, socket

from tests.gateway.bed.control_plane import TOKEN, ControlPlane

REPOSITORY = Path(__file__).resolve().parent.parent.parent.parent
UP_S = 30.0


@dataclass(frozen=True)
class GatewayProcess:
    """Where it listens, and its pid."""

    port: int
    pid: int

    @property
    def resident_kib(self) -> int:
        return self._status("VmRSS:")

    @property
    def peak_kib(self) -> int:
        return self._status("VmHWM:")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


@contextmanager
def gateway_process(
    plane: ControlPlane, folder: Path, hosts: str, ca_file: Path | None = None
) -> Iterator[GatewayProcess]:
    """As soon as it has its lease. Its log is in the folder."""
    port = free_port()
    folder.mkdir()
    (folder / "hosts").write_text(hosts)
    (folder / "token").write_text(TOKEN)
    env = {
        "GATEWAY_CONTROL_URL": plane.url,
        "GATEWAY_TOKEN_FILE": str(folder / "token"),
        "GATEWAY_POLICY_KEYS": plane.policy_keys,
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_SPOOL": str(folder / "spool"),
        "GATEWAY_HOSTS": str(folder / "hosts"),
        **({"GATEWAY_CA_FILE": str(ca_file)} if ca_file else {}),
    }
    with listening([sys.executable, "-m", "gateway"], port, {**os.environ, **env}, folder / "log") as pid:
        yield GatewayProcess(port, pid)


@contextmanager
def listening(
    argv: Sequence[str | Path], port: int, env: Mapping[str, str] | None = None, log: Path = Path(os.devnull)
) -> Iterator[int]:
    """The pid, as soon as somebody listens. Raises RuntimeError where nobody ever does."""
    with (
        log.open("wb") as out,
        subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=out, stderr=out, env=env) as started,
    ):
        try:
            deadline = time.monotonic() + UP_S
            while not is_listening(port):
                if started.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{argv[0]} does not listen")
                time.sleep(0.05)
            yield started.pid
        finally:
            started.terminate()


def is_listening(port: int) -> bool:
    with closing(socket()) as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with closing(create_server(("127.0.0.1", 0))) as made:
        port: int = made.getsockname()[1]
        return port
