"""A gateway as a whole: its listener, its line to the control plane, its spool."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import structlog

from gateway.control import Control
from gateway.entrance import serve
from gateway.gate import Gate
from gateway.record import Recorder, spool
from gateway.resolving import Resolver, hosts_lookup, system_lookup
from gateway.settings import Settings, own_addresses
from gateway.wire import Wire

logger = structlog.get_logger()

MOST_CONNECTIONS = 20_000
GOODBYE_S = 3.0


@dataclass(frozen=True)
class Running:
    """A gateway at work. `line` ends only when something is broken: then the process must."""

    gate: Gate
    port: int
    line: "asyncio.Task[None]"


class Listener:
    """Takes connections, and remembers them so that all can be ended."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._visits: set[asyncio.Task[None]] = set()

    def accepted(self, wire: Wire) -> None:
        if len(self._visits) >= MOST_CONNECTIONS:
            wire.abort()
            return
        visit = asyncio.get_running_loop().create_task(serve(self._gate, wire))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def end(self) -> None:
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """At the end every session is cut and acknowledged."""
    headers = {"Authorization": f"Bearer {settings.token}", "User-Agent": "drawbridge-gateway"}
    base = f"{settings.control_url}/api/v1/gateways/"
    with httpx.Client(base_url=base, headers=headers, trust_env=False) as sending:
        kept = spool(settings.spool / "events", sending)
        recorder = Recorder(kept)
        try:
            async with (
                httpx.AsyncClient(base_url=base, headers=headers, trust_env=False) as http,
                _gate(settings, http, recorder) as (gate, line),
                _listening(gate, settings) as port,
            ):
                yield Running(gate, port, line)
        finally:
            recorder.close()
            await asyncio.to_thread(kept.close)


@asynccontextmanager
async def _gate(
    settings: Settings, http: httpx.AsyncClient, recorder: Recorder
) -> AsyncIterator[tuple[Gate, "asyncio.Task[None]"]]:
    control = Control(http, settings.keys, recorder, settings.address)
    lookup = hosts_lookup(settings.hosts) if settings.hosts is not None else system_lookup
    resolver = Resolver(lookup, own_addresses(*settings.listen))
    if settings.sockets is not None:
        settings.sockets.mkdir(parents=True, exist_ok=True)
        settings.sockets.chmod(0o711)
    gate = Gate(control, recorder, resolver, _tls(settings), settings.sockets)
    line = asyncio.create_task(control.run())
    try:
        yield gate, line
    finally:
        line.cancel()
        await asyncio.gather(line, return_exceptions=True)


@asynccontextmanager
async def _listening(gate: Gate, settings: Settings) -> AsyncIterator[int]:
    listener = Listener(gate)
    server = await asyncio.get_running_loop().create_server(
        lambda: Wire(listener.accepted), *settings.listen, backlog=1_024
    )
    port = server.sockets[0].getsockname()[1]
    logger.info("listening", address=settings.address, port=port)
    try:
        yield port
    finally:
        server.close()
        await gate.control.close(GOODBYE_S)
        await listener.end()


def _tls(settings: Settings) -> ssl.SSLContext:
    """Towards far ends: their certificates are checked against the system's list, and the file of the operator."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    return context
