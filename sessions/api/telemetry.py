"""What the telemetry of agents says, as events. What comes under several names gets one of ours; nothing is left out.

Known by name: Claude Code (claude_code.*), Codex (codex.*), Gemini CLI (gemini_cli.*), and OpenTelemetry's conventions.
"""

import hashlib
import re
import shlex
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from audit.event import DENIED, FAILURE, SUCCESS, timestamp
from sessions.api.otlp import Record
from sessions.api.reports import KIND, LONGEST_KIND

Data = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VENDORS = ("claude_code.", "codex.", "gemini_cli.")
# The same thing has one kind, whoever says it. What is not here keeps its own name: agent.compaction.
KINDS = {
    "user_prompt": "agent.prompt",
    "assistant_response": "agent.response",
    "conversation_starts": "agent.started",
    "config": "agent.started",
    "tool_result": "tool.result",
    "tool_call": "tool.result",
    "tool_decision": "tool.decision",
    "api_request": "agent.model_request",
    "api_response": "agent.model_response",
    "api_error": "agent.model_error",
    "api_refusal": "agent.model_refusal",
}
FILE_KINDS = {"read": "file.read", "create": "file.created", "update": "file.changed"}
FAILURES = frozenset({"api_error", "api_refusal", "api_retries_exhausted", "internal_error"})
REFUSALS = frozenset({"reject", "rejected", "deny", "denied", "abort", "timed_out"})
ERROR = 17  # severity_number: ERROR is 17 to 20, FATAL 21 to 24

# Where the arguments of a tool are: an object, or its JSON as text.
ARGUMENTS = ("tool_input", "tool_parameters", "function_args", "arguments", "gen_ai.tool.call.arguments")
# What an event is about, by our name: the names that attributes have for it, and those that arguments have.
ABOUT: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "tool": (("tool_name", "function_name", "gen_ai.tool.name"), ()),
    "command": (("process.command_line", "process.command_args"), ("full_command", "command", "cmd", "bash_command")),
    "url": (("url.full", "http.url"), ("url",)),
    "host": (("server.address", "url.domain", "net.peer.name", "http.host"), ("host",)),
    "path": (
        ("file.path", "file_path", "url.path", "http.target"),
        ("file_path", "path", "absolute_path", "notebook_path", "dir_path"),
    ),
}
_PATCHED = re.compile(r"\*\*\* (?:Add|Update|Delete) File: ([^\n\\]+)")


def raw_event(record: Record, session_id: uuid.UUID) -> dict[str, Any]:
    """The event that the ingest takes. Its id depends on the record and the session alone: sent twice, it counts once.

    A record that has no time at all gets none here either, and is rejected for it.
    """
    name = _name(record)
    at_ns = record.time_ns or record.observed_ns or _said_ns(record.attributes.get("event.timestamp"))
    return {
        "id": str(_id(at_ns, session_id, record.mark)),
        "kind": _kind(name, record.attributes),
        "occurred_at": timestamp(_EPOCH + timedelta(microseconds=at_ns // 1000)) if at_ns else None,
        "outcome": _outcome(name, record),
        "data": _data(record),
    }


def _id(at_ns: int, session_id: uuid.UUID, mark: bytes) -> uuid.UUID:
    """UUIDv7 (RFC 9562) whose random bits are a digest."""
    digest = int.from_bytes(hashlib.sha256(session_id.bytes + mark).digest()[:10], "big")
    value = (at_ns // 1_000_000 & 0xFFFF_FFFF_FFFF) << 80 | digest
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0b11 << 62) | 0b10 << 62)


def _said_ns(value: object) -> int:
    """An RFC 3339 time in nanoseconds; 0 for anything else."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else _EPOCH
        return max(0, (moment - _EPOCH) // timedelta(microseconds=1) * 1000)
    except (ValueError, TypeError, OverflowError):
        return 0


def _name(record: Record) -> str:
    """The attribute comes first: Codex's event_name is a place in its source. Claude Code's full name is the body."""
    said = record.attributes.get("event.name")
    name = said if isinstance(said, str) and said else record.event_name
    if not name and isinstance(record.body, str) and record.body.startswith(VENDORS) and " " not in record.body:
        name = record.body
    vendor = next((vendor for vendor in VENDORS if name.startswith(vendor)), "")
    return name.removeprefix(vendor)


def _kind(name: str, attributes: Data) -> str:
    if name == "file_operation":
        return FILE_KINDS.get(str(attributes.get("operation")), "file.operation")
    if KIND.fullmatch(name) and len(name) <= LONGEST_KIND:
        return name
    return KINDS.get(name) or _own_kind(name)


def _own_kind(name: str) -> str:
    """agent. and the name, made valid: its first two parts stay apart, the rest are one."""
    parts = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in name.split(".")]
    parts = [part if part[0].isalpha() else f"n{part}" for part in parts if part] or ["log"]
    joined = ".".join([*parts[:2], *(["_".join(parts[2:])] if len(parts) > 2 else [])])
    return f"agent.{joined}"[:LONGEST_KIND].rstrip("._")


def _outcome(name: str, record: Record) -> str:
    attributes = record.attributes
    if str(attributes.get("decision", attributes.get("decision_type"))).lower() in REFUSALS:
        return DENIED
    if str(attributes.get("success")).lower() == "false" or name in FAILURES or record.severity >= ERROR:
        return FAILURE
    status = attributes.get("http.response.status_code", attributes.get("status_code"))
    failed = re.fullmatch(r"[45][0-9]{2}", str(status)) is not None
    named = any(attributes.get(key) for key in ("error", "error.message", "error.type", "error_type", "exception.type"))
    return FAILURE if failed or named else SUCCESS


def _data(record: Record) -> dict[str, Any]:
    """The attributes under their own names, what the event is about under ours, the rest of the record in `otel`."""
    about = _about(record.attributes)
    rest = {
        "event_name": record.event_name,
        "severity": record.severity_text or record.severity,
        "body": record.body,
        "resource": dict(record.resource),
        "scope": record.scope,
        "trace_id": record.trace_id,
        "span_id": record.span_id,
        "dropped_attributes": record.dropped_attributes,
        "otel": record.attributes.get("otel"),
    }
    given = {name: value for name, value in rest.items() if value or (name == "body" and value is not None)}
    return {**about, **record.attributes, "otel": given}


def _about(attributes: Data) -> dict[str, str]:
    arguments: dict[str, Any] = {}
    for name in ARGUMENTS:
        arguments |= _arguments(attributes.get(name))
    about: dict[str, str] = {}
    for ours, (attribute_names, argument_names) in ABOUT.items():
        found = _first(attributes, attribute_names) or _first(arguments, argument_names)
        if found:
            about[ours] = found
    patched = _PATCHED.search(str(attributes.get("arguments"))) if about.get("tool") == "apply_patch" else None
    if patched:
        about.setdefault("path", patched[1].strip())
    return _located(about)


def _located(about: dict[str, str]) -> dict[str, str]:
    """A URL has its host, and its path unless a file was named."""
    try:
        url = urlsplit(about.get("url", ""))
        host = url.hostname
    except ValueError:
        return about
    if host:
        about.setdefault("host", host)
        about.setdefault("path", url.path or "/")
    return about


def _first(among: Data, names: Sequence[str]) -> str:
    """The first that is text, or words of a command."""
    for name in names:
        value = among.get(name)
        if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
            return shlex.join(value)
        if isinstance(value, str) and value:
            return value
    return ""


def _arguments(value: object) -> dict[str, Any]:
    """An object, or one that stands in text. Text that was cut is none."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}
