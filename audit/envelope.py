"""Secrets at rest: AES-256-GCM under an envelope key that is kept outside the database.

Not OpenBao's transit engine, for one reason: the proof that a credential is dead needs the credential, and a kill has
to be proven while OpenBao is down. Keys are a list, oldest to newest: seal with the last, open with any.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

NONCE_BYTES = 12


class Unreadable(Exception):
    """A sealed secret does not open: its key is gone, or it was moved to another row, or it was changed."""


@dataclass(frozen=True)
class Sealed:
    key_id: str
    blob: bytes


@cache
def _keys() -> dict[str, AESGCM]:
    keys = {entry["id"]: AESGCM(base64.b64decode(entry["key"])) for entry in settings.ENVELOPE_KEYS}
    if not keys:
        raise ImproperlyConfigured("ENVELOPE_KEYS has no key in it. Give at least one: [{'id': 'k1', 'key': base64}].")
    return keys


def seal(secret: Mapping[str, Any], row: str) -> Sealed:
    """Encrypt for one row: the row's id is authenticated with it, so that it opens nowhere else."""
    key_id = settings.ENVELOPE_KEYS[-1]["id"]
    nonce = os.urandom(NONCE_BYTES)
    plain = json.dumps(dict(secret)).encode()
    return Sealed(key_id, nonce + _keys()[key_id].encrypt(nonce, plain, row.encode()))


def unseal(sealed: Sealed, row: str) -> dict[str, Any]:
    """The secret. Raises Unreadable."""
    key = _keys().get(sealed.key_id)
    if key is None:
        raise Unreadable(f"no envelope key is named {sealed.key_id!r}")
    try:
        plain = key.decrypt(sealed.blob[:NONCE_BYTES], sealed.blob[NONCE_BYTES:], row.encode())
    except InvalidTag as error:
        raise Unreadable("the sealed secret does not belong to this row, or was changed") from error
    secret: dict[str, Any] = json.loads(plain)
    return secret
