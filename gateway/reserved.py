"""The names that are the gateway itself (docs/gateway.md): another proxy connection, DNS, a socket, CA and rules."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import orjson

from gateway import dns
from gateway.conversation import Conversation
from gateway.gate import Gate
from gateway.head import Head
from gateway.live import Hold, Live
from gateway.names import Authority, Host
from gateway.policy import Policy, Rule
from gateway.wire import Wire

SUFFIX = "drawbridge.internal"
GATEWAY, PROXY, DNS, SANDBOX = (f"{name}.{SUFFIX}" for name in ("gateway", "proxy", "dns", "sandbox"))

Serve = Callable[[Gate, Wire, Live], Awaitable[None]]


@dataclass(frozen=True)
class Opened:
    """What follows after the 200. `again`: a new proxy connection, signed in."""

    serve: Callable[[Wire], Awaitable[None]]
    headers: bytes = b""
    again: bool = False


def is_reserved(host: Host) -> bool:
    return host.text == SUFFIX or host.text.endswith(f".{SUFFIX}")


async def opened(gate: Gate, live: Live, where: Authority, serve: Serve) -> Opened | None:
    """For CONNECT to a reserved name; None where there is nothing."""
    place = where.host.text, where.port
    if place == (PROXY, 1):
        return Opened(lambda wire: serve(gate, wire, live), again=True)
    if place == (DNS, 53):
        return Opened(partial(dns.serve, gate, live))
    if place == (SANDBOX, 1) and gate.sockets is not None:
        return await _socket(gate, live, serve)
    return None


def answered(live: Live, host: Host, head: Head, talk: Conversation) -> bool:
    """For a GET of a reserved name. True if the connection may go on."""
    talk.begin(head)
    if host.text == GATEWAY and head.target == b"/ca.pem":
        return talk.whole(200, live.authority.pem, "application/x-pem-file", close=False)
    if host.text == GATEWAY and head.target == b"/policy":
        return talk.whole(200, described(live.policy), "application/json", close=False)
    there = b'{"title": "There is /ca.pem and /policy here.", "status": 404}'
    return talk.whole(404, there, "application/problem+json")


def described(policy: Policy) -> bytes:
    """What is allowed, for people and tools. No secret is in it."""
    content = {
        "session": policy.session,
        "serial": policy.serial,
        "not_after": policy.not_after.isoformat(),
        "ask": policy.ask,
        "rules": [_described(rule) for rule in policy.rules],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _described(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "mode": rule.mode,
        "scheme": rule.scheme,
        "host": rule.host,
        "port": rule.port,
        "methods": sorted(rule.methods) if rule.methods is not None else None,
        "path": rule.path,
        "listen": rule.listen,
        "inject": {"as": rule.inject.kind, "name": rule.inject.name or None} if rule.inject is not None else None,
        "not_after": rule.not_after.isoformat() if rule.not_after is not None else None,
    }


async def _socket(gate: Gate, live: Live, serve: Serve) -> Opened:
    """A unix socket whose connections are signed in. Its name cannot be guessed, and it is gone with the connection."""
    assert gate.sockets is not None
    path = gate.sockets / f"{secrets.token_urlsafe(16)}.sock"
    visits: set[asyncio.Task[None]] = set()

    def accepted(wire: Wire) -> None:
        visit = asyncio.get_running_loop().create_task(_visited(wire))
        visits.add(visit)
        visit.add_done_callback(visits.discard)

    async def _visited(wire: Wire) -> None:
        await serve(gate, wire, live)

    server = await asyncio.get_running_loop().create_unix_server(lambda: Wire(accepted), str(path))
    path.chmod(0o666)

    async def until_over(wire: Wire) -> None:
        try:
            with Hold(live) as hold:
                hold.add(wire)
                while await wire.read():
                    pass
        finally:
            server.close()
            with suppress(OSError):
                path.unlink(missing_ok=True)
            for visit in visits:
                visit.cancel()

    return Opened(until_over, b"Drawbridge-Socket: %b\r\n" % str(path).encode())
