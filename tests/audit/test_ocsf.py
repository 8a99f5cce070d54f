"""Events as OCSF: valid against the schema as it is published, from the version that they name to the newest."""

import hashlib
import json
import uuid
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from audit import ocsf, siem
from audit.ocsf import Leaf
from audit.ocsf_classes import FAMILIES, KINDS, mapped

ORIGIN = "drawbridge.test/log"
VERSIONS = ("1.6.0", "1.7.0", "1.8.0")
SESSION = "01930000-0000-7000-8000-00000000000a"
PERSON = "01930000-0000-7000-8000-00000000000b"
CREDENTIAL = "01930000-0000-7000-8000-00000000000c"
GRANT = {
    "authorization_details": [
        {"type": "postgresql", "locations": ["postgresql://w/public.orders"], "actions": ["read"]}
    ]
}
DATA: dict[str, dict[str, Any]] = {
    "session.approved": {"grant": GRANT},
    "credential.issued": {"credential": CREDENTIAL},
    "person.role_granted": {"person": PERSON, "role": "lead", "team": "payments"},
    "team.created": {"team": "payments", "slug": "payments"},
    "process.started": {"argv": ["psql", "-c", "select 1"], "pid": 4711},
    "process.ended": {"argv": ["psql"], "pid": 4711, "exit_code": 3},
    "file.read": {"path": "/srv/orders.csv"},
    "http.request": {
        "method": "POST",
        "url": "https://api.test:8443/v1/orders?id=1",
        "host": "api.test",
        "status": 201,
    },
    "egress.refused": {"host": "evil.test", "port": 443},
    "db.statement": {"statement": "select * from orders", "dbname": "warehouse"},
    "finding.opened": {"finding": "f-1", "title": "A canary was used"},
    "tool.result": {"tool": "Bash", "command": "ls"},
}
SAMPLES = sorted({*KINDS, *(f"{family}.something" for family in FAMILIES), *DATA, "agent.prompt", "mcp.call.made"})


def leaf(kind: str, data: Any = None, **changes: Any) -> Leaf:
    session = None if kind.startswith(("team.", "person.", "log.", "profile.")) else SESSION
    content = {
        "v": 1,
        "id": "01930000-0000-7000-8000-000000000001",
        "stream": session or PERSON,
        "seq": 7,
        "kind": kind,
        "outcome": "success",
        "occurred_at": "2026-11-25T12:00:00.123456Z",
        "recorded_at": "2026-11-25T12:00:01.000000Z",
        "sub": f"person:{PERSON}",
        "act": {"sub": "agent:a"},
        "agent": "agent:a" if session else None,
        "session": session,
        "data": DATA.get(kind, {}) if data is None else data,
        **changes,
    }
    return Leaf.parse(41, json.dumps(content).encode())


@cache
def validator(version: str, class_name: str, profiles: tuple[str, ...]) -> Any:
    return jsonschema_rs.validator_for(schema(version).get_class_schema(class_name, list(profiles)))


@cache
def schema(version: str) -> Any:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))


def problems(event: dict[str, Any], version: str) -> list[str]:
    """What the schema of this version has against the event."""
    name = schema(version).lookup_class_name_from_uid(event["class_uid"])
    found = validator(version, name, tuple(event["metadata"].get("profiles", ()))).iter_errors(event)
    return [f"{error.instance_path}: {error.message}" for error in found]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", SAMPLES)
def test_event_follows_the_schema(kind: str, version: str) -> None:
    for outcome in ("success", "failure", "denied"):
        assert problems(ocsf.event(leaf(kind, outcome=outcome), ORIGIN), version) == []


@pytest.mark.parametrize("kind", SAMPLES)
def test_names_are_those_of_the_schema(kind: str) -> None:
    event, published = ocsf.event(leaf(kind), ORIGIN), get_ocsf_schema(version=ocsf.SCHEMA)
    found = published["classes"][schema(ocsf.SCHEMA).lookup_class_name_from_uid(event["class_uid"])]
    activities = found["attributes"]["activity_id"]["enum"]
    assert (event["class_name"], event["category_uid"]) == (found["caption"], found["category_uid"])
    assert event["category_name"] == found["category_name"]
    if event["activity_id"] != 99:
        assert event["activity_name"] == activities[str(event["activity_id"])]["caption"]


@pytest.mark.parametrize(
    ("kind", "type_uid"),
    [
        ("session.approved", 300501),
        ("session.killed", 300502),
        ("session.active", 300201),
        ("session.requested", 600301),
        ("session.finding", 200401),
        ("credential.issued", 300101),
        ("credential.revoked", 300105),
        ("credential.replaced", 300199),
        ("person.added", 300101),
        ("log.read", 600302),
        ("process.started", 100701),
        ("file.read", 100102),
        ("http.request", 400206),
        ("egress.refused", 400106),
        ("db.statement", 600504),
        ("db.login", 300201),
        ("tool.result", 600399),
        ("agent.prompt", 600399),
    ],
)
def test_kind_has_its_type(kind: str, type_uid: int) -> None:
    assert ocsf.event(leaf(kind), ORIGIN)["type_uid"] == type_uid


def test_every_activity_of_a_kind_has_a_name() -> None:
    unnamed = [kind for kind, to in KINDS.items() if to.activity != 99 and to.activity not in to.of.activities]
    assert unnamed == []


@pytest.mark.parametrize(
    ("kind", "outcome", "severity"),
    [
        ("tool.result", "success", 1),
        ("tool.result", "failure", 2),
        ("tool.result", "denied", 3),
        ("session.killed", "success", 4),
        ("log.archive_drifted", "failure", 5),
    ],
)
def test_severity_is_the_higher_of_kind_and_outcome(kind: str, outcome: str, severity: int) -> None:
    assert ocsf.event(leaf(kind, outcome=outcome), ORIGIN)["severity_id"] == severity


def test_event_says_where_it_stands_in_the_log() -> None:
    one = leaf("tool.result")
    event = ocsf.event(one, ORIGIN)
    assert (event["time"], event["metadata"]["logged_time"]) == (1795608000123, 1795608001000)
    assert (event["metadata"]["sequence"], event["metadata"]["log_name"]) == (41, ORIGIN)
    assert event["metadata"]["uid"] == "01930000-0000-7000-8000-000000000001"
    assert event["raw_data_hash"]["value"] == hashlib.sha256(one.body).hexdigest()


def test_data_is_there_as_it_stands() -> None:
    event = ocsf.event(leaf("tool.result", {"tool": "Bash", "nested": {"a": [1, None]}}), ORIGIN)
    assert event["unmapped"]["data"] == {"tool": "Bash", "nested": {"a": [1, None]}}
    assert event["unmapped"]["seq"] == 7


def test_what_is_sealed_stays_sealed() -> None:
    sealed = {"sealed": "AAAA", "for": f"person:{PERSON}"}
    event = ocsf.event(leaf("process.started", {"command": sealed, "argv": sealed}), ORIGIN)
    assert event["unmapped"]["data"]["command"] == sealed
    assert "cmd_line" not in event["process"]


def test_denied_connection_is_a_refused_one() -> None:
    event = ocsf.event(leaf("egress.tried", DATA["egress.refused"], outcome="denied"), ORIGIN)
    assert (event["activity_name"], event["status"], event["status_detail"]) == ("Refuse", "Failure", "denied")
    assert event["dst_endpoint"] == {"hostname": "evil.test", "port": 443}


def test_grant_is_said_as_privileges() -> None:
    event = ocsf.event(leaf("session.approved"), ORIGIN)
    assert event["privileges"] == ["read postgresql://w/public.orders"]
    assert event["user"]["uid"] == "agent:a"


def test_role_is_said_as_a_privilege_of_the_person() -> None:
    event = ocsf.event(leaf("person.role_granted"), ORIGIN)
    assert (event["privileges"], event["user"]["uid"]) == (["lead of payments"], f"person:{PERSON}")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["method", "url", "host", "port", "path", "status", "argv", "command", "pid", "exit_code", "tool", "statement"]
NAMES += ["dbname", "finding", "title", "person", "role", "credential", "grant"]
REPORTED = ["tool.result", "http.request", "file.read", "process.started", "process.ended", "db.statement", "egress.x"]


@given(st.sampled_from(REPORTED), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6))
def test_whatever_an_agent_reports_follows_the_schema(kind: str, data: dict[str, Any]) -> None:
    event = json.loads(siem.line(leaf(kind, data), ORIGIN))
    assert problems(event, ocsf.SCHEMA) == []
    assert event["unmapped"]["data"] == json.loads(json.dumps(data))


def test_deep_data_stops_nothing() -> None:
    data: dict[str, Any] = {}
    for _ in range(400):
        data = {"a": data}
    assert json.loads(siem.line(leaf("tool.result", data), ORIGIN))["class_uid"] == 6003


def test_kind_that_nobody_knows_is_an_api_activity() -> None:
    event = ocsf.event(leaf("quantum.entangled"), ORIGIN)
    assert (event["class_uid"], event["activity_id"], event["activity_name"]) == (6003, 99, "quantum.entangled")
    assert mapped("quantum.entangled").severity == 1
    assert uuid.UUID(event["metadata"]["uid"]).version == 7
