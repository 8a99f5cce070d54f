"""A connection from a sandbox: whose it is, and what it speaks. Whatever goes wrong here passes nothing."""

import asyncio
import base64
import binascii
from contextlib import ExitStack
from dataclasses import replace

import orjson
import structlog

from gateway import reserved, socks
from gateway.connecting import Connecting
from gateway.conversation import Conversation
from gateway.denial import MEDIA_TYPE, Denial
from gateway.errors import BadName, Denied
from gateway.exchange import Exchange
from gateway.gate import Gate, Target, refuse
from gateway.head import Head
from gateway.live import Hold, Live
from gateway.names import Authority
from gateway.policy import Code, Verdict, deny
from gateway.socks import BadSocks
from gateway.strict import BadRequest
from gateway.wire import Wire

logger = structlog.get_logger()

FIRST_S = 60.0
SIGN_IN = (b"Proxy-Authenticate", b'Basic realm="Drawbridge session"')
WHO = (
    "This proxy serves sessions of Drawbridge: sign in with a session's id and its proxy secret (drawbridge run does)."
)


async def serve(gate: Gate, wire: Wire, live: Live | None = None, *, nested: bool = False) -> None:
    """Until the connection ends. With a `live` it is signed in already."""
    visit = _Visit(gate, wire, live, nested)
    try:
        first = await wire.read(FIRST_S)
        if first:
            wire.unread(first)
            with visit.holding:
                await (visit.socks() if first[0] == socks.VERSION else visit.http())
    except (ConnectionError, TimeoutError):
        wire.abort()
    except Exception:
        # Closed, whatever it was: nothing may pass that was not decided.
        logger.exception("connection_failed")
        wire.abort()
    finally:
        wire.close()


class _HttpAnswer:
    def __init__(self, talk: Conversation, wire: Wire) -> None:
        self._talk, self._wire = talk, wire

    def granted(self) -> None:
        self._wire.unread(self._talk.leftover())
        self._wire.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def refused(self, denial: Denial) -> None:
        self._talk.whole(denial.status, denial.body(), MEDIA_TYPE)

    def failed(self, why: str) -> None:
        self._talk.whole(502, _problem(502, "The far end fails", why, retry=True), MEDIA_TYPE)


class _SocksAnswer:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def granted(self) -> None:
        self._wire.write(socks.reply(socks.GRANTED))

    def refused(self, _: Denial) -> None:
        self._wire.write(socks.reply(socks.NOT_ALLOWED))

    def failed(self, _: str) -> None:
        self._wire.write(socks.reply(socks.UNREACHABLE))


class _Visit:
    """One connection. `holding` lets a cut end it, from when it is known whose it is."""

    def __init__(self, gate: Gate, wire: Wire, live: Live | None, nested: bool) -> None:
        self._gate, self._wire, self._nested = gate, wire, nested
        self.holding = ExitStack()
        self._live: Live | None = None
        self._said: bytes | None = None
        if live is not None:
            self._belongs(live)

    def _belongs(self, live: Live) -> Live:
        if self._live is None:
            self._live = live
            self.holding.enter_context(Hold(live)).add(self._wire)
        return live

    async def http(self) -> None:
        talk = Conversation(self._wire)
        try:
            while (head := await talk.head()) is not None:
                if not await self._request(talk, head):
                    return
        except (BadRequest, BadName) as error:
            code = Code.BAD_NAME if isinstance(error, BadName) else Code.BAD_REQUEST
            await self._refused(talk, deny(code, str(error)), Target("", 0, "proxy"))
        except Denied as denied:
            await self._refused(talk, denied.verdict, Target("", 0, "proxy"))

    async def _request(self, talk: Conversation, head: Head) -> bool:
        """True if the connection may go on."""
        if self._live is None and head.target == b"/healthz":
            return self._health(talk)
        self._gate.control.check()
        live = await self._signed_in(head)
        if live is None:
            return talk.whole(407, _problem(407, "Sign in", WHO, retry=False), MEDIA_TYPE, SIGN_IN)
        if head.method == b"CONNECT":
            await self._connect(talk, head, live)
            return False
        return await self._absolute(talk, head, live)

    def _health(self, talk: Conversation) -> bool:
        leased = self._gate.control.leased
        return talk.whole(200 if leased else 503, orjson.dumps({"leased": leased}), "application/json")

    async def _signed_in(self, head: Head) -> Live | None:
        """Whose request it is: one connection is one session's. Raises BadRequest, Denied."""
        said = head.one(b"proxy-authorization")
        if self._live is not None and said in (None, self._said):
            return self._live
        name, secret = _basic(said) if said is not None else ("", "")
        live = await self._gate.control.roster.find(name, secret)
        if live is None:
            return None
        if self._live not in (None, live):
            raise BadRequest("A connection belongs to one session.")
        self._said = said
        return self._belongs(live)

    async def _connect(self, talk: Conversation, head: Head, live: Live) -> None:
        where = Authority.read(head.target.decode("latin-1"))
        named = head.one(b"host")
        if named is not None and Authority.read(named.decode("latin-1"), where.port) != where:
            said = f"CONNECT is to {where}, and its Host header says another."
            target = Target(where.host.text, where.port, "connect", other=named.decode("latin-1").rpartition(":")[0])
            await self._refused(talk, deny(Code.NAMES_DISAGREE, said), target)
            return
        if reserved.is_reserved(where.host):
            await self._reserved(talk, where, live)
            return
        answer = _HttpAnswer(talk, self._wire)
        await Connecting(self._gate, live, self._wire, where.host, where.port, answer, "connect").run()

    async def _reserved(self, talk: Conversation, where: Authority, live: Live) -> None:
        said = await reserved.opened(self._gate, live, where, serve)
        if said is None or (said.again and self._nested):
            verdict = deny(Code.NO_RULE, f"There is nothing at {where}.")
            await self._refused(talk, verdict, Target(where.host.text, where.port, "connect"))
            return
        self._wire.unread(talk.leftover())
        self._wire.write(b"HTTP/1.1 200 Connection established\r\n%b\r\n" % said.headers)
        if said.again:
            await serve(self._gate, self._wire, live, nested=True)
        else:
            await said.serve(self._wire)

    async def _absolute(self, talk: Conversation, head: Head, live: Live) -> bool:
        scheme, _, rest = head.target.partition(b"://")
        if scheme.lower() != b"http" or not rest:
            raise BadRequest("A proxy takes CONNECT for https, and http:// with a whole address.")
        cut = min(at for at in (rest.find(b"/"), rest.find(b"?"), len(rest)) if at >= 0)
        where = Authority.read(rest[:cut].decode("latin-1"), 80)
        path = rest[cut:] if rest[cut : cut + 1] == b"/" else b"/" + rest[cut:]
        inner = replace(head, target=path)
        if reserved.is_reserved(where.host):
            return reserved.answered(live, where.host, inner, talk)
        return await Exchange(self._gate, live, talk, "http", where.host, where.port, "absolute").run(inner)

    async def _refused(self, talk: Conversation, verdict: Verdict, target: Target) -> None:
        denial = Denial(verdict, target.host, target.port)
        if self._live is not None:
            denial = await refuse(self._gate, self._live, verdict, target)
        talk.whole(denial.status, denial.body(), MEDIA_TYPE)

    async def socks(self) -> None:
        answer = _SocksAnswer(self._wire)
        try:
            live = await self._greeted()
            if live is None:
                return
            asked = await socks.request(self._wire.exactly)
            connecting = Connecting(self._gate, live, self._wire, asked.host, asked.port, answer, "socks")
            await connecting.run()
        except BadSocks as bad:
            self._wire.write(bad.reply)
        except BadName as error:
            if self._live is not None:
                await refuse(self._gate, self._live, deny(Code.BAD_NAME, str(error)), Target("", 0, "socks"))
            self._wire.write(socks.reply(socks.NOT_ALLOWED))
        except Denied:
            self._wire.write(socks.reply(socks.FAILED))

    async def _greeted(self) -> Live | None:
        async with asyncio.timeout(FIRST_S):
            said = await socks.greeting(self._wire.exactly, self._wire.write, self._live is not None)
        if said is None:
            return self._live
        live = await self._gate.control.roster.find(*said)
        # The sub-negotiation's own version is 1 (RFC 1929).
        self._wire.write(b"\x01\x00" if live is not None else b"\x01\x01")
        return self._belongs(live) if live is not None else None


def _basic(said: bytes) -> tuple[str, str]:
    scheme, _, rest = said.partition(b" ")
    if scheme.lower() != b"basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


def _problem(status: int, title: str, detail: str, *, retry: bool) -> bytes:
    return orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, "retry": retry})
