"""A gateway of its own for the runner's tests: a process, on the test run's control plane."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from sessions.models import Gateway
from tests import factories
from tests.serving import REPOSITORY, free_port
from tests.waiting import eventually


@contextmanager
def gateway(
    url: str, environment: Mapping[str, str], folder: Path, hosts: str = "", ca_file: Path | None = None
) -> Iterator[Gateway]:
    """`python -m gateway` with a lease. `hosts` is what it knows beside DNS, `ca_file` whom it believes besides."""
    row, token = factories.gateway(lease_s=None)
    folder.mkdir()
    (folder / "token").write_text(token)
    (folder / "hosts").write_text(hosts)
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "GATEWAY_CONTROL_URL": url,
        "GATEWAY_POLICY_KEYS": environment["GATEWAY_POLICY_KEYS"],
        "GATEWAY_TOKEN_FILE": str(folder / "token"),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_SPOOL": str(folder / "spool"),
        "GATEWAY_HOSTS": str(folder / "hosts"),
        **({"GATEWAY_CA_FILE": str(ca_file)} if ca_file else {}),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "gateway"], cwd=REPOSITORY, env=env, stdout=log, stderr=log)
    try:
        eventually(lambda: _leased(port))
        yield row
    finally:
        process.terminate()
        assert process.wait(10) == 0, (folder / "log").read_text()
        Gateway.objects.filter(pk=row.pk).update(lease_until=None)


def _leased(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
