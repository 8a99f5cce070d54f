"""OTLP/HTTP logs: requests and answers in both encodings, without Django or a database.

ExportLogsServiceRequest as protobuf, or as the JSON that https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
describes: ids are hexadecimal, 64-bit integers may be text, enums are numbers, fields that are not known are ignored.

Malformed              the body is no request
    OtherEncoding      the content type is neither of the two
"""

import base64
import binascii
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from audit import canonical

PROTOBUF, JSON = "application/x-protobuf", "application/json"
DEEPEST = 16
_EXACT = 2**53 - 1
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_SCALARS = frozenset({"stringValue", "boolValue", "intValue", "doubleValue", "bytesValue"})
_KINDS_OF_VALUE = _SCALARS | {"arrayValue", "kvlistValue"}


MOST_RECORDS, MOST_ATTRIBUTES, LONGEST_RESOURCE = 1_000, 128, 16_384


class Malformed(Exception):
    """The request cannot be read: the text says why, without repeating what it holds."""


class TooMany(Malformed):
    """More records, or more attributes of a resource, than one request may have: exporters send 512 at most."""


class OtherEncoding(Malformed):
    """The content type is one that OTLP/HTTP does not have."""


@dataclass(frozen=True)
class Record:
    """One log record. Its values are plain JSON: integers beyond 2^53 and what is no number are text, bytes are base64.

    Times are nanoseconds since 1970; 0 is unknown. `mark` tells it apart from any other record of its request, and is
    the same in each sending and in both encodings.
    """

    time_ns: int
    observed_ns: int
    event_name: str
    severity: int
    severity_text: str
    body: Any
    attributes: Mapping[str, Any]
    dropped_attributes: int
    resource: Mapping[str, Any]
    scope: str
    trace_id: str
    span_id: str
    mark: bytes = b""


def read(body: bytes, content_type: str) -> list[Record]:
    """The records of an ExportLogsServiceRequest, in their order. Raises Malformed, or OtherEncoding."""
    records = _records_of_json(body) if _encoding(content_type) == JSON else _records_of_message(body)
    return list(_marked(records))


def answer(rejected: int, message: str, content_type: str) -> tuple[bytes, str]:
    """The ExportLogsServiceResponse: how many records were not taken and why, or only a warning. Body, content type."""
    encoding = _encoding(content_type)
    if encoding == PROTOBUF:
        response = ExportLogsServiceResponse()
        if rejected or message:
            response.partial_success.CopyFrom(
                ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
            )
        return response.SerializeToString(), PROTOBUF
    partial = {"rejectedLogRecords": str(rejected), "errorMessage": message}
    return orjson.dumps({"partialSuccess": partial} if rejected or message else {}), JSON


def failure(message: str, content_type: str) -> tuple[bytes, str]:
    """The google.rpc.Status that goes with 4xx and 5xx, as JSON where the request is in neither encoding."""
    try:
        encoding = _encoding(content_type)
    except OtherEncoding:
        encoding = JSON
    if encoding == JSON:
        return orjson.dumps({"message": message}), JSON
    # Status is {int32 code = 1; string message = 2}, and OTLP lets the code out: this has the same bytes.
    return ExportLogsPartialSuccess(error_message=message).SerializeToString(), PROTOBUF


def _encoding(content_type: str) -> str:
    found = content_type.partition(";")[0].strip().lower()
    if found in (PROTOBUF, JSON):
        return found
    raise OtherEncoding(f"The content type must be {PROTOBUF} or {JSON}.")


def _marked(records: Iterable[Record]) -> Iterator[Record]:
    """Two records that are the same in everything did happen twice: each has its ordinal in its mark."""
    seen: Counter[bytes] = Counter()
    resource: Mapping[str, Any] | None = None
    for record in records:
        if record.resource is not resource:
            resource, described = record.resource, canonical.dumps(record.resource)
            if len(described) > LONGEST_RESOURCE:
                raise TooMany(f"A resource may have {LONGEST_RESOURCE} bytes: it goes into each record's event.")
            digest = hashlib.sha256(described).hexdigest()
        # Nanoseconds are more than a number of canonical JSON can hold.
        times = {"time_ns": str(record.time_ns), "observed_ns": str(record.observed_ns), "mark": "", "resource": digest}
        content = hashlib.sha256(canonical.dumps(vars(record) | times)).digest()
        yield replace(record, mark=content + seen[content].to_bytes(4, "big"))
        seen[content] += 1


def _records_of_message(body: bytes) -> Iterator[Record]:
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise Malformed("The body is not an ExportLogsServiceRequest in protobuf.") from error
    _check_count(sum(len(scope.log_records) for one in request.resource_logs for scope in one.scope_logs))
    for resource_logs in request.resource_logs:
        _check_resource(len(resource_logs.resource.attributes))
        resource = _attributes_of_message(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for one in scope_logs.log_records:
                yield _record_of_message(one, resource, scope_logs.scope.name)


def _check_count(count: int) -> None:
    if count > MOST_RECORDS:
        raise TooMany(f"A request may have {MOST_RECORDS} records. Send fewer at once.")


def _check_resource(attributes: int) -> None:
    """It goes into each record's event."""
    if attributes > MOST_ATTRIBUTES:
        raise TooMany(f"A resource may have {MOST_ATTRIBUTES} attributes, this one has {attributes}.")


def _record_of_message(one: LogRecord, resource: Mapping[str, Any], scope: str) -> Record:
    return Record(
        time_ns=one.time_unix_nano,
        observed_ns=one.observed_time_unix_nano,
        event_name=one.event_name,
        severity=one.severity_number,
        severity_text=one.severity_text,
        body=_value_of_message(one.body, DEEPEST),
        attributes=_attributes_of_message(one.attributes),
        dropped_attributes=one.dropped_attributes_count,
        resource=resource,
        scope=scope,
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
    )


def _attributes_of_message(pairs: Iterable[KeyValue], left: int = DEEPEST) -> dict[str, Any]:
    return {pair.key: _value_of_message(pair.value, left) for pair in pairs}


def _value_of_message(value: AnyValue, left: int) -> Any:
    which = value.WhichOneof("value")
    if which is None or which == "string_value_strindex":
        return None
    if which == "array_value":
        return [_value_of_message(one, _deeper(left)) for one in value.array_value.values]
    if which == "kvlist_value":
        return _attributes_of_message(value.kvlist_value.values, _deeper(left))
    found = getattr(value, which)
    return base64.b64encode(found).decode() if which == "bytes_value" else _exact(found)


def _records_of_json(body: bytes) -> Iterator[Record]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("The body is not JSON.") from error
    if isinstance(request, dict) and "resource_logs" in request:
        raise Malformed("Names are written in lowerCamelCase: resourceLogs.")
    count = 0
    for resource_logs in _list(_object(request), "resourceLogs"):
        described = _list(_inner(resource_logs, "resource"), "attributes")
        _check_resource(len(described))
        resource = _attributes_of_json(described)
        for scope_logs in _list(_object(resource_logs), "scopeLogs"):
            scope = _text(_inner(scope_logs, "scope"), "name")
            count += len(records := _list(_object(scope_logs), "logRecords"))
            _check_count(count)
            for one in records:
                yield _record_of_json(_object(one), resource, scope)


def _record_of_json(one: Mapping[str, Any], resource: Mapping[str, Any], scope: str) -> Record:
    return Record(
        time_ns=_natural(one, "timeUnixNano"),
        observed_ns=_natural(one, "observedTimeUnixNano"),
        event_name=_text(one, "eventName"),
        severity=_severity(one),
        severity_text=_text(one, "severityText"),
        body=_value_of_json(one.get("body"), DEEPEST),
        attributes=_attributes_of_json(_list(one, "attributes")),
        dropped_attributes=_natural(one, "droppedAttributesCount", 32),
        resource=resource,
        scope=scope,
        trace_id=_identifier(one, "traceId"),
        span_id=_identifier(one, "spanId"),
    )


def _attributes_of_json(pairs: Sequence[Any], left: int = DEEPEST) -> dict[str, Any]:
    return {_text(_object(pair), "key"): _value_of_json(pair.get("value"), left) for pair in pairs}


def _value_of_json(raw: Any, left: int) -> Any:
    if raw is None:
        return None
    given = [(name, value) for name, value in _object(raw).items() if name in _KINDS_OF_VALUE and value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise Malformed("A value is of one kind: it has stringValue, or intValue, or another.")
    name, value = given[0]
    if name == "arrayValue":
        return [_value_of_json(one, _deeper(left)) for one in _list(_object(value), "values")]
    if name == "kvlistValue":
        return _attributes_of_json(_list(_object(value), "values"), _deeper(left))
    return _scalar(name, value)


def _scalar(name: str, value: Any) -> Any:
    if name == "intValue":
        return _exact(_integer(value, name))
    if name == "doubleValue":
        return _exact(_double(value))
    if name == "bytesValue" and isinstance(value, str):
        return _base64(value)
    if isinstance(value, bool if name == "boolValue" else str) and name != "bytesValue":
        return value
    raise Malformed(f"A {name} is not one.")


def _exact(value: Any) -> Any:
    """A value that canonical JSON can hold. Doubles that are integers are written alike, so they become integers."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if isinstance(value, int) and not -_EXACT <= value <= _EXACT:
        return str(value)
    return value


def _deeper(left: int) -> int:
    if left == 0:
        raise Malformed(f"A value is nested deeper than {DEEPEST} levels.")
    return left - 1


def _object(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise Malformed("The body is not an ExportLogsServiceRequest: an object is missing.")
    return raw


def _inner(raw: Any, name: str) -> Mapping[str, Any]:
    found = _object(raw).get(name)
    return {} if found is None else _object(found)


def _list(raw: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = raw.get(name)
    if found is None:
        return ()
    if not isinstance(found, list):
        raise Malformed(f"{name} is not a list.")
    return found


def _text(raw: Mapping[str, Any], name: str) -> str:
    found = raw.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise Malformed(f"{name} is not text.")
    return found


def _integer(value: Any, name: str) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**64:
        raise Malformed(f"{name} is not an integer.")
    return value


def _natural(raw: Mapping[str, Any], name: str, bits: int = 64) -> int:
    value = raw.get(name)
    found = 0 if value is None else _integer(value, name)
    if not 0 <= found < 2**bits:
        raise Malformed(f"{name} is out of range.")
    return found


def _severity(raw: Mapping[str, Any]) -> int:
    """A number, as the specification has it. Python's own JSON printer writes names, so they are understood, too."""
    value = raw.get("severityNumber")
    if isinstance(value, str) and value in SeverityNumber.keys():  # noqa: SIM118 (not a mapping)
        return SeverityNumber.Value(value)
    return _natural(raw, "severityNumber", 31)


def _double(value: Any) -> float:
    if isinstance(value, str) and (value in _NOT_FINITE or re.fullmatch(r"-?[0-9][0-9.eE+-]{0,40}", value)):
        try:
            value = float(value)
        except ValueError as error:
            raise Malformed("A doubleValue is not one.") from error
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed("A doubleValue is not one.")
    return float(value)


def _base64(value: str) -> str:
    try:
        found = base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), altchars=None, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("A bytesValue is not base64.") from error
    return base64.b64encode(found).decode()


def _identifier(raw: Mapping[str, Any], name: str) -> str:
    found = _text(raw, name)
    if not _HEXADECIMAL.fullmatch(found):
        raise Malformed(f"{name} is not hexadecimal.")
    return found.lower()
