"""Open tunnels in a process of their own, and when each of them ended.

Reads one JSON object from standard input ({"port", "pace_s", "tunnels": [{"gateway", "target", "authorization"}]}),
opens each through its gateway, to a far end on that port which sends a few bytes every `pace_s`, and says "ready" when
each has had some. The next line asks for the times: as soon as all have ended, or after a minute, it answers {"last",
"ended", "open"}: for each tunnel the second (of the machine's monotonic clock) of the last byte that came through, and
of its end.
"""

import asyncio
import json
import os
import resource
import sys
import time
from typing import Any

BYTES = b"0123456789abcdef\n"
AT_ONCE = 32
PATIENCE_S = 60.0


class Tunnel:
    """One connection. `ended` is 0.0 while it lives."""

    def __init__(self) -> None:
        self.last = self.ended = 0.0
        self.begun, self.over = asyncio.Event(), asyncio.Event()

    async def run(self, asked: dict[str, Any]) -> None:
        host, _, port = asked["gateway"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        target, signed = asked["target"], asked["authorization"]
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {signed}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        try:
            while await reader.read(4_096):
                self.last = time.monotonic()
                self.begun.set()
        except ConnectionError:
            pass
        self.ended = time.monotonic()
        self.over.set()
        writer.close()


async def main() -> None:
    asked = json.loads(sys.stdin.readline())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def sends(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(BYTES)
                await writer.drain()
                await asyncio.sleep(asked["pace_s"])
        except ConnectionError:
            writer.close()

    await asyncio.start_server(sends, "127.0.0.1", asked["port"], backlog=2_048)
    tunnels, running = [Tunnel() for _ in asked["tunnels"]], []
    turn = asyncio.Semaphore(AT_ONCE)

    async def opened(tunnel: Tunnel, wanted: dict[str, Any]) -> None:
        async with turn:
            running.append(asyncio.create_task(tunnel.run(wanted)))
            done, _ = await asyncio.wait(
                {running[-1], asyncio.create_task(tunnel.begun.wait())}, return_when="FIRST_COMPLETED"
            )
            if running[-1] in done:
                running[-1].result()

    await asyncio.gather(*(opened(*pair) for pair in zip(tunnels, asked["tunnels"], strict=True)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(one.over.wait() for one in tunnels))
    except TimeoutError:
        pass
    answer = {
        "last": [one.last for one in tunnels],
        "ended": [one.ended for one in tunnels],
        "open": sum(not one.ended for one in tunnels),
    }
    print(json.dumps(answer), flush=True)
    # The far end's tasks have nothing to tidy up.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
