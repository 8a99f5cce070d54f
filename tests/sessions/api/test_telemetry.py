"""What Claude Code, Codex and Gemini CLI send becomes events that the ingest takes: one name for the same thing."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.api.otlp import JSON, read
from sessions.api.reports import KIND, LONGEST_KIND, Reporter
from sessions.api.telemetry import raw_event

SESSION = uuid.UUID("01a2079e-76dc-71b1-97fe-2fe94ff478f0")
AT = datetime(2026, 9, 20, 18, 27, 4, 163307, UTC)
AT_NS = 1_789_928_824_163_307_000

CLAUDE_TOOL_RESULT: dict[str, Any] = {
    "timeUnixNano": str(AT_NS),
    "observedTimeUnixNano": str(AT_NS + 1_000_000),
    "body": {"stringValue": "claude_code.tool_result"},
    "attributes": {
        "event.name": "tool_result",
        "event.timestamp": "2026-09-20T18:27:04.163Z",
        "event.sequence": 12,
        "session.id": "6f0f2b1e-0000-4000-8000-000000000001",
        "prompt.id": "550e8400-e29b-41d4-a716-446655440000",
        "tool_name": "Bash",
        "tool_use_id": "toolu_01ABC",
        "success": "true",
        "duration_ms": "812",
        "decision_type": "accept",
        "decision_source": "config",
        "tool_parameters": '{"bash_command":"npm","full_command":"npm test","timeout":120000}',
    },
}
# As codex-cli 0.155.0 exported it: no time but the observed one, no body, and a place in its source for a name.
CODEX_STARTS: dict[str, Any] = {
    "timeUnixNano": "0",
    "observedTimeUnixNano": str(AT_NS),
    "severityNumber": 9,
    "severityText": "INFO",
    "body": None,
    "attributes": {
        "event.name": "codex.conversation_starts",
        "provider_name": "OpenAI",
        "reasoning_effort": "medium",
        "approval_policy": "never",
        "sandbox_policy": "read-only",
        "conversation.id": "c-1",
        "app.version": "0.155.0",
        "model": "gpt-5.6-sol",
    },
    "droppedAttributesCount": 0,
    "flags": 1,
    "traceId": "4b7791c0c847cb961a46a557df1d04e2",
    "spanId": "033b873130b05d9f",
    "eventName": "event otel/src/events/session_telemetry.rs:593",
}


def any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": any_value(one)} for key, one in value.items()]}}
    return {"stringValue": value}


def sent(*records: dict[str, Any]) -> list[dict[str, Any]]:
    """What becomes of records whose attributes are written as a plain object."""
    logs = [
        {**one, "attributes": [{"key": key, "value": any_value(v)} for key, v in one.get("attributes", {}).items()]}
        for one in records
    ]
    body = json.dumps({"resourceLogs": [{"resource": {"attributes": []}, "scopeLogs": [{"logRecords": logs}]}]})
    return [raw_event(record, SESSION) for record in read(body.encode(), JSON)]


def event(name: str = "", **attributes: Any) -> dict[str, Any]:
    named = {"event.name": name} if name else {}
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    return sent({"timeUnixNano": str(AT_NS), "attributes": {**named, **given}})[0]


def taken(raw: dict[str, Any]) -> Any:
    """The event as the ingest reads it; raises BadEvent if it does not."""
    reporter = Reporter(SESSION, sub="person:1", act="agent:1", since=AT - timedelta(hours=1), until=None)
    return reporter.event(raw, AT + timedelta(seconds=1))


def test_a_tool_of_claude_code_is_an_event() -> None:
    (raw,) = sent(CLAUDE_TOOL_RESULT)

    assert (raw["kind"], raw["outcome"]) == ("tool.result", "success")
    assert raw["occurred_at"] == "2026-09-20T18:27:04.163307Z"
    assert raw["data"] == {
        **CLAUDE_TOOL_RESULT["attributes"],
        "tool": "Bash",
        "command": "npm test",
        "otel": {"body": "claude_code.tool_result"},
    }
    assert taken(raw).kind == "tool.result"


def test_a_start_of_codex_is_an_event() -> None:
    (raw,) = sent(CODEX_STARTS)

    assert (raw["kind"], raw["occurred_at"]) == ("agent.started", "2026-09-20T18:27:04.163307Z")
    assert raw["data"]["sandbox_policy"] == "read-only"
    assert raw["data"]["otel"] == {
        "event_name": "event otel/src/events/session_telemetry.rs:593",
        "severity": "INFO",
        "trace_id": "4b7791c0c847cb961a46a557df1d04e2",
        "span_id": "033b873130b05d9f",
    }
    assert taken(raw).occurred_at == AT


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tool_result", "tool.result"),
        ("claude_code.user_prompt", "agent.prompt"),
        ("codex.user_prompt", "agent.prompt"),
        ("codex.tool_decision", "tool.decision"),
        ("codex.sse_event", "agent.sse_event"),
        ("gemini_cli.tool_call", "tool.result"),
        ("gemini_cli.api_response", "agent.model_response"),
        ("api_request", "agent.model_request"),
        ("permission_mode_changed", "agent.permission_mode_changed"),
        ("db.statement", "db.statement"),
        ("session.killed", "agent.session.killed"),
        ("credential.proven", "agent.credential.proven"),
        ("gen_ai.client.inference.operation.details", "agent.gen_ai.client.inference_operation_details"),
        ("My Event: 3 done!", "agent.my_event_3_done"),
        ("2nd.try", "agent.n2nd.try"),
        ("été", "agent.t"),
        ("...", "agent.log"),
        ("", "agent.log"),
        ("x" * 200, "agent." + "x" * (LONGEST_KIND - 6)),
    ],
)
def test_each_name_has_its_kind(name: str, kind: str) -> None:
    assert event(name)["kind"] == kind


@given(st.text(max_size=90))
def test_any_name_becomes_a_kind_that_agents_may_send(name: str) -> None:
    kind = event(name.encode("utf-8", "replace").decode())["kind"]

    assert KIND.fullmatch(kind)
    assert len(kind) <= LONGEST_KIND


def test_the_full_name_in_the_body_is_enough() -> None:
    (raw,) = sent({"timeUnixNano": str(AT_NS), "body": {"stringValue": "claude_code.compaction"}})

    assert raw["kind"] == "agent.compaction"


def test_a_line_of_text_is_kept_as_a_log() -> None:
    (raw,) = sent({"timeUnixNano": str(AT_NS), "body": {"stringValue": "Connected to 10.0.0.1"}})

    assert (raw["kind"], raw["data"]) == ("agent.log", {"otel": {"body": "Connected to 10.0.0.1"}})


@pytest.mark.parametrize(
    ("operation", "kind"), [("read", "file.read"), ("create", "file.created"), ("rename", "file.operation")]
)
def test_files_of_gemini_have_kinds_of_their_own(operation: str, kind: str) -> None:
    assert event("gemini_cli.file_operation", operation=operation, tool_name="read_file")["kind"] == kind


@pytest.mark.parametrize(
    ("attributes", "outcome"),
    [
        ({"success": True}, "success"),
        ({"success": False}, "failure"),
        ({"success": "false"}, "failure"),
        ({"decision": "accept"}, "success"),
        ({"decision": "approved_for_session"}, "success"),
        ({"decision": "reject"}, "denied"),
        ({"decision": "Denied"}, "denied"),
        ({"decision": "abort"}, "denied"),
        ({"decision_type": "reject", "success": "false"}, "denied"),
        ({"error": "Exit code 1"}, "failure"),
        ({"error": ""}, "success"),
        ({"error__message": "idle timeout waiting for SSE"}, "failure"),
        ({"status_code": 429}, "failure"),
        ({"status_code": "9" * 5000}, "success"),
        ({"http__response__status_code": 200}, "success"),
        ({"http__response__status_code": "503"}, "failure"),
    ],
)
def test_the_outcome_is_what_the_agent_says(attributes: dict[str, Any], outcome: str) -> None:
    assert event("tool_result", **attributes)["outcome"] == outcome


def test_errors_by_name_or_severity_are_failures() -> None:
    (loud,) = sent({"timeUnixNano": str(AT_NS), "severityNumber": 17, "body": {"stringValue": "out of memory"}})

    assert (loud["outcome"], event("claude_code.api_error")["outcome"]) == ("failure", "failure")


@pytest.mark.parametrize(
    ("attributes", "about"),
    [
        ({"tool_name": "Read", "tool_input": '{"file_path":"/srv/a.py","limit":5}'}, {"path": "/srv/a.py"}),
        ({"function_name": "read_file", "function_args": '{"absolute_path":"/srv/b"}'}, {"path": "/srv/b"}),
        ({"tool_name": "shell", "arguments": '{"command":["bash","-lc","ls a b"]}'}, {"command": "bash -lc 'ls a b'"}),
        ({"tool_name": "exec_command", "arguments": '{"cmd":"make"}'}, {"command": "make"}),
        ({"arguments": {"command": "make"}}, {"command": "make"}),
        (
            {"tool_name": "apply_patch", "arguments": "*** Begin Patch\n*** Update File: src/a b.rs\n@@\n-x\n+y\n"},
            {"path": "src/a b.rs"},
        ),
        (
            {"tool_name": "WebFetch", "tool_input": '{"url":"https://API.example.com:8443/v1?q=1"}'},
            {"host": "api.example.com", "path": "/v1", "url": "https://API.example.com:8443/v1?q=1"},
        ),
        ({"url__full": "https://example.com"}, {"host": "example.com", "path": "/"}),
        ({"server__address": "db.internal", "url__path": "/orders"}, {"host": "db.internal", "path": "/orders"}),
        ({"tool_input": '{"file_path":"/srv/a.py","content":"cut he'}, {}),
        ({"url__full": "http://[::1"}, {"url": "http://[::1"}),
        ({"tool_input": "[1]"}, {}),
    ],
)
def test_what_an_event_is_about_has_our_names(attributes: dict[str, Any], about: dict[str, str]) -> None:
    data = event("tool_result", **attributes)["data"]

    assert {name: data.get(name) for name in about} == about
    assert {"command", "url", "host", "path"} & data.keys() == about.keys() | {"url"} & data.keys()
    assert data["event.name"] == "tool_result"


def test_an_attribute_of_our_name_stays_as_it_was_said() -> None:
    data = event("tool_result", path=7, server__address="a.example", host="b.example", otel="mine")["data"]

    assert (data["path"], data["host"], data["otel"]) == (7, "b.example", {"otel": "mine"})


def test_the_machine_that_the_agent_runs_on_is_no_host_of_an_event() -> None:
    assert "host" not in event("tool_result", host__name="build-7")["data"]


def test_a_retried_export_has_the_same_ids() -> None:
    twice = [CLAUDE_TOOL_RESULT, CLAUDE_TOOL_RESULT, CODEX_STARTS]
    ids = [raw["id"] for raw in sent(*twice)]

    assert ids == [raw["id"] for raw in sent(*twice)]
    assert len(set(ids)) == 3
    assert {uuid.UUID(one).version for one in ids} == {7}


def test_an_id_begins_with_the_time_and_depends_on_the_session() -> None:
    (raw,) = sent(CLAUDE_TOOL_RESULT)
    (record,) = read(
        json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": str(AT_NS)}]}]}]}).encode(), JSON
    )

    assert uuid.UUID(raw["id"]).int >> 80 == AT_NS // 1_000_000
    assert raw_event(record, SESSION)["id"] != raw_event(record, uuid.UUID(int=1))["id"]


@pytest.mark.parametrize(
    ("said", "occurred_at"),
    [
        ("2026-09-20T18:27:04.163Z", "2026-09-20T18:27:04.163000Z"),
        ("2026-09-20T18:27:04", None),
        ("yesterday", None),
        (5, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_without_a_time_the_event_says_its_own_or_has_none(said: object, occurred_at: str | None) -> None:
    (raw,) = sent({"attributes": {"event.timestamp": said}})

    assert raw["occurred_at"] == occurred_at
    assert uuid.UUID(raw["id"]).version == 7


def test_numbers_that_canonical_json_cannot_hold_are_text() -> None:
    raw = event("tool_result", cost=2**60)

    assert raw["data"]["cost"] == "1152921504606846976"
    assert taken(raw).data["cost"] == "1152921504606846976"
