"""What one session may reach. `decide` and `opening` are pure: everything that they need comes in, a verdict comes out.

The document's shape stands in docs/gateway.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Any

from gateway.addresses import Network
from gateway.errors import BadName, BadPolicy
from gateway.names import Host, segments


class Mode(StrEnum):
    INSPECT = "inspect"
    TUNNEL = "tunnel"
    FORWARD = "forward"


class Code(StrEnum):
    """Why something was denied. Stable: programs read it."""

    NO_RULE = "no_rule"
    METHOD = "method_not_allowed"
    PATH = "path_not_allowed"
    BAD_NAME = "bad_name"
    ADDRESS = "address_not_allowed"
    NAMES_DISAGREE = "names_disagree"
    HIDDEN_NAME = "hidden_name"
    NO_NAME = "no_name"
    NOT_TLS = "not_tls"
    BAD_REQUEST = "bad_request"
    LEAK = "secret_leak"
    CREDENTIAL = "credential_missing"
    EXPIRED = "expired"
    OVER = "session_over"
    SHUT = "gateway_shut"
    SPOOL = "record_failed"
    FAULT = "fault"


SCHEMES = {Mode.INSPECT: ("https", "http"), Mode.TUNNEL: ("tls",), Mode.FORWARD: ("tcp",)}


@dataclass(frozen=True)
class Injection:
    """Which credential is put in, and where: `kind` is bearer, header, basic, query or sigv4; `name` is the header, the
    user or the parameter.
    """

    slot: str
    kind: str
    name: str = ""


@dataclass(frozen=True)
class Rule:
    id: str
    mode: Mode
    scheme: str
    host: str
    port: int
    methods: frozenset[str] | None = None
    path: str | None = None
    inject: Injection | None = None
    network: Network | None = None
    listen: int | None = None
    not_after: datetime | None = None

    def names(self, host: Host, port: int) -> bool:
        """Whether the rule is about this host and port. A leading wildcard stands for exactly one label."""
        if port != self.port:
            return False
        if not self.host.startswith("*."):
            return host.text == self.host
        label, _, rest = host.text.partition(".")
        return host.address is None and bool(label) and rest == self.host[2:]

    def covers(self, path: Sequence[bytes]) -> bool:
        """Whether decoded segments lie under the rule's prefix, or are its one path."""
        if self.path is None:
            return True
        prefix = segments(self.path)
        if not prefix[-1]:
            return list(path[: len(prefix) - 1]) == list(prefix[:-1]) and len(path) >= len(prefix)
        return list(path) == list(prefix)


@dataclass(frozen=True)
class Policy:
    """The rules of one session, and until when they hold."""

    session: str
    serial: int
    grant_hash: str
    not_after: datetime
    ask: str
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Policy":
        """From a verified document. Raises BadPolicy: what is not understood is not let through."""
        try:
            if content["v"] != 1:
                raise BadPolicy(f"This gateway does not know version {content['v']!r} of policies.")
            return cls(
                session=content["session"],
                serial=int(content["serial"]),
                grant_hash=content["grant_hash"],
                not_after=_moment(content["not_after"]),
                ask=content["ask"],
                rules=tuple(_rule(one) for one in content["rules"]),
            )
        except (KeyError, TypeError, ValueError, BadName) as error:
            raise BadPolicy(f"The policy has another shape: {type(error).__name__} {error}.") from error

    def forwards(self) -> Sequence[Rule]:
        return [rule for rule in self.rules if rule.mode is Mode.FORWARD]


@dataclass(frozen=True)
class Request:
    """One attempt to get out. Without a method it is an opening: CONNECT, SOCKS5, a forward."""

    scheme: str
    host: Host
    port: int
    method: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Truthy if it may go on, and then with the rule that says so; else `code` and `text` say why not."""

    rule: Rule | None = None
    code: Code | None = None
    text: str = ""

    def __bool__(self) -> bool:
        return self.rule is not None


def deny(code: Code, text: str, rule: Rule | None = None) -> Verdict:
    """A denial; `rule` is the one that came closest and is named in the text only."""
    return Verdict(None, code, f"{text} (rule {rule.id})" if rule else text)


def opening(policy: Policy, host: Host, port: int, now: datetime) -> Verdict:
    """What may become of a connection to this host and port. Where any rule looks inside, inside is looked."""
    if (over := _over(policy, now)) is not None:
        return over
    rules = [rule for rule in _living(policy, now) if rule.names(host, port)]
    for mode in (Mode.INSPECT, Mode.TUNNEL, Mode.FORWARD):
        for rule in rules:
            if rule.mode is mode:
                return Verdict(rule)
    return deny(Code.NO_RULE, f"No rule allows {host.bracketed}:{port}.")


def decide(policy: Policy, request: Request, now: datetime) -> Verdict:
    """Whether this request may go on. Of the rules that allow it the one with the longest path decides."""
    if request.method is None or request.path is None:
        return opening(policy, request.host, request.port, now)
    if (over := _over(policy, now)) is not None:
        return over
    rules = [
        rule
        for rule in _living(policy, now)
        if rule.mode is Mode.INSPECT and rule.scheme == request.scheme and rule.names(request.host, request.port)
    ]
    what = f"{request.method} {request.scheme}://{request.host.bracketed}:{request.port}"
    if not rules:
        return deny(Code.NO_RULE, f"No rule allows {what}.")
    try:
        path = segments(request.path)
    except BadName as error:
        return deny(Code.BAD_NAME, str(error))
    covering = [rule for rule in rules if rule.covers(path)]
    if not covering:
        return deny(Code.PATH, f"No rule allows {what} on this path.", rules[0])
    allowing = [rule for rule in covering if rule.methods is None or request.method in rule.methods]
    if not allowing:
        return deny(Code.METHOD, f"No rule allows {request.method} here.", covering[0])
    return Verdict(max(allowing, key=lambda rule: len(rule.path or "")))


def _over(policy: Policy, now: datetime) -> Verdict | None:
    return deny(Code.EXPIRED, "The session's time is up.") if now >= policy.not_after else None


def _living(policy: Policy, now: datetime) -> Sequence[Rule]:
    return [rule for rule in policy.rules if rule.not_after is None or now < rule.not_after]


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment


def _rule(raw: Mapping[str, Any]) -> Rule:
    mode, host, port = Mode(raw["mode"]), raw["host"], raw["port"]
    bracketed = f"[{host}]" if ":" in host else host
    spelled = Host.read(bracketed.removeprefix("*.")).text
    if spelled != host.removeprefix("*.") or raw["scheme"] not in SCHEMES[mode]:
        raise ValueError(f"rule {raw['id']} names {raw['scheme']}://{host}")
    if not isinstance(port, int) or not 1 <= port <= 65_535:
        raise ValueError(f"rule {raw['id']} has no port")
    methods, inject, path = raw["methods"], raw["inject"], raw["path"]
    if mode is not Mode.INSPECT and (methods or inject or path):
        raise ValueError(f"rule {raw['id']} sees nothing inside")
    if path is not None:
        segments(path)
    return Rule(
        id=raw["id"],
        mode=mode,
        scheme=raw["scheme"],
        host=host,
        port=port,
        methods=None if methods is None else frozenset(methods),
        path=path,
        inject=_injection(inject) if inject else None,
        network=ip_network(raw["network"]) if raw["network"] else None,
        listen=raw["listen"],
        not_after=_moment(raw["not_after"]) if raw["not_after"] else None,
    )


def _injection(raw: Mapping[str, Any]) -> Injection:
    kind = raw["as"]
    if kind not in ("bearer", "header", "basic", "query", "sigv4"):
        raise ValueError(f"nothing is injected as {kind!r}")
    field = {"header": "name", "query": "name", "basic": "username"}.get(kind)
    return Injection(raw["slot"], kind, raw[field] if field else "")
