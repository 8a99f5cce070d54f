"""A gateway without a control plane, for probes: one session with rules of its own, in a network where nobody else is.

It decides, records and refuses with the same code as any other. What it records stays in memory.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, cast

import dns.message
import dns.rdatatype

from gateway.control import Control
from gateway.entrance import serve
from gateway.gate import Gate
from gateway.known_secrets import KnownSecrets
from gateway.live import Live, Passage
from gateway.policy import Policy
from gateway.record import Recorder
from gateway.resolving import Resolver
from gateway.wire import Wire


class _Kept:
    """A recorder that keeps events in memory."""

    name = "alone"

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    async def keep(self, session: str, kind: str, data: Mapping[str, Any], outcome: str = "success") -> str:
        return self.note(session, kind, data, outcome)

    def note(self, session: str, kind: str, data: Mapping[str, Any], outcome: str = "success") -> str:
        self.events.append((kind, dict(data)))
        return str(len(self.events))


class _Roster:
    def __init__(self, live: Live) -> None:
        self._live = live

    async def find(self, session: str, proxy_secret: str) -> Live | None:
        return self._live if session == self._live.id and self._live.knows(proxy_secret) else None


class _Control:
    """Always there: what happens without a lease is not what is probed here."""

    leased = True

    def __init__(self, live: Live) -> None:
        self.roster = _Roster(live)

    def check(self) -> None:
        """A lease that does not lapse."""


class Alone:
    """Used as a context, in a thread of its own. `hosts` are all the names that it knows."""

    def __init__(
        self, document: Mapping[str, Any], proxy_sha256: str, hosts: Mapping[str, Sequence[str]], resolver: str
    ) -> None:
        self._passage = Passage(Policy.read(document), proxy_sha256, KnownSecrets())
        self._hosts = {name: [ip_address(one) for one in found] for name, found in hosts.items()}
        self._recorder, self._resolver = _Kept(), resolver
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    @property
    def events(self) -> list[tuple[str, Mapping[str, Any]]]:
        return self._recorder.events

    def __enter__(self) -> "Alone":
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    async def _listen(self) -> int:
        live = Live(self._passage)
        control, recorder = cast(Control, _Control(live)), cast(Recorder, self._recorder)
        gate = Gate(control, recorder, Resolver(self._found), ssl.create_default_context())
        self._visits: set[asyncio.Task[None]] = set()

        def accepted(wire: Wire) -> None:
            visit = self._loop.create_task(serve(gate, wire))
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)

        server = await self._loop.create_server(lambda: Wire(accepted), "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        gate.resolver.own = frozenset({(ip_address("127.0.0.1"), port)})
        self._server = server
        return port

    async def _found(self, name: str) -> Sequence[Any]:
        """A name that it does not know is asked of the resolver, where somebody counts what is asked."""
        if name in self._hosts:
            return self._hosts[name]
        question = dns.message.make_query(name, dns.rdatatype.A)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.sendto(question.to_wire(), (self._resolver, 53))
        raise OSError(f"{name} is not known")
