"""A whole gateway in a thread of its own, and connections through it as clients make them."""

import asyncio
import base64
import shutil
import socket
import ssl
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop

from gateway import dsse
from gateway.server import Running, running
from gateway.settings import Settings
from tests.gateway.bed.control_plane import TOKEN, ControlPlane, Session


class GatewayThread:
    """`running` is the gateway itself, for tests that break a part of it."""

    def __init__(self, plane: ControlPlane, folder: Path, hosts: str, ca_file: Path | None = None) -> None:
        (folder / "hosts").write_text(hosts)
        self.settings = Settings(
            control_url=plane.url,
            token=TOKEN,
            keys=dsse.keys_of(plane.policy_keys),
            listen=("127.0.0.1", 0),
            address="127.0.0.1:0",
            spool=folder / "spool",
            sockets=Path(tempfile.mkdtemp(prefix="sockets-", dir="/tmp")),
            hosts=folder / "hosts",
            ca_file=ca_file,
        )
        self.running: Running
        self._connections: list[socket.socket] = []
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._work()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _work(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with running(self.settings) as self.running:
            while not self.running.gate.control.leased:
                await asyncio.sleep(0.01)
            self._ready.set()
            await self._over.wait()

    @property
    def port(self) -> int:
        return self.running.port

    def close(self) -> None:
        for one in self._connections:
            one.close()
        self.close_gently()

    def close_gently(self) -> None:
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.settings.sockets is not None:
            shutil.rmtree(self.settings.sockets, ignore_errors=True)

    def connection(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self._connections.append(connection)
        return connection

    def asks(self, raw: bytes) -> bytes:
        """All that comes back until the gateway ends the connection."""
        with self.connection() as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            return everything(connection)

    def connects(self, session: Session, where: str) -> "tuple[int, socket.socket]":
        """CONNECT: the status, and the connection with what follows still in it."""
        connection = self.connection()
        connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{signed_in(session)}\r\n".encode())
        return status_of(connection), connection

    def trusts(self, session: Session) -> ssl.SSLContext:
        """What a client has to know to speak TLS with this gateway for the session."""
        live = self.running.gate.control.roster.lives[session.id]
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=live.authority.pem.decode())
        return context

    def inside(self, session: Session, host: str, port: int, name: str | None = None) -> ssl.SSLSocket:
        """TLS through CONNECT, with an SNI of one's own choice."""
        status, connection = self.connects(session, f"{host}:{port}")
        assert status == 200
        return self.trusts(session).wrap_socket(connection, server_hostname=name or host)


def signed_in(session: Session) -> str:
    pair = base64.b64encode(f"{session.id}:{session.secret}".encode()).decode()
    return f"Proxy-Authorization: Basic {pair}\r\n"


def status_of(connection: socket.socket) -> int:
    """The status of an answer whose head is taken byte by byte: what follows stays."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        one = connection.recv(1)
        assert one, f"the gateway ended the connection: {head!r}"
        head += one
    return int(head.split(b" ")[1])


def everything(connection: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            data += more
    return data


def request(host: str, path: str, method: str = "GET", body: bytes = b"", **headers: Any) -> bytes:
    """A request with `Connection: close`."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"Content-Length: {len(body)}"] if body else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
