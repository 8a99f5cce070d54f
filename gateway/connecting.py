"""CONNECT, whether by HTTP or by SOCKS5: a tunnel or a forward that passes blindly, or a place to look inside."""

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import clienthello
from gateway.clienthello import Hello
from gateway.conversation import Conversation
from gateway.denial import Denial
from gateway.errors import BadHello, BadName, Denied
from gateway.exchange import Exchange
from gateway.gate import Gate, Target, now, refuse
from gateway.live import Hold, Live
from gateway.names import Host
from gateway.policy import Code, Mode, Policy, Rule, Verdict, deny, opening
from gateway.resolving import UpstreamError, dial
from gateway.strict import BadRequest
from gateway.wire import Stream, TlsWire, Wire

HELLO_S, HANDSHAKE_S, IDLE_S, LOOK_S = 20.0, 20.0, 3_600.0, 30.0
# A fatal alert "access_denied" (RFC 8446 section 6), for those who have begun TLS already.
ALERT = b"\x15\x03\x03\x00\x02\x02\x31"


class Answer(Protocol):
    """How a client is told, in the protocol that it speaks."""

    def granted(self) -> None: ...
    def refused(self, denial: Denial) -> None: ...
    def failed(self, why: str) -> None: ...


@dataclass
class Connecting:
    """One attempt to open something. `granted`: the client was told yes. `other`: the host that TLS names instead."""

    gate: Gate
    live: Live
    wire: Wire
    host: Host
    port: int
    answer: Answer
    door: str
    granted: bool = False
    other: str = ""

    async def run(self) -> None:
        try:
            self.gate.control.check()
            verdict = opening(self.live.policy, self.host, self.port, now())
            if verdict.rule is None:
                raise Denied(verdict)
            if verdict.rule.mode is Mode.INSPECT:
                await self._inspect()
            else:
                await self._pass(verdict.rule)
        except Denied as denied:
            await self._refused(denied.verdict)
        except UpstreamError as error:
            if self.granted:
                self.wire.abort()
            else:
                self.answer.failed(str(error))

    def _grant(self) -> None:
        self.granted = True
        self.answer.granted()

    async def _refused(self, verdict: Verdict) -> None:
        literal = self.host.address is not None
        target = Target(self.host.text, self.port, self.door, other=self.other, literal=literal)
        denial = await refuse(self.gate, self.live, verdict, target)
        if self.granted:
            self.wire.write(ALERT)
            self.wire.close()
        else:
            self.answer.refused(denial)

    async def _pass(self, rule: Rule) -> None:
        found = await self.gate.resolver.checked(self.host, self.port, rule)
        where = {"mode": rule.mode, "host": self.host.text, "port": self.port, "rule": rule.id}
        opened = await self.gate.recorder.keep(self.live.id, "egress.opened", {**where, "address": str(found[0])})
        began = time.monotonic()
        with Hold(self.live, allowed=lambda policy, at: self._is_allowed(policy, at, rule)) as hold:
            hold.add(self.wire)
            why, far = "failed", None
            try:
                self._check(hold)
                far, _ = await dial(found, self.port, self.host)
                hold.add(far)
                self._check(hold)
                self._grant()
                if rule.mode is Mode.TUNNEL:
                    self._check_name(await self._hello())
                    self._check(hold)
                self.wire.bridge(far)
                why = await _until_over(self.wire, far)
            except Denied:
                why = "denied"
                raise
            finally:
                if far is not None:
                    far.abort()
                told = {**where, "opened": opened, **_counted(self.wire, far, began), "why": hold.why or why}
                self.gate.recorder.note(self.live.id, "egress.closed", told)

    def _is_allowed(self, policy: Policy, at: Any, rule: Rule) -> bool:
        verdict = opening(policy, self.host, self.port, at)
        return verdict.rule is not None and verdict.rule.mode is rule.mode

    def _check(self, hold: Hold) -> None:
        self.gate.control.check()
        hold.check()

    async def _hello(self) -> Hello:
        """Looks at it, and leaves it where it was. Raises Denied where it is none."""
        data = b""
        try:
            until = time.monotonic() + HELLO_S
            while True:
                more = await self.wire.read(until - time.monotonic())
                data += more
                hello = clienthello.read(data)
                if hello is not None:
                    self.wire.unread(data)
                    return hello
                if not more:
                    raise BadHello("The client ended before it said which host it wants.")
        except (BadHello, TimeoutError) as error:
            text = str(error) or "The client does not say which host it wants."
            raise Denied(deny(Code.NOT_TLS, f"{self.host.bracketed}:{self.port}: {text}")) from error

    def _check_name(self, hello: Hello) -> None:
        """Raises Denied where the name inside is another one than outside, is hidden, or is not there."""
        where = f"{self.host.bracketed}:{self.port}"
        if hello.hidden:
            raise Denied(deny(Code.HIDDEN_NAME, f"{where}: the real name is encrypted (ECH), and cannot be compared."))
        if hello.name is None:
            if self.host.address is None:
                raise Denied(deny(Code.NO_NAME, f"{where}: TLS without a name (SNI) may go to any host behind it."))
            return
        try:
            named = Host.read(hello.name)
        except BadName as error:
            raise Denied(deny(Code.BAD_NAME, str(error))) from error
        if named != self.host:
            self.other = named.text
            raise Denied(deny(Code.NAMES_DISAGREE, f"The connection is to {where}, and TLS asks for {named}."))

    async def _inspect(self) -> None:
        self._grant()
        first = await self.wire.read(HELLO_S)
        self.wire.unread(first)
        if not first:
            return
        stream: Stream = self.wire
        if first[0] == clienthello.HANDSHAKE:
            self._check_name(await self._hello())
            stream = await self._ended_tls()
        await self._talk(stream, "https" if stream is not self.wire else "http")

    async def _ended_tls(self) -> TlsWire:
        tls = TlsWire(self.wire, self.live.authority.context(self.host))
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await tls.handshake()
        except (ssl.SSLError, TimeoutError) as error:
            why = getattr(error, "reason", None) or "no end of the handshake"
            said = f"{self.host}: TLS failed ({why}). Does the client trust the session's CA?"
            raise Denied(deny(Code.NOT_TLS, said)) from error
        return tls

    async def _talk(self, stream: Stream, scheme: str) -> None:
        talk = Conversation(stream)
        exchange = Exchange(self.gate, self.live, talk, scheme, self.host, self.port, "inspect")
        try:
            while (head := await talk.head()) is not None:
                if not await exchange.run(head):
                    break
        except BadRequest as error:
            await exchange.malformed(str(error))
        stream.close()


def _counted(wire: Wire, far: Wire | None, began: float) -> dict[str, Any]:
    return {
        "sent_bytes": wire.received_bytes,
        "received_bytes": far.received_bytes if far is not None else 0,
        "elapsed_ms": round((time.monotonic() - began) * 1_000, 1),
    }


async def _until_over(wire: Wire, far: Wire) -> str:
    """Why it ended. What passes nothing for an hour is taken for dead."""
    seen, since = (-1, -1), time.monotonic()
    while not (await wire.is_lost(LOOK_S) and await far.is_lost(LOOK_S)):
        passed = wire.received_bytes, far.received_bytes
        if passed != seen:
            seen, since = passed, time.monotonic()
        elif time.monotonic() - since > IDLE_S:
            return "idle"
    return "end"
