"""The secrets of one session that the gateway knows: what they are, and where they may go."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SESSION_SLOT = "redact"
# Under eight bytes a secret is found by chance, and in base64 it is hardly longer: it would black out innocent text.
SHORTEST = 8
# What a credential tells besides its secret. A field that is not named here counts as secret.
_PLAIN_FIELDS = frozenset(
    ["access_key_id", "address", "certificate", "database", "dbname", "expiration", "expires_at", "host", "owner"]
    + ["port", "region", "type", "user", "username"]
)
_LINE_SHORTEST = 16


@dataclass(frozen=True)
class Binding:
    """One place where a secret may go: a rule's id, its host (one leading `*.` stands for one label) and port."""

    rule: str
    host: str
    port: int

    def covers(self, host: str, port: int) -> bool:
        if self.host.startswith("*."):
            label, dot, parent = host.partition(".")
            return port == self.port and bool(label and dot) and parent == self.host[2:]
        return (host, port) == (self.host, self.port)


@dataclass(frozen=True)
class KnownSecrets:
    """By slot: the credential's fields, the values to look for, and the places that it is bound to.

    `ignored` names the slots with a value that is too short to look for (see SHORTEST).
    """

    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    values: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    bindings: Mapping[str, tuple[Binding, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @classmethod
    def of(cls, answer: Mapping[str, Any], rules: Iterable[Mapping[str, Any]] = ()) -> "KnownSecrets":
        """From the control plane's answer about a session, and the rules of its (verified) policy document."""
        secrets: Mapping[str, Mapping[str, Any]] = answer.get("secrets", {})
        found = {slot: tuple(_secret_texts(fields)) for slot, fields in secrets.items()}
        found[SESSION_SLOT] = found.get(SESSION_SLOT, ()) + tuple(answer.get("redact", ()))
        encoded = {slot: [text.encode() for text in texts] for slot, texts in found.items()}
        return cls(
            fields={slot: _text_fields(fields) for slot, fields in secrets.items()},
            values={slot: tuple(dict.fromkeys(_findable(values))) for slot, values in encoded.items()},
            bindings=_bindings(rules),
            ignored=tuple(slot for slot, values in encoded.items() if any(len(value) < SHORTEST for value in values)),
        )

    def bound_to(self, host: str, port: int) -> frozenset[str]:
        """The slots that some rule binds to this host and port."""
        places = self.bindings.items()
        return frozenset(slot for slot, bound in places if any(place.covers(host, port) for place in bound))

    def of_rule(self, rule: str) -> frozenset[str]:
        """The slots that this rule injects."""
        return frozenset(slot for slot, bound in self.bindings.items() if any(place.rule == rule for place in bound))


def _text_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _secret_texts(fields: Mapping[str, Any]) -> Iterator[str]:
    """Every text at any depth but those of plain fields."""
    for name, value in fields.items():
        if name not in _PLAIN_FIELDS:
            yield from _texts(value)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, Mapping):
        yield from _secret_texts(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _findable(values: Iterable[bytes]) -> Iterator[bytes]:
    """The values, and the lines of those that have several: a private key is often quoted line by line."""
    for value in values:
        if len(value) >= SHORTEST:
            yield value
        lines = value.splitlines()
        if len(lines) > 1:
            yield from (line for line in lines if len(line) >= _LINE_SHORTEST and not line.startswith(b"-----"))


def _bindings(rules: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Binding, ...]]:
    bound: dict[str, tuple[Binding, ...]] = {}
    for rule in rules:
        if inject := rule.get("inject"):
            place = Binding(rule["id"], rule["host"], rule["port"])
            bound[inject["slot"]] = (*bound.get(inject["slot"], ()), place)
    return bound
