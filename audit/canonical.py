"""Canonical JSON (RFC 8785) and its hash. Imports no Django, so that an outsider can run it."""

import hashlib
import json
from typing import Any

import orjson
import rfc8785

_EXACT = 2**53 - 1
_SIMPLE = frozenset({str, bool, type(None)})


def dumps(value: Any) -> bytes:
    """The one canonical encoding of a JSON value. Raises ValueError for what RFC 8785 cannot express."""
    if plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:  # a lone surrogate, or nested too deeply: let the reference say what is wrong
            pass
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise ValueError(f"cannot be written as canonical JSON: {error}") from error


def plain(value: Any) -> bool:
    """Whether sorted JSON is canonical as it stands: ASCII keys, exact integers, no float. A test holds it to that."""
    kind = type(value)
    if kind is dict:
        for key, one in value.items():
            if type(key) is not str or not key.isascii() or not (type(one) is str or plain(one)):
                return False
        return True
    if kind is int:
        return bool(-_EXACT <= value <= _EXACT)
    if kind is list:
        return all(map(plain, value))
    return kind in _SIMPLE


def loads(body: bytes) -> Any:
    return json.loads(body)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
