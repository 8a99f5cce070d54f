"""What one session may reach. `decide` and `opening` are pure: everything that they need comes in, a verdict comes out.

The document's shape stands in docs/gateway.md.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
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


POLICY_FIELDS = {"v", "session", "serial", "grant_hash", "not_after", "ask", "rules"}
RULE_FIELDS = {"id", "mode", "scheme", "host", "port", "methods", "path", "inject", "network", "listen", "not_after"}
# What an injection names besides its slot.
INJECTION_FIELDS = {"bearer": None, "header": "name", "query": "name", "basic": "username", "sigv4": None}
_METHOD = re.compile(r"[A-Z][A-Z-]*")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# They decide where a request goes and where it ends.
_FRAMING = frozenset(["connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"])
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
        prefix = self.prefix
        if not prefix[-1]:
            return tuple(path[: len(prefix) - 1]) == prefix[:-1] and len(path) >= len(prefix)
        return tuple(path) == prefix

    @cached_property
    def prefix(self) -> tuple[bytes, ...]:
        """The decoded segments of `path`; an empty last one stands for all that may follow."""
        return () if self.path is None else tuple(segments(self.path))


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
            if type(content["v"]) is not int or content["v"] != 1:
                raise BadPolicy(f"This gateway does not know version {content['v']!r} of policies.")
            _shaped(content, POLICY_FIELDS)
            return cls(
                session=_text(content["session"]),
                serial=_number(content["serial"], 1, 2**63),
                grant_hash=_text(content["grant_hash"]),
                not_after=_moment(content["not_after"]),
                ask=_text(content["ask"]),
                rules=tuple(_rule(one) for one in _list(content["rules"])),
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
    if request.method is None and request.path is None:
        return opening(policy, request.host, request.port, now)
    if request.method is None or request.path is None:
        return deny(Code.BAD_REQUEST, "A request has a method and a path.")
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
    # Compared decoded: "/%61/" is no longer than "/a/".
    return Verdict(max(allowing, key=lambda rule: len(b"/".join(rule.prefix))))


def _over(policy: Policy, now: datetime) -> Verdict | None:
    return deny(Code.EXPIRED, "The session's time is up.") if now >= policy.not_after else None


def _living(policy: Policy, now: datetime) -> Sequence[Rule]:
    return [rule for rule in policy.rules if rule.not_after is None or now < rule.not_after]


def _rule(raw: Mapping[str, Any]) -> Rule:
    _shaped(raw, RULE_FIELDS)
    network, inject = raw["network"], raw["inject"]
    rule = Rule(
        id=_text(raw["id"]),
        mode=Mode(_text(raw["mode"])),
        scheme=_text(raw["scheme"]),
        host=_text(raw["host"]),
        port=_number(raw["port"]),
        methods=None if raw["methods"] is None else frozenset(_method(one) for one in _list(raw["methods"])),
        path=None if raw["path"] is None else _text(raw["path"]),
        inject=None if inject is None else _injection(inject),
        network=None if network is None else ip_network(_text(network)),
        listen=None if raw["listen"] is None else _number(raw["listen"]),
        not_after=None if raw["not_after"] is None else _moment(raw["not_after"]),
    )
    if (why := _senseless(rule)) is not None:
        raise ValueError(f"rule {rule.id} {why}")
    return rule


def _senseless(rule: Rule) -> str | None:
    """Why nobody can have meant this rule."""
    name = rule.host.removeprefix("*.")
    spelled = Host.read(f"[{name}]" if ":" in name else name)
    inspects = rule.mode is Mode.INSPECT
    plain = rule.scheme == "http" and rule.network is None
    faults = {
        f"names {rule.scheme}://{rule.host}": spelled.text != name or rule.scheme not in SCHEMES[rule.mode],
        "has a wildcard before an address": spelled.address is not None and name != rule.host,
        "names an address without its range": spelled.address is not None and rule.network is None,
        "looks inside and has no path": inspects and rule.path is None,
        "has a path with a query": rule.path is not None and ("?" in rule.path or not rule.prefix),
        "sees nothing inside": not inspects and (rule.methods, rule.path, rule.inject) != (None, None, None),
        "listens and is no forward": rule.listen is not None and rule.mode is not Mode.FORWARD,
        "is a forward to many hosts": rule.mode is Mode.FORWARD and name != rule.host,
        "sends a credential in the clear": rule.inject is not None and plain,
    }
    return next((why for why, wrong in faults.items() if wrong), None)


def _injection(raw: Mapping[str, Any]) -> Injection:
    kind = _text(raw["as"])
    if kind not in INJECTION_FIELDS:
        raise ValueError(f"nothing is injected as {kind!r}")
    field = INJECTION_FIELDS[kind]
    _shaped(raw, {"slot", "as"} | ({field} if field else set()))
    name = _text(raw[field]) if field else ""
    if kind == "header" and (not _TOKEN.fullmatch(name) or name.lower() in _FRAMING):
        raise ValueError(f"{name!r} is no header")
    if kind == "basic" and (":" in name or not name.isprintable()):
        raise ValueError(f"{name!r} is no user")
    return Injection(_text(raw["slot"]), kind, name)


def _shaped(raw: object, fields: Collection[str]) -> None:
    """These fields and no others: one that this gateway does not know may have been meant to forbid something."""
    if not isinstance(raw, Mapping) or set(raw) != set(fields):
        raise ValueError(f"fields other than {', '.join(sorted(fields))}")


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw:
        raise TypeError(f"{raw!r} is no text")
    return raw


def _number(raw: object, least: int = 1, most: int = 65_535) -> int:
    # True is an int to Python.
    if type(raw) is not int or not least <= raw <= most:
        raise ValueError(f"{raw!r} is no number from {least} to {most}")
    return raw


def _list(raw: object) -> Sequence[Any]:
    if not isinstance(raw, list):
        raise TypeError(f"{raw!r} is no list")
    return raw


def _method(raw: object) -> str:
    if not _METHOD.fullmatch(_text(raw)):
        raise ValueError(f"{raw!r} is no method")
    return _text(raw)


def _moment(raw: object) -> datetime:
    moment = datetime.fromisoformat(_text(raw))
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment
