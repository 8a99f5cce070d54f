"""The sessions that this gateway passes something on for: what each may reach, what it has open, whether it is over."""

import asyncio
import hashlib
import hmac
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from gateway import dsse
from gateway.authority import Authority
from gateway.errors import BadPolicy, Denied
from gateway.evasion import Memory
from gateway.known_secrets import KnownSecrets
from gateway.policy import Code, Policy, deny
from gateway.redaction import Patterns
from gateway.upstream import Pool

# How long an unknown or ended session is not asked about again, and how many questions are open at once.
REFUSED_FOR_S, MOST_REFUSED, MOST_ASKING = 2.0, 10_000, 32


class Over(Exception):
    """The control plane has no policy for this session: it is over, suspended, or was never there."""


class Unasked(Exception):
    """The control plane does not answer."""


@dataclass(frozen=True)
class Passage:
    """What the control plane says of a session, with its policy verified."""

    policy: Policy
    proxy_sha256: str
    secrets: KnownSecrets = field(repr=False)

    @classmethod
    def read(cls, answer: Mapping[str, Any], keys: dsse.Keys, asked: str) -> "Passage":
        """Raises BadPolicy."""
        content = dsse.read_json(dsse.verified(answer.get("policy"), keys))
        policy = Policy.read(content)
        if policy.session != asked or policy.serial != answer.get("serial"):
            raise BadPolicy("The policy is another session's, or an old one.")
        proxy = answer.get("proxy_sha256")
        if not isinstance(proxy, str) or len(proxy) != 64:
            raise BadPolicy("The control plane does not say how the session signs in.")
        return cls(policy, proxy, KnownSecrets.of(answer, content["rules"]))


class Cuttable(Protocol):
    def abort(self) -> None: ...


@dataclass(eq=False)
class Hold:
    """Something open that a cut ends. `why` is set when it was cut; `allowed` says whether a policy lets it go on."""

    live: "Live"
    streams: list[Cuttable] = field(default_factory=list)
    allowed: Callable[[Policy, datetime], bool] | None = None
    why: str = ""

    def add(self, stream: Cuttable) -> None:
        """Whatever comes after the cut is cut at once."""
        self.streams.append(stream)
        if self.why:
            stream.abort()

    def drop(self, stream: Cuttable) -> None:
        if stream in self.streams:
            self.streams.remove(stream)

    def cut(self, why: str) -> None:
        self.why = self.why or why
        for stream in self.streams:
            stream.abort()

    def check(self) -> None:
        """Raises Denied once it was cut: to be asked after each wait, before anything goes on."""
        if self.why:
            raise Denied(deny(Code.OVER, "The session is over."))

    def __enter__(self) -> "Hold":
        self.live.holds.add(self)
        if self.live.over:
            self.cut(self.live.over)
        return self

    def __exit__(self, *_: object) -> None:
        self.live.holds.discard(self)


class Live:
    """One session at this gateway."""

    def __init__(self, passage: Passage) -> None:
        self.holds: set[Hold] = set()
        self.memory, self.pool = Memory(), Pool()
        # Names that were denied to its resolver, and until when that need not be told again.
        self.told: dict[str, float] = {}
        self.over = ""
        self._take(passage)

    def _take(self, passage: Passage) -> None:
        self.policy, self.secrets, self._proxy_sha256 = passage.policy, passage.secrets, passage.proxy_sha256
        self.patterns = Patterns.of(passage.secrets)

    @property
    def id(self) -> str:
        return self.policy.session

    @cached_property
    def authority(self) -> Authority:
        return Authority(self.id)

    def knows(self, proxy_secret: str) -> bool:
        digest = hashlib.sha256(proxy_secret.encode("utf-8", "surrogateescape")).hexdigest()
        return hmac.compare_digest(digest, self._proxy_sha256)

    def renew(self, passage: Passage) -> None:
        """Another policy: what is open and not allowed by it any more is cut."""
        self._take(passage)
        self.prune()

    def prune(self) -> None:
        """Cut what the policy does not allow (any more): a rule has its end, and so has the session."""
        self.pool.sweep()
        now = datetime.now(UTC)
        for hold in list(self.holds):
            if now >= self.policy.not_after or hold.allowed is not None and not hold.allowed(self.policy, now):
                hold.cut("expired")

    def cut(self, why: str) -> int:
        """Nothing passes any more. Returns how many were open."""
        self.over = self.over or why
        holds = list(self.holds)
        for hold in holds:
            hold.cut(why)
        self.pool.abort()
        return len(holds)


Ask = Callable[[str], Awaitable[Passage]]


class Roster:
    """Sessions by id. `ask` gets a passage from the control plane; it raises Over, Unasked, or BadPolicy."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.lives: dict[str, Live] = {}
        self._asking: dict[str, asyncio.Task[Live]] = {}
        self._refused: dict[str, float] = {}

    async def find(self, session: str, proxy_secret: str) -> Live | None:
        """The session, if this is its secret. Raises Denied where it cannot be known now."""
        live = self.lives.get(session)
        if live is None:
            name = _canonical(session)
            if name is None or not proxy_secret:
                return None
            live = self.lives.get(name) or await self._asked(name)
        return live if live is not None and live.knows(proxy_secret) else None

    async def refresh(self, session: str) -> None:
        """Something about it has changed. Where the news cannot be had, nothing old is passed on by: raises."""
        live = self.lives.get(session)
        if live is None:
            return
        passage = await self._ask(session)
        if passage.policy.serial < live.policy.serial:
            raise BadPolicy("The policy is older than the one before.")
        live.renew(passage)

    def drop(self, session: str, why: str) -> tuple[int, int]:
        """Cut it and forget it. Returns how many connections it had, and how long that took in microseconds."""
        began = time.perf_counter()
        self._refused[session] = time.monotonic() + REFUSED_FOR_S
        asking = self._asking.pop(session, None)
        if asking is not None:
            asking.cancel()
        live = self.lives.pop(session, None)
        count = live.cut(why) if live is not None else 0
        return count, int((time.perf_counter() - began) * 1_000_000)

    async def _asked(self, name: str) -> Live | None:
        """Ask once, however many connections wait for the answer."""
        if self._refused.get(name, 0.0) > time.monotonic():
            return None
        task = self._asking.get(name)
        if task is None:
            if len(self._asking) >= MOST_ASKING:
                raise Denied(deny(Code.SHUT, "Too many sessions begin at this gateway now."))
            task = self._asking[name] = asyncio.create_task(self._learn(name))
            task.add_done_callback(lambda done: self._learned(name, done))
        try:
            live = await asyncio.shield(task)
            # It may have ended while its policy was on the way.
            return live if self.lives.get(name) is live else None
        except (Over, asyncio.CancelledError):
            if not task.done():
                raise
            return None
        except (Unasked, BadPolicy) as error:
            raise Denied(deny(Code.SHUT, f"This gateway cannot learn the session's policy now. {error}")) from error

    async def _learn(self, name: str) -> Live:
        return Live(await self._ask(name))

    def _learned(self, name: str, task: "asyncio.Task[Live]") -> None:
        if self._asking.get(name) is task:
            del self._asking[name]
            if not task.cancelled() and task.exception() is None:
                self.lives[name] = task.result()
        if task.cancelled() or isinstance(task.exception(), Over):
            if len(self._refused) >= MOST_REFUSED:
                self._refused.clear()
            self._refused[name] = time.monotonic() + REFUSED_FOR_S


def _canonical(session: str) -> str | None:
    try:
        return str(uuid.UUID(session)) if len(session) == 36 else None
    except ValueError:
        return None
