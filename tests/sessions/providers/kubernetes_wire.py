"""Kubernetes' other wire format, in which Go's official client writes (application/vnd.kubernetes.protobuf): its magic
bytes, then a message with the kind and the object. Numbers of fields are those of Kubernetes' own generated.proto, as
far as accounts, their rights and their tokens go; a field that is not among them raises KeyError.
"""

from collections.abc import Iterator
from typing import Any

MAGIC = b"k8s\x00"
VARINT, BYTES = 0, 2
# A field's name, and what it holds: text, number, pairs of texts, or a message; "[]" where there may be many.
Schema = dict[int, tuple[str, Any]]
OWNER: Schema = {1: ("kind", str), 3: ("name", str), 4: ("uid", str), 5: ("apiVersion", str)}
METADATA: Schema = {
    1: ("name", str),
    2: ("generateName", str),
    3: ("namespace", str),
    4: ("selfLink", str),
    5: ("uid", str),
    6: ("resourceVersion", str),
    7: ("generation", int),
    8: ("creationTimestamp", {}),
    11: ("labels", dict),
    12: ("annotations", dict),
    13: ("ownerReferences", [OWNER]),
}
RULE: Schema = {1: ("verbs", [str]), 2: ("apiGroups", [str]), 3: ("resources", [str]), 4: ("resourceNames", [str])}
SUBJECT: Schema = {1: ("kind", str), 2: ("apiGroup", str), 3: ("name", str), 4: ("namespace", str)}
ROLE_REF: Schema = {1: ("apiGroup", str), 2: ("kind", str), 3: ("name", str)}
SPEC: Schema = {1: ("audiences", [str]), 4: ("expirationSeconds", int)}
KINDS: dict[str, Schema] = {
    "ServiceAccount": {1: ("metadata", METADATA)},
    "Role": {1: ("metadata", METADATA), 2: ("rules", [RULE])},
    "RoleBinding": {1: ("metadata", METADATA), 2: ("subjects", [SUBJECT]), 3: ("roleRef", ROLE_REF)},
    "TokenRequest": {1: ("metadata", METADATA), 2: ("spec", SPEC), 3: ("status", {1: ("token", str), 2: ("at", {})})},
    "DeleteOptions": {},
}
TYPE: Schema = {1: ("apiVersion", str), 2: ("kind", str)}
UNKNOWN: Schema = {1: ("type", TYPE), 2: ("raw", bytes), 3: ("contentEncoding", str), 4: ("contentType", str)}


def decoded(body: bytes) -> dict[str, Any]:
    """The object as its JSON would be."""
    assert body.startswith(MAGIC)
    outer = message(body[len(MAGIC) :], UNKNOWN)
    return {**outer["type"], **message(outer.get("raw", b""), KINDS[outer["type"]["kind"]])}


def message(data: bytes, schema: Schema) -> dict[str, Any]:
    """Without what is empty, which is how the format writes what is not there."""
    found: dict[str, Any] = {}
    for number, value in fields(data):
        name, kind = schema[number]
        if isinstance(kind, list):
            found.setdefault(name, []).append(read(value, kind[0]))
        elif kind is dict:
            pair = message(bytes(value), {1: ("key", str), 2: ("value", str)})
            found.setdefault(name, {})[pair["key"]] = pair.get("value", "")
        elif value:
            found[name] = read(value, kind)
    return found


def read(value: Any, kind: Any) -> Any:
    if isinstance(kind, dict):
        return message(value, kind)
    return value.decode() if kind is str else value


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == BYTES:
            at += value
            yield tag >> 3, data[at - value : at]
        else:
            assert tag & 7 == VARINT
            yield tag >> 3, value


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
