"""Secrets at rest: AES-256-GCM under an envelope key that is kept outside the database.

Not OpenBao's transit engine, for one reason: the proof that a credential is dead needs the credential, and a kill has
to be proven while OpenBao is down. Keys are a list, oldest to newest: seal with the last, open with any.
"""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
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


@cache
def _digest_keys() -> list[bytes]:
    """For digests of secrets, oldest to newest: out of the envelope keys, and of no use for opening anything."""
    return [
        HKDF(SHA256(), 32, salt=None, info=b"drawbridge fingerprint").derive(base64.b64decode(entry["key"]))
        for entry in settings.ENVELOPE_KEYS
    ]


def fingerprint(text: str) -> str:
    """A keyed digest, by which a secret is known again: 64 hexadecimal digits."""
    return hmac.new(_digest_keys()[-1], text.encode(), hashlib.sha256).hexdigest()


def fingerprints(text: str) -> list[str]:
    """Its digests under every key that there was."""
    return [hmac.new(key, text.encode(), hashlib.sha256).hexdigest() for key in _digest_keys()]


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
