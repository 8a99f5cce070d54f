"""Events as OCSF 1.6 says them, for a SIEM. Pure functions over a leaf's bytes; imports no Django.

Nothing is left out: `unmapped` has the event's `data` as it stands, and `raw_data_hash` is the SHA-256 of the leaf, so
that what a SIEM holds can be found in the log and proven. What is sealed stays sealed: an erasure reaches it as well.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from audit.event import DENIED, FAILURE, SUCCESS
from audit.ocsf_classes import (
    ACCESS,
    ACCOUNT,
    API,
    AUTHENTICATION,
    CONNECTION,
    DATASTORE,
    FILE,
    FINDING,
    GROUP,
    HTTP,
    LOW,
    MEDIUM,
    OTHER,
    PROCESS,
    Mapped,
    mapped,
)

SCHEMA = "1.6.0"
PRODUCT = {"name": "Drawbridge", "vendor_name": "Drawbridge"}
SEVERITIES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
LEAST_SEVERITY = {SUCCESS: 1, FAILURE: LOW, DENIED: MEDIUM}
SHA256, SYSTEM_USER, USER, SERVER, REGULAR_FILE, RELATIONAL = 3, 3, 1, 0, 1, 1
LONGEST_TEXT = 8_000
METHODS = {name.upper(): activity for activity, name in HTTP.activities.items()}

Data = Mapping[str, Any]
Object = dict[str, Any]


@dataclass(frozen=True)
class Leaf:
    """One entry of the log: where it stands, its bytes, and what they say."""

    index: int
    body: bytes
    content: Mapping[str, Any]

    @classmethod
    def parse(cls, index: int, body: bytes) -> "Leaf":
        return cls(index, body, json.loads(body))

    @property
    def data(self) -> Data:
        data: Data = self.content["data"]
        return data

    @property
    def kind(self) -> str:
        return str(self.content["kind"])


def event(leaf: Leaf, origin: str) -> Object:
    """The OCSF event of a leaf of the log named `origin`."""
    content, choice = leaf.content, mapped(leaf.kind)
    activity = _activity(leaf, choice)
    severity = max(choice.severity, LEAST_SEVERITY[content["outcome"]])
    common = {
        "activity_id": activity,
        "activity_name": choice.of.activities.get(activity, leaf.kind),
        "category_uid": choice.of.category_uid,
        "category_name": choice.of.category,
        "class_uid": choice.of.uid,
        "class_name": choice.of.name,
        "type_uid": choice.of.uid * 100 + activity,
        "severity_id": severity,
        "severity": SEVERITIES[severity],
        "status_id": 1 if content["outcome"] == SUCCESS else 2,
        "status": "Success" if content["outcome"] == SUCCESS else "Failure",
        "status_detail": content["outcome"],
        "time": _ms(content["occurred_at"]),
        "message": leaf.kind,
        "metadata": _metadata(leaf, origin, choice),
        "actor": {"user": _user(str(content["act"]["sub"]))},
        "raw_data_hash": {
            "algorithm_id": SHA256,
            "algorithm": "SHA-256",
            "value": hashlib.sha256(leaf.body).hexdigest(),
        },
        "raw_data_size": len(leaf.body),
        "unmapped": _unmapped(content),
    }
    return {**common, **PARTICULARS[choice.of.uid](leaf)}


def _activity(leaf: Leaf, choice: Mapped) -> int:
    if choice.of.uid == HTTP.uid:
        return METHODS.get(str(leaf.data.get("method", "")).upper(), OTHER)
    if choice.of.uid == CONNECTION.uid and choice.activity == OTHER:
        return {SUCCESS: 6, FAILURE: 4, DENIED: 5}[leaf.content["outcome"]]
    return choice.activity


def _metadata(leaf: Leaf, origin: str, choice: Mapped) -> Object:
    content = leaf.content
    return {
        "version": SCHEMA,
        "product": PRODUCT,
        "uid": content["id"],
        "event_code": leaf.kind,
        **({"profiles": ["host"]} if choice.of.actor_by_profile else {}),
        "log_name": origin,
        "log_provider": "Drawbridge",
        "sequence": leaf.index,
        "correlation_uid": content["session"] or content["stream"],
        "logged_time": _ms(content["recorded_at"]),
    }


def _unmapped(content: Mapping[str, Any]) -> Object:
    names = ("sub", "agent", "session", "stream", "seq", "data")
    return {name: content[name] for name in names if content[name] is not None}


def _ms(moment: str) -> int:
    """Milliseconds since 1970, rounded down."""
    return int((datetime.fromisoformat(moment) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _user(reference: str) -> Object:
    """person:<id>, agent:<id>, service:<name>: services are the system's own, agents are neither."""
    kind = reference.partition(":")[0]
    types = {"person": (USER, "User"), "service": (SYSTEM_USER, "System")}
    type_id, name = types.get(kind, (OTHER, kind.capitalize()))
    return {"uid": reference, "name": reference, "type_id": type_id, "type": name}


def _subject(leaf: Leaf) -> Object:
    """Whom a change of accounts or rights is about."""
    data, content = leaf.data, leaf.content
    if isinstance(data.get("person"), str):
        return _user(f"person:{data['person']}")
    return _user(str(content["agent"] or content["sub"]))


def _text(value: object) -> str:
    """A value as text, or nothing: what is sealed, or no text at all, is only in `unmapped`."""
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _source(leaf: Leaf) -> Object:
    """Where it comes from: of an agent nobody but itself knows the address."""
    session = leaf.content["session"]
    name = f"session {session}" if session else "drawbridge"
    return {"name": name, "uid": str(session or leaf.content["stream"])}


def _device(leaf: Leaf) -> Object:
    return {"type_id": SERVER, "type": "Unknown", **_source(leaf)}


def _api(leaf: Leaf) -> Object:
    operation = _text(leaf.data.get("tool")) or leaf.kind
    return {
        "api": {"operation": operation, "service": {"name": leaf.kind.partition(".")[0]}},
        "src_endpoint": _source(leaf),
        **({"dst_endpoint": host} if (host := _host(leaf)) else {}),
    }


def _host(leaf: Leaf) -> Object:
    host, port = _text(leaf.data.get("host")), leaf.data.get("port")
    if not host:
        return {}
    return {"hostname": host, **({"port": port} if type(port) is int and 0 <= port <= 65_535 else {})}


def _authentication(leaf: Leaf) -> Object:
    service = {"name": "PostgreSQL" if leaf.kind.startswith("db.") else "Drawbridge"}
    return {"user": _subject(leaf), "service": service, "session": _session(leaf), "src_endpoint": _source(leaf)}


def _session(leaf: Leaf) -> Object:
    return {"uid": str(leaf.content["session"] or leaf.content["stream"])}


def _account(leaf: Leaf) -> Object:
    data = leaf.data
    if leaf.kind.startswith("credential.") and isinstance(data.get("credential"), str):
        return {
            "user": {"uid": data["credential"], "type_id": OTHER, "type": "Credential"},
            "src_endpoint": _source(leaf),
        }
    return {"user": _subject(leaf), "src_endpoint": _source(leaf)}


def _access(leaf: Leaf) -> Object:
    return {"user": _subject(leaf), "privileges": _privileges(leaf), "src_endpoint": _source(leaf)}


def _privileges(leaf: Leaf) -> list[str]:
    """A role, what a grant says, or at least whose session it was."""
    data = leaf.data
    if isinstance(data.get("role"), str):
        return [f"{data['role']} of {data.get('team')}"]
    grant = data.get("grant")
    details = grant.get("authorization_details", []) if isinstance(grant, dict) else []
    found = [f"{action} {location}" for each in details for location in each["locations"] for action in each["actions"]]
    return found or [f"session {leaf.content['session'] or leaf.content['stream']}"]


def _group(leaf: Leaf) -> Object:
    data = leaf.data
    group = {"name": _text(data.get("slug")) or _text(data.get("team")), "uid": leaf.content["stream"]}
    return {"group": group, "user": _subject(leaf), "src_endpoint": _source(leaf)}


def _process(leaf: Leaf) -> Object:
    data = leaf.data
    command = _text(data.get("argv")) or _text(data.get("command"))
    pid = data.get("pid")
    process: Object = {"pid": pid} if type(pid) is int and 0 <= pid < 2**31 else {"uid": leaf.content["id"]}
    if command:
        process["cmd_line"] = command
    code = data.get("exit_code")
    return {
        "process": process,
        "device": _device(leaf),
        **({"exit_code": code} if type(code) is int and abs(code) < 2**31 else {}),
    }


def _file(leaf: Leaf) -> Object:
    path = _text(leaf.data.get("path"))
    file = {"name": PurePosixPath(path).name or path or "unknown", "type_id": REGULAR_FILE if path else 0}
    return {"file": {**file, **({"path": path} if path else {})}, "device": _device(leaf)}


def _http(leaf: Leaf) -> Object:
    data = leaf.data
    method, url = _text(data.get("method")).upper(), _url(data)
    request = {**({"http_method": method} if method in METHODS else {}), **({"url": url} if url else {})}
    found: Object = {"http_request": request, "src_endpoint": _source(leaf)}
    status = data.get("status")
    if type(status) is int and 0 <= status < 1000:
        found["http_response"] = {"code": status}
    if host := _host(leaf):
        found["dst_endpoint"] = host
    return found


def _url(data: Data) -> Object:
    whole, host, path = (_text(data.get(name)) for name in ("url", "host", "path"))
    try:
        parts = urlsplit(whole)
        host, path = host or parts.hostname or "", path or parts.path
    except ValueError:
        pass  # not a URL: it is given as it stands
    url = {"url_string": whole, "hostname": host, "path": path}
    return {name: value for name, value in url.items() if value} if whole or path else {}


def _connection(leaf: Leaf) -> Object:
    host = _host(leaf)
    return {"src_endpoint": _source(leaf), **({"dst_endpoint": host} if host else {})}


def _datastore(leaf: Leaf) -> Object:
    data = leaf.data
    found: Object = {
        "database": {"name": _text(data.get("dbname")) or "unknown", "type_id": RELATIONAL, "type": "Relational"},
        "src_endpoint": _source(leaf),
    }
    if statement := _text(data.get("statement")):
        found["query_info"] = {"query_string": statement, "uid": leaf.content["id"]}
    return found


def _finding(leaf: Leaf) -> Object:
    data = leaf.data
    uid = _text(data.get("finding")) or str(leaf.content["id"])
    return {"finding_info": {"uid": uid, "title": _text(data.get("title")) or leaf.kind, "types": [leaf.kind]}}


PARTICULARS: Mapping[int, Callable[[Leaf], Object]] = {
    ACCESS.uid: _access,
    ACCOUNT.uid: _account,
    API.uid: _api,
    AUTHENTICATION.uid: _authentication,
    CONNECTION.uid: _connection,
    DATASTORE.uid: _datastore,
    FILE.uid: _file,
    FINDING.uid: _finding,
    GROUP.uid: _group,
    HTTP.uid: _http,
    PROCESS.uid: _process,
}
