"""One HTTP request: decided, recorded, sent on, and its answer brought back looked through."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import websocket
from gateway.addresses import Address
from gateway.answering import BrokenAnswer
from gateway.carrying import Carrying, FarGone, Underway
from gateway.conversation import Conversation
from gateway.denial import MEDIA_TYPE
from gateway.errors import BadName, Denied
from gateway.gate import Gate, Target, now, refuse
from gateway.head import Head
from gateway.live import Hold, Live
from gateway.names import Authority, Host
from gateway.outgoing import Known, Leak, Outgoing, prepared
from gateway.policy import Code, Request, Rule, Verdict, decide, deny
from gateway.redaction import Hit, clean_text
from gateway.refusal import HeadError, InflationError, InjectionError, Refusal, SigningError
from gateway.resolving import UpstreamError, dial, dial_tls
from gateway.strict import BadRequest
from gateway.upstream import Upstream
from gateway.wire import Stream

# What may be asked again where a kept connection had gone away meanwhile.
SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
CODES: dict[type[Exception], Code] = {
    BadRequest: Code.BAD_REQUEST,
    HeadError: Code.BAD_REQUEST,
    InflationError: Code.BAD_REQUEST,
    BadName: Code.BAD_NAME,
    InjectionError: Code.CREDENTIAL,
    SigningError: Code.CREDENTIAL,
}


@dataclass
class Exchange:
    """Requests to one place. `hold` is the connection's that they come by; `door` says how it came in."""

    gate: Gate
    live: Live
    talk: Conversation
    scheme: str
    host: Host
    port: int
    door: str

    async def run(self, head: Head) -> bool:
        """Answers a request whose target is in origin-form. True if the client's connection may go on."""
        try:
            rule = self._decided(head)
            self.talk.begin(head)
            return await self._passed(head, rule)
        except Denied as denied:
            verdict = denied.verdict
        except Leak as leak:
            verdict = self._leaked(leak)
        except (BadRequest, BadName, Refusal) as error:
            verdict = deny(_code(error), getattr(error, "detail", str(error)))
        except (UpstreamError, BrokenAnswer) as error:
            return self._failed(str(error))
        return await self._refused(head, verdict)

    async def malformed(self, why: str) -> None:
        """What came is no request."""
        target = Target(self.host.text, self.port, self.door)
        denial = await refuse(self.gate, self.live, deny(Code.BAD_REQUEST, why), target)
        self.talk.whole(denial.status, denial.body(), MEDIA_TYPE)

    def _decided(self, head: Head) -> Rule:
        """Raises Denied, BadName."""
        self.gate.control.check()
        if not head.target.startswith(b"/"):
            raise BadRequest("The target of the request is no path.")
        named = Authority.read((head.one(b"host") or b"").decode("latin-1"), self.port)
        if (named.host, named.port) != (self.host, self.port):
            said = f"The Host header says {named}, and the connection is to {self.host.bracketed}:{self.port}."
            raise Denied(deny(Code.NAMES_DISAGREE, said))
        verdict = decide(self.live.policy, self._request(head), now())
        if verdict.rule is None:
            raise Denied(verdict)
        return verdict.rule

    def _request(self, head: Head) -> Request:
        path = head.path.decode("latin-1")
        return Request(self.scheme, self.host, self.port, head.method.decode("latin-1"), path)

    async def _passed(self, head: Head, rule: Rule) -> bool:
        upgrades = websocket.is_asked_for(head)
        bound = self.live.secrets.bound_to(self.host.text, self.port)
        known = Known(self.live.secrets, self.live.patterns, bound)
        self.talk.ask_for_body()
        going = await prepared(head, self.talk.body(), rule, self.host, known, websocket=upgrades)
        found = await self.gate.resolver.checked(self.host, self.port, rule)
        slot = rule.inject.slot if rule.inject else None
        told = {**self._where(rule), **self._shown(head), "injected": slot}
        event = await self.gate.recorder.keep(self.live.id, "egress.request", told)
        request = self._request(head)
        with Hold(self.live, allowed=lambda policy, at: bool(decide(policy, request, at))) as hold:
            hold.add(self.talk.stream)
            passage = Underway(event, rule, hold, self._found)
            try:
                return await self._carried(head, going, found, passage)
            except Exception as error:
                passage.problem = passage.problem or str(error) or type(error).__name__
                raise
            finally:
                self._told(passage)

    async def _carried(self, head: Head, going: Outgoing, found: Sequence[Address], passage: Underway) -> bool:
        """On a kept connection if there is one; where that had gone away, on a fresh one."""
        upstream = self.live.pool.take(self._place, found)
        if upstream is not None:
            carrying = Carrying(self.talk, self.live, going, upstream, passage)
            try:
                return self._returned(upstream, *await carrying.run())
            except FarGone:
                if passage.hold.why or carrying.begun or head.method not in SAFE or head.has_body:
                    raise
        self.gate.control.check()
        passage.hold.check()
        upstream = Upstream(*await self._dialled(found))
        return self._returned(upstream, *await Carrying(self.talk, self.live, going, upstream, passage).run())

    async def _dialled(self, found: Sequence[Address]) -> tuple[Stream, Address]:
        if self.scheme == "https":
            return await dial_tls(found, self.port, self.host, self.gate.tls)
        return await dial(found, self.port, self.host)

    def _returned(self, upstream: Upstream, goes_on: bool, reusable: bool) -> bool:
        if reusable:
            self.live.pool.give(self._place, upstream)
        else:
            upstream.wire.close()
        return goes_on

    @property
    def _place(self) -> tuple[str, str, int]:
        return self.scheme, self.host.text, self.port

    def _where(self, rule: Rule | None) -> dict[str, Any]:
        return {"mode": "inspect", "host": self.host.text, "port": self.port, "rule": rule.id if rule else None}

    def _shown(self, head: Head) -> dict[str, str]:
        path = clean_text(self.live.patterns, head.path.decode("latin-1"))
        return {"method": head.method.decode("latin-1"), "path": path[:1_024]}

    def _told(self, passage: Underway) -> None:
        """What became of it; nobody waits for that."""
        why = passage.hold.why or passage.problem[:200] or None
        told = {
            **self._where(passage.rule),
            "request": passage.event,
            "status": passage.status or None,
            "sent_bytes": passage.sent_bytes,
            "received_bytes": passage.received_bytes,
            "elapsed_ms": round((time.monotonic() - passage.began) * 1_000, 1),
            "why": why,
        }
        self.gate.recorder.note(self.live.id, "egress.response", told, "failure" if why else "success")

    def _found(self, kind: str, hit: Hit, where: str) -> None:
        told = {**self._where(None), "slot": hit.slot, "where": where, "encoding": hit.encoding}
        self.gate.recorder.note(self.live.id, kind, told, "denied" if kind == "finding.leak" else "success")

    def _leaked(self, leak: Leak) -> Verdict:
        self._found("finding.leak", leak.hit, leak.where)
        said = f"The request carries a secret of the session ({leak.hit.slot}) to {self.host}, where it must not go."
        return deny(Code.LEAK, said)

    async def _refused(self, head: Head, verdict: Verdict) -> bool:
        other = (head.all(b"host") or [b""])[0].decode("latin-1")
        method, path = head.method.decode("latin-1"), head.path.decode("latin-1")
        said = other if verdict.code is Code.NAMES_DISAGREE else ""
        target = Target(self.host.text, self.port, self.door, method, path, other=said.rpartition(":")[0] or said)
        denial = await refuse(self.gate, self.live, verdict, target)
        if self.talk.answered:
            self.talk.stream.abort()
            return False
        return self.talk.whole(denial.status, denial.body(), MEDIA_TYPE)

    def _failed(self, why: str) -> bool:
        if self.talk.answered:
            self.talk.stream.abort()
            return False
        problem = {"type": "about:blank", "title": "The far end fails", "status": 502, "detail": why, "retry": True}
        return self.talk.whole(502, orjson.dumps(problem), MEDIA_TYPE)


def _code(error: Exception) -> Code:
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), Code.BAD_REQUEST)
