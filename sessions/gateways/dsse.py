"""DSSE, the Dead Simple Signing Envelope (secure-systems-lab/dsse, version 1), with Ed25519 keys. Imports no Django."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Unsigned(Exception):
    """No signature of a known key stands under it."""


def key_id(public: bytes) -> str:
    """The first eight bytes of the SHA-256 of the raw public key, in hexadecimal digits."""
    return hashlib.sha256(public).hexdigest()[:16]


def encoded(payload_type: str, payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding of the specification."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> dict[str, Any]:
    """The envelope, as a JSON object."""
    signature = key.sign(encoded(payload_type, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [
            {"keyid": key_id(key.public_key().public_bytes_raw()), "sig": base64.b64encode(signature).decode()}
        ],
    }


def opened(envelope: Mapping[str, Any], payload_type: str, keys: Iterable[bytes]) -> bytes:
    """The payload, if a known raw public key signed it as this type. Raises Unsigned."""
    known = {key_id(public): public for public in keys}
    payload = base64.b64decode(envelope["payload"], validate=True)
    if envelope["payloadType"] == payload_type:
        for signature in envelope["signatures"]:
            public = known.get(signature["keyid"])
            if public is not None and _verifies(public, signature["sig"], encoded(payload_type, payload)):
                return payload
    raise Unsigned("no known key signed this as what it says it is")


def _verifies(public: bytes, signature: str, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True
