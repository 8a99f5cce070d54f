"""DSSE, the Dead Simple Signing Envelope (v1), with Ed25519: how policy documents come to the gateway."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.errors import BadPolicy

POLICY_TYPE = "application/vnd.drawbridge.policy+json"
Keys = Mapping[str, Ed25519PublicKey]


def keys_of(encoded: str) -> Keys:
    """Verifier keys from a comma-separated list of raw public keys in base64, by their ids. Raises BadPolicy."""
    try:
        raws = [base64.b64decode(one.strip(), validate=True) for one in encoded.split(",") if one.strip()]
        keys = {key_id(raw): Ed25519PublicKey.from_public_bytes(raw) for raw in raws}
    except ValueError as error:
        raise BadPolicy("The policy's verifier keys must be raw Ed25519 public keys in base64.") from error
    if not keys:
        raise BadPolicy("There is no key to verify policies with.")
    return keys


def key_id(raw: bytes) -> str:
    """The first 8 bytes of the SHA-256 of the raw public key, in hex."""
    return hashlib.sha256(raw).hexdigest()[:16]


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def verified(envelope: object, keys: Keys, payload_type: str = POLICY_TYPE) -> bytes:
    """The payload of an envelope that one of the keys signed. Raises BadPolicy for everything else."""
    try:
        if not isinstance(envelope, dict) or envelope["payloadType"] != payload_type:
            raise BadPolicy("This is no policy document.")
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [
            (str(one["keyid"]), base64.b64decode(one["sig"], validate=True)) for one in envelope["signatures"]
        ]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BadPolicy("The policy's envelope is not of DSSE's shape.") from error
    signed = pae(payload_type, payload)
    if not any(_signed_by(keys.get(name), signature, signed) for name, signature in signatures):
        raise BadPolicy("No key that this gateway knows has signed the policy.")
    return payload


def read_json(payload: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadPolicy("The policy is not JSON.") from error
    if not isinstance(content, dict):
        raise BadPolicy("The policy is not a JSON object.")
    return content


def _signed_by(key: Ed25519PublicKey | None, signature: bytes, signed: bytes) -> bool:
    if key is None:
        return False
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
