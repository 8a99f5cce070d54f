"""Viewers of one stream, in a process of their own so that they cost the measured one nothing but their connections.

Reads one JSON object from standard input ({"host", "port", "path", "cookies"}), opens one connection for each cookie,
and says "ready" when each has its first fragment. The next line of input is the number of the last event: as soon as
all have that, or after a minute, it answers with one JSON object: for each event, by number, when each viewer had it
(seconds of the machine's monotonic clock), and how many were cut off. All stay until standard input ends.
"""

import asyncio
import json
import re
import resource
import sys
import time
from collections import defaultdict

AT_ONCE = 32
PATIENCE_S = 300.0
ARRIVE_S = 60.0
ROW = re.compile(rb"event: row\nid: (\d+)\n")


class Viewer(asyncio.Protocol):
    """One connection. `arrivals` is shared by all, by event number."""

    def __init__(self, asked: bytes, arrivals: dict[int, list[float]]) -> None:
        self.asked, self.arrivals = asked, arrivals
        self.buffer = b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.asked)

    def data_received(self, data: bytes) -> None:
        """An event has arrived when the empty line that ends it has."""
        at = time.monotonic()
        *whole, self.buffer = (self.buffer + data).split(b"\n\n")
        for event in whole:
            self._take(event + b"\n", at)

    def _take(self, event: bytes, at: float) -> None:
        row = ROW.search(event)
        if row:
            self.arrivals[int(row[1])].append(at)
        elif b"event: fragment\n" in event and not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"cut off before the first fragment: {self.buffer[:200]!r}"))


def request(host: str, port: int, path: str, cookie: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}:{port}",
        f"Cookie: drawbridge={cookie}",
        "Accept: text/event-stream",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def crowd(asked: dict[str, object], commands: asyncio.StreamReader) -> dict[str, object]:
    host, port, path, cookies = str(asked["host"]), int(str(asked["port"])), str(asked["path"]), asked["cookies"]
    assert isinstance(cookies, list)
    arrivals: dict[int, list[float]] = defaultdict(list)
    viewers: list[Viewer] = []
    few = asyncio.Semaphore(AT_ONCE)

    async def come(cookie: str) -> None:
        async with few:
            connect = asyncio.get_running_loop().create_connection
            _, viewer = await connect(lambda: Viewer(request(host, port, path, cookie), arrivals), host, port)
            viewers.append(viewer)
            await viewer.ready

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for cookie in cookies:
            group.create_task(come(cookie))
    print("ready", flush=True)
    last = int(await commands.readline())
    ends = time.monotonic() + ARRIVE_S
    while len(arrivals[last]) < len(viewers) and time.monotonic() < ends:
        await asyncio.sleep(0.05)
    return {"arrivals": arrivals, "lost": sum(viewer.lost for viewer in viewers)}


async def main() -> None:
    commands = asyncio.StreamReader(limit=2**24)
    protocol = asyncio.StreamReaderProtocol(commands)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    print(json.dumps(await crowd(json.loads(await commands.readline()), commands)), flush=True)
    await commands.read()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main())
