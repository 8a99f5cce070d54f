"""The only way out of a sandbox: ports on its own 127.0.0.1, whose connections are carried to a gateway from outside.

Nothing of ours runs inside, and nothing inside knows how to sign in at a gateway.
"""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runner.errors import RunnerError, Unreachable
from runner.line import DNS, PROXY, Line, Opened, Refusal

T = TypeVar("T")
PROXY_PORT, DNS_PORT = 3128, 53
ENTERED_S, ANSWER_S, PIECE = 20.0, 15.0, 256 * 1024
LONGEST_QUESTION = 4_096
NOT_THERE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n"
    b'{"title": "No gateway answers", "status": 503, "retry": true, "detail": "Drawbridge is not there now. Nothing '
    b'leaves this sandbox without it. Try again in a minute."}'
)


@dataclass(frozen=True)
class Forward:
    """A port inside that leads to one approved host and port."""

    listen: int
    host: str
    port: int

    @property
    def place(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Bridge:
    """Runs in a thread of its own, from `open` to `close`."""

    def __init__(self, line: Line, ca_file: Path, own_ca: bytes) -> None:
        self._line, self._ca_file, self._own_ca = line, ca_file, own_ca
        self._known: set[bytes] = set()
        self._from = ""
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions: asyncio.Lock | None = None
        self._dns: Opened | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="bridge", daemon=True)
        self._thread.start()

    def forwards(self) -> list[Forward]:
        """The forwards that the session's policy has. Raises Unreachable."""
        policy = self._do(self._line.policy())
        forwards = [one for one in policy["rules"] if one["mode"] == "forward"]
        return [Forward(one["listen"] or one["port"], one["host"], one["port"]) for one in forwards]

    def injections(self) -> list[tuple[str, str]]:
        """For each rule that puts a credential in: the host, and how."""
        policy = self._do(self._line.policy())
        return [(one["host"], one["inject"]["as"]) for one in policy["rules"] if one.get("inject")]

    def fetch_ca(self) -> None:
        """The bundle that tools inside trust: this machine's own, and the session's authority. Raises Unreachable."""
        self._do(self._fetch_ca())

    def open(self, network: Path, forwards: Sequence[Forward]) -> None:
        """Listen inside the network namespace. Raises RunnerError where that cannot be done."""
        wanted = [f"tcp:{PROXY_PORT}", f"tcp:{DNS_PORT}", f"udp:{DNS_PORT}", *(f"tcp:{one.listen}" for one in forwards)]
        proxy, dns, datagrams, *rest = entered(network, wanted)
        self._do(self._serve(proxy, partial(self._line.open, PROXY)))
        self._do(self._serve(dns, partial(self._line.open, DNS)))
        self._do(self._answer_datagrams(datagrams))
        for listener, forward in zip(rest, forwards, strict=True):
            self._do(self._serve(listener, partial(self._line.open, forward.where)))

    def close(self) -> None:
        with suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, listener: socket.socket, opening: Callable[[], Awaitable[Opened]]) -> None:
        listener.setblocking(False)

        async def accept() -> None:
            with listener:
                while True:
                    connection, _ = await self._loop.sock_accept(listener)
                    self._keep(self._carry(connection, opening))

        self._keep(accept())

    async def _carry(self, connection: socket.socket, opening: Callable[[], Awaitable[Opened]]) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=PIECE)
        opened: Opened | None = None
        try:
            opened = await opening()
            await self._noticed(opened)
            await asyncio.gather(_pump(reader, opened.writer), _pump(opened.reader, writer))
        except Refusal as refusal:
            writer.write(refusal.answer)
        except Unreachable:
            writer.write(NOT_THERE)
        except OSError:
            pass
        finally:
            for one in (writer, opened.writer if opened else None):
                if one is not None:
                    one.close()

    async def _noticed(self, opened: Opened) -> None:
        """Another gateway has another authority for the session: its certificates must be believed, too."""
        if opened.gateway != self._from:
            self._from = opened.gateway
            with suppress(Unreachable):
                await self._fetch_ca()

    async def _fetch_ca(self) -> None:
        pem, self._from = await self._line.get("/ca.pem")
        if pem not in self._known:
            self._known.add(pem)
            fresh = self._ca_file.with_suffix(".new")
            fresh.write_bytes(b"\n".join([self._own_ca, *sorted(self._known)]))
            fresh.chmod(0o444)
            fresh.replace(self._ca_file)

    async def _answer_datagrams(self, datagrams: socket.socket) -> None:
        datagrams.setblocking(False)
        self._questions = asyncio.Lock()

        async def serve() -> None:
            with datagrams:
                while True:
                    question, sender = await self._loop.sock_recvfrom(datagrams, LONGEST_QUESTION)
                    self._keep(answer(question, sender))

        async def answer(question: bytes, sender: object) -> None:
            with suppress(OSError, Unreachable, Refusal, TimeoutError, asyncio.IncompleteReadError):
                said = await self._asked(question)
                await self._loop.sock_sendto(datagrams, said, sender)  # type: ignore[arg-type]

        self._keep(serve())

    async def _asked(self, question: bytes) -> bytes:
        """One question after the other, on one connection that is opened anew when it was lost."""
        assert self._questions is not None
        async with self._questions, asyncio.timeout(ANSWER_S):
            for fresh in (self._dns is None, True):
                if fresh:
                    self._dns = await self._line.open(DNS)
                assert self._dns is not None
                try:
                    self._dns.writer.write(len(question).to_bytes(2, "big") + question)
                    length = int.from_bytes(await self._dns.reader.readexactly(2), "big")
                    return await self._dns.reader.readexactly(length)
                except (OSError, asyncio.IncompleteReadError):
                    self._dns.writer.close()
                    self._dns = None
                    if fresh:
                        raise
            raise Unreachable("No gateway answers.")


def entered(network: Path, wanted: Sequence[str]) -> list[socket.socket]:
    """Listeners inside a network namespace, in the order of `wanted`. Raises RunnerError."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "runner.enter", str(theirs.fileno()), str(network), *wanted]
        ended = subprocess.run(
            command,
            pass_fds=[theirs.fileno()],
            env={"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ENTERED_S,
        )
        if ended.returncode:
            said = (ended.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
            raise RunnerError(f"The sandbox has no way out: {said}.")
        _, numbers, _, _ = socket.recv_fds(ours, 1, len(wanted))
    return [socket.socket(fileno=number) for number in numbers]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()
