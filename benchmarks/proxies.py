"""Proxies to measure, each a process of its own on a port of its own: the gateway, and its peers.

Each answers CONNECT for one far end on loopback. `authorization` is what a client has to show, if anything.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import node
from tests.gateway.bed.processes import free_port, listening

REPOSITORY = Path(__file__).resolve().parent.parent
LOCAL = REPOSITORY / ".local"
SQUID = """
http_port 127.0.0.1:{port}
acl bench dstdomain localhost
http_access allow bench
http_access deny all
hosts_file {folder}/hosts
cache deny all
cache_log {folder}/cache.log
access_log stdio:{folder}/access.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
shutdown_lifetime 1 seconds
cache_effective_user proxy
workers 1
"""


@dataclass(frozen=True)
class Proxy:
    """`host` is what the far end is called there."""

    port: int
    host: str
    authorization: str = ""
    ca_file: str = ""


@contextmanager
def squid(folder: Path) -> Iterator[Proxy]:
    port = free_port()
    folder.mkdir()
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    (folder / "squid.conf").write_text(SQUID.format(port=port, folder=folder))
    # It gives up root for the user that Debian makes for it.
    shutil.chown(folder, "proxy")
    folder.parent.chmod(0o755)
    with listening(["/usr/sbin/squid", "-N", "-n", f"bench{port}", "-f", folder / "squid.conf"], port):
        yield Proxy(port, "localhost")


@contextmanager
def sandbox_runtime() -> Iterator[Proxy]:
    script = node.installed().parent / "proxy.mjs"
    shutil.copy(REPOSITORY / "benchmarks/proxy.mjs", script)
    started = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        yield Proxy(int(started.stdout.readline()), "localhost")
    finally:
        started.communicate()


@contextmanager
def mitmproxy(folder: Path, far_ca: Path, header: str) -> Iterator[Proxy]:
    """It puts a header into each request, as ours does."""
    port, program = free_port(), mitmdump()
    argv: list[str | Path] = [
        program,
        "--quiet",
        "--listen-host",
        "127.0.0.1",
        "--listen-port",
        str(port),
        "--set",
        f"confdir={folder}",
    ]
    argv += ["--set", f"ssl_verify_upstream_trusted_ca={far_ca}", "--set", "connection_strategy=lazy"]
    argv += ["--modify-headers", f"/~q/{header.replace(': ', '/', 1)}"]
    with listening(argv, port):
        yield Proxy(port, "localhost", ca_file=str(folder / "mitmproxy-ca-cert.pem"))


def mitmdump() -> Path:
    """From its own lock, in an environment of its own: it wants other versions than we do."""
    lock, venv = REPOSITORY / "benchmarks/mitmproxy.lock", LOCAL / "mitmproxy"
    stamp, wanted = venv / "stamp", hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        uv: list[str | Path] = [LOCAL / "uv/bin/uv", "--system-certs"]
        subprocess.run([*uv, "venv", "-q", "--clear", "--python", sys.executable, venv], check=True)
        install: list[str | Path] = [
            "pip",
            "install",
            "-q",
            "--require-hashes",
            "--python",
            venv / "bin/python",
            "-r",
            lock,
        ]
        subprocess.run([*uv, *install], check=True)
        stamp.write_text(wanted)
    return venv / "bin/mitmdump"
