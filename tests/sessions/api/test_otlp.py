"""OTLP/HTTP logs: both encodings say the same, the malformed is refused in one way, answers have OTLP's shape."""

import json
import math
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from audit import canonical
from sessions.api import otlp
from sessions.api.otlp import DEEPEST, JSON, PROTOBUF, Malformed, OtherEncoding, Record, answer, failure, read

AT = 1_789_928_824_163_307_000


def text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def log_record(**changed: Any) -> LogRecord:
    given: dict[str, Any] = {
        "time_unix_nano": AT,
        "observed_time_unix_nano": AT + 5,
        "severity_number": SeverityNumber.SEVERITY_NUMBER_INFO,
        "severity_text": "INFO",
        "body": text("claude_code.tool_result"),
        "attributes": [KeyValue(key="tool_name", value=text("Bash"))],
        "trace_id": bytes(range(16)),
        "span_id": bytes(range(8)),
        "event_name": "tool_result",
    }
    return LogRecord(**{**given, **changed})


def request(*records: LogRecord) -> ExportLogsServiceRequest:
    resource = Resource(attributes=[KeyValue(key="service.name", value=text("claude-code"))])
    scope = InstrumentationScope(name="com.anthropic.claude_code.events")
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource, scope_logs=[ScopeLogs(scope=scope, log_records=records)])]
    )


def as_otlp_json(sent: ExportLogsServiceRequest) -> bytes:
    """The encoding of the specification: protobuf's JSON, but ids are hexadecimal and enums are numbers."""
    raw = json_format.MessageToDict(sent, use_integers_for_enums=True)
    for resource_logs, raw_resource in zip(sent.resource_logs, raw.get("resourceLogs", []), strict=True):
        for scope_logs, raw_scope in zip(resource_logs.scope_logs, raw_resource.get("scopeLogs", []), strict=True):
            for one, raw_one in zip(scope_logs.log_records, raw_scope.get("logRecords", []), strict=True):
                raw_one |= {"traceId": one.trace_id.hex(), "spanId": one.span_id.hex()}
    return json.dumps(raw).encode()


def value_of(value: AnyValue) -> Any:
    return read(request(log_record(body=value)).SerializeToString(), PROTOBUF)[0].body


def in_json(record: object) -> bytes:
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()


def test_a_protobuf_request_is_read() -> None:
    (record,) = read(request(log_record()).SerializeToString(), PROTOBUF)

    assert record == Record(
        time_ns=AT,
        observed_ns=AT + 5,
        event_name="tool_result",
        severity=9,
        severity_text="INFO",
        body="claude_code.tool_result",
        attributes={"tool_name": "Bash"},
        dropped_attributes=0,
        resource={"service.name": "claude-code"},
        scope="com.anthropic.claude_code.events",
        trace_id="000102030405060708090a0b0c0d0e0f",
        span_id="0001020304050607",
        mark=record.mark,
    )


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", JSON])
def test_json_says_the_same_as_protobuf(content_type: str) -> None:
    sent = request(log_record(), log_record(event_name="other"))

    assert read(as_otlp_json(sent), content_type) == read(sent.SerializeToString(), PROTOBUF)


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        (text("naïve ☃"), "naïve ☃"),
        (AnyValue(bool_value=False), False),
        (AnyValue(int_value=-7), -7),
        (AnyValue(int_value=2**53 - 1), 2**53 - 1),
        (AnyValue(int_value=2**53), "9007199254740992"),
        (AnyValue(int_value=-(2**63)), "-9223372036854775808"),
        (AnyValue(double_value=1.5), 1.5),
        (AnyValue(double_value=12.0), 12),
        (AnyValue(double_value=1e300), 1e300),
        (AnyValue(double_value=math.nan), "NaN"),
        (AnyValue(double_value=-math.inf), "-Infinity"),
        (AnyValue(bytes_value=b"\xff\xfe"), "//4="),
        (AnyValue(array_value=ArrayValue(values=[text("a"), AnyValue()])), ["a", None]),
        (AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=AnyValue(int_value=1))])), {"k": 1}),
        (AnyValue(), None),
    ],
)
def test_each_kind_of_value_is_plain_json_in_both_encodings(value: AnyValue, read_as: object) -> None:
    sent = request(log_record(body=value))

    assert value_of(value) == read_as
    assert read(as_otlp_json(sent), JSON)[0].body == read_as
    assert canonical.dumps({"body": read_as})


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ({"intValue": "42"}, 42),
        ({"intValue": 42}, 42),
        ({"intValue": 42.0}, 42),
        ({"doubleValue": "Infinity"}, "Infinity"),
        ({"doubleValue": "2.5"}, 2.5),
        ({"bytesValue": "//4"}, "//4="),
        ({"stringValue": None, "intValue": "1"}, 1),
        ({"arrayValue": {}}, []),
        ({"laterValue": "x"}, None),
        (None, None),
    ],
)
def test_json_values_are_read_as_exporters_write_them(given: object, read_as: object) -> None:
    (record,) = read(in_json({"body": given}), JSON)

    assert record.body == read_as


def test_fields_that_are_not_known_are_ignored() -> None:
    (record,) = read(in_json({"timeUnixNano": str(AT), "flags": 1, "entityRefs": [], "later": {"a": [1]}}), JSON)

    assert (record.time_ns, record.attributes, record.trace_id) == (AT, {}, "")


@pytest.mark.parametrize("severity", [17, "17", "SEVERITY_NUMBER_ERROR"])
def test_a_severity_is_a_number_or_its_name(severity: object) -> None:
    assert read(in_json({"severityNumber": severity}), JSON)[0].severity == 17


@pytest.mark.parametrize("body", [b"", b"{}", b'{"resourceLogs": []}', b'{"resourceLogs": [{"scopeLogs": [{}]}]}'])
def test_a_request_without_records_is_none(body: bytes) -> None:
    assert read(body, JSON if body else PROTOBUF) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"resourceLogs": {}}',
        b'{"resourceLogs": [7]}',
        b'{"resource_logs": []}',
        b'{"resourceLogs": [{"resource": 1}]}',
        b'{"resourceLogs": [{"scopeLogs": ["x"]}]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body, JSON)


@pytest.mark.parametrize(
    "record",
    [
        {"timeUnixNano": "soon"},
        {"timeUnixNano": -1},
        {"timeUnixNano": True},
        {"timeUnixNano": 2**64},
        {"traceId": "zz"},
        {"traceId": "abc"},
        {"severityNumber": "LOUD"},
        {"severityNumber": 2**40},
        {"droppedAttributesCount": 2**32},
        {"eventName": 5},
        {"attributes": [["k", "v"]]},
        {"attributes": [{"key": 1, "value": {}}]},
        {"body": {"boolValue": "true"}},
        {"body": {"stringValue": 1}},
        {"body": {"intValue": "1.5"}},
        {"body": {"intValue": "9" * 30}},
        {"body": {"doubleValue": "1-1"}},
        {"body": {"doubleValue": True}},
        {"body": {"bytesValue": "é"}},
        {"body": {"stringValue": "a", "intValue": "1"}},
        {"body": "text"},
    ],
)
def test_a_record_of_other_types_is_malformed(record: object) -> None:
    with pytest.raises(Malformed):
        read(in_json(record), JSON)


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
def test_values_nested_too_deep_are_malformed(content_type: str) -> None:
    value = text("x")
    for _ in range(DEEPEST):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    fits, deep = (
        request(log_record(body=value)),
        request(log_record(body=AnyValue(array_value=ArrayValue(values=[value])))),
    )
    encode = as_otlp_json if content_type == JSON else ExportLogsServiceRequest.SerializeToString

    assert len(read(encode(fits), content_type)) == 1
    with pytest.raises(Malformed, match="nested deeper"):
        read(encode(deep), content_type)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/grpc", "application/x-ndjson"])
def test_other_encodings_are_named(content_type: str) -> None:
    with pytest.raises(OtherEncoding, match=PROTOBUF):
        read(b"", content_type)


@given(st.binary(max_size=300))
def test_garbage_is_malformed_or_read_in_protobuf(body: bytes) -> None:
    try:
        found = read(body, PROTOBUF)
    except Malformed:
        return
    assert all(len(record.mark) == 36 for record in found)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from(["stringValue", "intValue", "arrayValue", "kvlistValue", "values", "key", "value", "body"])
TREES = st.recursive(LEAVES, lambda one: st.lists(one, max_size=3) | st.dictionaries(NAMES, one, max_size=3))
RECORDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("timeUnixNano", "body", "attributes", "traceId", "severityNumber", "eventName"), TREES),
)


@given(RECORDS | TREES)
def test_garbage_is_malformed_or_read_in_json(record: object) -> None:
    try:
        (found,) = read(in_json(record), JSON)
    except Malformed:
        return
    assert canonical.dumps(found.body) is not None


VALUES = st.recursive(
    st.builds(AnyValue, string_value=st.text(max_size=10))
    | st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1))
    | st.builds(AnyValue, double_value=st.floats())
    | st.builds(AnyValue, bytes_value=st.binary(max_size=10))
    | st.builds(AnyValue, bool_value=st.booleans()),
    lambda one: st.builds(lambda values: AnyValue(array_value=ArrayValue(values=values)), st.lists(one, max_size=3)),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=3), st.binary(max_size=16))
def test_any_record_is_the_same_in_both_encodings(values: list[AnyValue], trace_id: bytes) -> None:
    pairs = [KeyValue(key=f"k{place}", value=value) for place, value in enumerate(values)]
    sent = request(log_record(attributes=pairs, trace_id=trace_id))

    assert read(as_otlp_json(sent), JSON) == read(sent.SerializeToString(), PROTOBUF)


def test_marks_are_stable_and_tell_records_apart() -> None:
    twin, other = log_record(), log_record(time_unix_nano=AT + 1)
    sent = request(twin, twin, other).SerializeToString()
    marks = [record.mark for record in read(sent, PROTOBUF)]

    assert marks == [record.mark for record in read(sent, PROTOBUF)]
    assert len(set(marks)) == 3


def test_a_mark_does_not_depend_on_the_other_records() -> None:
    alone = read(request(log_record()).SerializeToString(), PROTOBUF)
    among = read(request(log_record(event_name="before"), log_record()).SerializeToString(), PROTOBUF)

    assert among[1].mark == alone[0].mark


def test_full_success_is_an_empty_answer() -> None:
    assert answer(0, "", PROTOBUF) == (b"", PROTOBUF)
    assert answer(0, "", "application/json; charset=utf-8") == (b"{}", JSON)


def test_partial_success_says_how_many_and_why() -> None:
    response = ExportLogsServiceResponse.FromString(answer(3, "too long", PROTOBUF)[0])

    assert (response.partial_success.rejected_log_records, response.partial_success.error_message) == (3, "too long")
    assert json_format.Parse(answer(3, "too long", JSON)[0], ExportLogsServiceResponse()) == response
    assert json.loads(answer(3, "too long", JSON)[0])["partialSuccess"]["rejectedLogRecords"] == "3"


def test_a_warning_may_come_with_nothing_rejected() -> None:
    response = ExportLogsServiceResponse.FromString(answer(0, "soon gone", PROTOBUF)[0])

    assert (response.partial_success.rejected_log_records, response.partial_success.error_message) == (0, "soon gone")


def status_class() -> Any:
    """google.rpc.Status, as google/rpc/status.proto has it; its details are not used here."""
    file = descriptor_pb2.FileDescriptorProto(name="status.proto", package="google.rpc", syntax="proto3")
    status = file.message_type.add(name="Status")
    field = descriptor_pb2.FieldDescriptorProto
    status.field.add(name="code", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    status.field.add(name="message", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))


def test_a_failure_is_a_google_rpc_status() -> None:
    body, content_type = failure("The session was killed. ☠", PROTOBUF)

    status = status_class().FromString(body)
    assert (status.code, status.message, content_type) == (0, "The session was killed. ☠", PROTOBUF)


@pytest.mark.parametrize("content_type", [JSON, "text/plain", ""])
def test_a_failure_is_json_unless_protobuf_was_sent(content_type: str) -> None:
    assert failure("No.", content_type) == (b'{"message":"No."}', JSON)


@pytest.mark.parametrize("attributes", [129, 200])
def test_a_resource_of_too_many_attributes_is_refused(attributes: int) -> None:
    described = [{"key": f"k{number}", "value": {"stringValue": "v"}} for number in range(attributes)]
    body = {"resourceLogs": [{"resource": {"attributes": described}, "scopeLogs": []}]}
    with pytest.raises(otlp.TooMany, match="may have 128 attributes"):
        otlp.read(json.dumps(body).encode(), "application/json")


def test_a_resource_that_would_fill_every_event_is_refused() -> None:
    described = [{"key": "k", "value": {"stringValue": "v" * 20_000}}]
    logs = [{"logRecords": [{"timeUnixNano": "1"}]}]
    body = {"resourceLogs": [{"resource": {"attributes": described}, "scopeLogs": logs}]}
    with pytest.raises(otlp.TooMany, match="may have 16384 bytes"):
        otlp.read(json.dumps(body).encode(), "application/json")
