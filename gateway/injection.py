"""Puts a session's credential into a request, in place of whatever the agent sent there."""

import base64
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote_to_bytes

from gateway.head import Head
from gateway.policy import Injection
from gateway.refusal import InjectionError

Fields = Mapping[str, str]
# Whatever else says who one is: an agent that could add its own would make the far end act for somebody else.
CREDENTIAL_HEADERS = (
    b"authorization", b"api-key", b"apikey", b"private-token", b"job-token", b"x-amz-security-token", b"x-api-key",
    b"x-auth-token", b"x-goog-api-key", b"x-vault-token",
)  # fmt: skip
_VALUE_FIELDS = ("value", "token", "password")


def inject(injection: Injection, fields: Fields | None, head: Head) -> Head:
    """The head with the credential in it, and without any other. `fields` is None where the session has no such slot.

    AWS requests are signed by gateway/sigv4.py, which needs more than a head.
    """
    if fields is None:
        raise InjectionError("secret_missing", f"The session has no credential {injection.slot} now.")
    put = _PUTTERS.get(injection.kind)
    if put is None:
        raise InjectionError("injection_unknown", f"A credential cannot be put into a head as {injection.kind}.")
    return put(injection, _value(injection, fields), head.without(*CREDENTIAL_HEADERS))


def _value(injection: Injection, fields: Fields) -> bytes:
    """The one secret of the credential, fit for a header."""
    values = [fields[name] for name in _VALUE_FIELDS if fields.get(name)]
    if len(values) != 1:
        raise InjectionError("secret_unfit", f"The credential {injection.slot} does not hold exactly one secret.")
    value = values[0].encode()
    if injection.kind in ("bearer", "header") and any(byte < 0x20 or byte > 0x7E for byte in value):
        raise InjectionError("secret_unfit", f"The credential {injection.slot} does not fit into a header.")
    return value


def _bearer(_injection: Injection, value: bytes, head: Head) -> Head:
    return head.having(b"Authorization", b"Bearer " + value)


def _header(injection: Injection, value: bytes, head: Head) -> Head:
    return head.having(injection.name.encode(), value)


def _basic(injection: Injection, value: bytes, head: Head) -> Head:
    """RFC 7617; a name with a colon would be read as a part of the password."""
    if ":" in injection.name:
        raise InjectionError("injection_unknown", "A user's name cannot hold a colon.")
    pair = injection.name.encode() + b":" + value
    return head.having(b"Authorization", b"Basic " + base64.b64encode(pair))


def _query(injection: Injection, value: bytes, head: Head) -> Head:
    """Every parameter that decodes to the name goes, however it was written."""
    name = injection.name.encode()
    kept = [pair for pair in head.query.split(b"&") if pair and _parameter_name(pair) != name]
    return head.with_query([*kept, quote(name, safe="").encode() + b"=" + quote(value, safe="").encode()])


def _parameter_name(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))


_PUTTERS: Mapping[str, Callable[[Injection, bytes, Head], Head]] = {
    "bearer": _bearer,
    "header": _header,
    "basic": _basic,
    "query": _query,
}
