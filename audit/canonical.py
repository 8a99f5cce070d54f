"""Canonical JSON (RFC 8785) and its hash. Imports no Django, so that an outsider can run it."""

import hashlib
import json
from typing import Any

import rfc8785


def dumps(value: Any) -> bytes:
    """The one canonical encoding of a JSON value. Raises ValueError for what RFC 8785 cannot express."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"cannot be written as canonical JSON: {error}") from error


def loads(body: bytes) -> Any:
    return json.loads(body)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
