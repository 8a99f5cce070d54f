"""Where probes run: a network of its own in which somebody counts what arrives, planted secrets, and two ways to try,
inside a sandbox and without one.
"""

import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.line import proxy_secret
from runner.probes import hellos
from runner.probes.canary import Canary
from runner.probes.machine import CREDENTIALS
from runner.probes.probe import ADDRESSES, ALLOWED, EVIL, METADATA, RESOLVER

SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "X77", "agent.sock", "bus")
SESSION, TOKEN = "00000000-0000-4000-8000-000000000001", "dbs_of_the_laboratory"
HOSTS = {
    **dict.fromkeys(("allowed.probe", "secure.probe", "inspected.probe"), [ALLOWED]),
    **dict.fromkeys(("evil.probe", "allowed.probe.evil.probe"), [EVIL]),
    "rebound.probe": ["127.0.0.1"],
    "cloud.probe": [METADATA],
}


@dataclass
class Laboratory:
    """Used as a context, in a network namespace of its own. `gateways` are the addresses of the one that is probed."""

    folder: Path
    secret: str = field(default_factory=lambda: secrets.token_hex(12))
    gateways: list[str] = field(default_factory=list)

    def __enter__(self) -> "Laboratory":
        self._open = ExitStack()
        try:
            prepare_network()
            self.canary = self._open.enter_context(Canary())
            self._plant()
            self._open.enter_context(
                _listening([self.folder / one for one in SOCKETS], f"drawbridge-probe-{self.secret}")
            )
            self.decoy = self._open.enter_context(_decoy(self.secret))
            self._start_gateway()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def workspace(self) -> Path:
        return self.folder / "work"

    @property
    def handover(self) -> Path:
        return self.folder / "handover"

    def filled(self, arguments: Mapping[str, Any], nonce: str, handover: str) -> dict[str, Any]:
        """The arguments with everything put in that is known only here."""
        known = {
            "nonce": nonce,
            "secret": self.secret,
            "lab": str(self.folder),
            "workspace": str(self.workspace),
            "handover": handover,
            "ech": hellos.encrypted("secure.probe").hex(),
            "plain": b"SSH-2.0-probe\r\n".hex(),
        }

        def fill(value: Any) -> Any:
            if isinstance(value, str):
                if value == "{decoy}":
                    return self.decoy
                for name, text in known.items():
                    value = value.replace(f"{{{name}}}", text)
                return value
            if isinstance(value, list | tuple):
                return [fill(one) for one in value]
            return {name: fill(one) for name, one in value.items()} if isinstance(value, dict) else value

        return {name: fill(value) for name, value in arguments.items()}

    def _plant(self) -> None:
        """Secrets at the places where people keep them, and what must not be written to."""
        for path in CREDENTIALS:
            file = self.folder / "home" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"planted {self.secret}\n")
        for name in ("outside", ".git/hooks", "work", "handover"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.handover / "handed").write_text("handed over\n")
        shutil.copy(Path(__file__).with_name("inside.py"), self.workspace / "probe.py")
        os.environ["DRAWBRIDGE_PROBE_SECRET"] = self.secret
        os.environ["SSH_AUTH_SOCK"] = str(self.folder / "agent.sock")
        os.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={self.folder / 'bus'}"

    def _start_gateway(self) -> None:
        try:
            from gateway.alone import Alone
        except ImportError:
            return
        digest = hashlib.sha256(proxy_secret(TOKEN).encode()).hexdigest()
        alone = self._open.enter_context(Alone(document(), digest, HOSTS, RESOLVER))
        self.gateways.append(f"127.0.0.1:{alone.port}")


def document() -> dict[str, Any]:
    """What is allowed in the laboratory."""
    there: dict[str, Any] = {"network": "203.0.113.0/24", "methods": ["GET", "POST"], "path": "/ok/"}
    blind = {"network": "203.0.113.0/24", "methods": None, "path": None}
    rules: Sequence[tuple[str, str, str, int, Mapping[str, Any]]] = (
        ("inspect", "http", "allowed.probe", 80, there),
        ("tunnel", "tls", "secure.probe", 443, blind),
        ("inspect", "https", "inspected.probe", 443, there),
        ("inspect", "http", "rebound.probe", 8080, {**there, "network": None}),
        ("inspect", "http", "cloud.probe", 80, {**there, "network": None}),
    )
    empty = {"inject": None, "listen": None, "not_after": None}
    return {
        "v": 1,
        "session": SESSION,
        "serial": 1,
        "grant_hash": "0" * 64,
        "not_after": "2099-01-01T00:00:00Z",
        "ask": "https://drawbridge.invalid/",
        "rules": [
            {"id": f"1.{number}", "mode": mode, "scheme": scheme, "host": host, "port": port, **empty, **more}
            for number, (mode, scheme, host, port, more) in enumerate(rules, 1)
        ],
    }


def prepare_network() -> None:
    """All addresses on the loopback of this namespace, which has no way to any other."""
    run = ["ip", "link", "set", "lo", "up"]
    subprocess.run(run, check=True, capture_output=True)
    for one in ADDRESSES:
        width = ["128", "nodad"] if ":" in one else ["32"]
        command = ["ip", "addr", "add", f"{one}/{width[0]}", "dev", "lo", *width[1:]]
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def _listening(paths: Sequence[Path], abstract: str) -> Iterator[None]:
    """Unix sockets that take whoever comes."""
    with ExitStack() as stack:
        for name in (*map(str, paths), f"\0{abstract}"):
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(name)
            made.listen(16)
            threading.Thread(target=_accept, args=(made,), daemon=True).start()
        yield


def _accept(made: socket.socket) -> None:
    with suppress(OSError):
        while True:
            made.accept()[0].close()


@contextmanager
def _decoy(secret: str) -> Iterator[int]:
    """A process of somebody else, with a secret in its arguments and in its variables."""
    command = [sys.executable, "-c", "import time; time.sleep(900)", secret]
    decoy = subprocess.Popen(command, env={**os.environ, "DECOY": secret}, stdin=subprocess.DEVNULL)
    try:
        yield decoy.pid
    finally:
        decoy.kill()
        decoy.wait()


def as_line(what: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps([what, json.dumps(dict(arguments))])
