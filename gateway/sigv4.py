"""Signs an agent's AWS request anew with the session's keys (AWS Signature Version 4).

Time, region, service and payload stay as the agent signed them. A presigned URL stays one, but ends at most five
minutes from now. SigV4a, event streams, S3 Express, browser forms and unsigned requests are refused.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import quote, unquote_to_bytes

from gateway.aws_chunks import ChunkKey, Chunks
from gateway.head import Head
from gateway.refusal import SigningError
from gateway.sigv4_claim import (
    ALGORITHM,
    AUTH_PARAMETERS,
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED,
    Claim,
    parameters,
)

PRESIGNED_LONGEST_S = 300
_CHUNKED = (STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED)


@dataclass(frozen=True)
class Keys:
    """The session's AWS keys; without a token they are long-lived ones."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    @classmethod
    def of(cls, slot: str, fields: Mapping[str, str] | None) -> "Keys":
        """From a credential's fields. Raises SigningError if the session has none, or none that can sign."""
        if fields is None:
            raise SigningError("secret_missing", f"The session has no credential {slot} now.")
        identity, secret = fields.get("access_key_id", ""), fields.get("secret_access_key", "")
        token = fields.get("session_token", "")
        if not identity.isalnum() or not secret or not token.isascii():
            raise SigningError("secret_unfit", f"The credential {slot} does not hold keys of AWS.")
        return cls(identity, secret, token)

    def signing_key(self, claim: Claim) -> bytes:
        key = f"AWS4{self.secret_access_key}".encode()
        for part in claim.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


@dataclass(frozen=True)
class Signed:
    """The request as it goes on. `chunks` takes the body if it is framed as aws-chunked."""

    head: Head
    signature: str
    chunks: Chunks | None = None


def sign(claim: Claim, head: Head, keys: Keys, *, now: datetime, body_sha256: str | None = None) -> Signed:
    """The last step before a request goes on: what changes a header after it breaks the signature.

    `body_sha256` (hex) is needed where claim.payload is None.
    """
    payload = claim.payload or body_sha256
    if payload is None:
        raise SigningError("signing_payload", "The body's hash is needed to sign this request.")
    bare = head.without(b"authorization", b"x-amz-security-token")
    key = keys.signing_key(claim)
    if claim.expires is not None:
        return _presigned(replace(claim, expires=_lasting(claim, now)), bare, keys, key, payload)
    if keys.session_token:
        bare = bare.having(b"X-Amz-Security-Token", keys.session_token.encode())
    names = _signed_names(claim, bare)
    signature = _signature(claim, key, canonical_request(claim, bare, names, payload))
    credential = f"Credential={keys.access_key_id}/{claim.scope}"
    value = f"{ALGORITHM} {credential}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return Signed(bare.having(b"Authorization", value.encode()), signature, _chunks(claim, key, payload, signature))


def _lasting(claim: Claim, now: datetime) -> int:
    """How many seconds after its own time a presigned URL may still be used."""
    lasting = min(claim.expires or 0, int((now - claim.at).total_seconds()) + PRESIGNED_LONGEST_S)
    if lasting < 1:
        raise SigningError("signing_time", "The presigned URL's time is too far from now.")
    return lasting


def _presigned(claim: Claim, bare: Head, keys: Keys, key: bytes, payload: str) -> Signed:
    names = _signed_names(claim, bare)
    pairs = [pair for pair in bare.query.split(b"&") if pair and _name(pair) not in AUTH_PARAMETERS]
    own = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key_id}/{claim.scope}",
        "X-Amz-Date": claim.stamp,
        "X-Amz-Expires": str(claim.expires),
        "X-Amz-SignedHeaders": ";".join(names),
    } | ({"X-Amz-Security-Token": keys.session_token} if keys.session_token else {})
    pairs += [f"{name}={quote(value, safe='')}".encode() for name, value in own.items()]
    head = bare.with_query(pairs)
    signature = _signature(claim, key, canonical_request(claim, head, names, payload))
    signed = head.with_query([*pairs, f"X-Amz-Signature={signature}".encode()])
    return Signed(signed, signature, _chunks(claim, key, payload, signature))


def _name(pair: bytes) -> str:
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" ")).decode("latin-1").lower()


def _signed_names(claim: Claim, head: Head) -> list[str]:
    """Those of the agent's that are still there, and all of AWS's own: S3 refuses one that is not signed."""
    there = {name.decode("latin-1").lower() for name, _ in head.headers}
    if head.one(b"host") is None:
        raise SigningError("signing_shape", "The request has no Host header.")
    return sorted((there & set(claim.signed)) | {name for name in there if name.startswith("x-amz-")})


def canonical_request(claim: Claim, head: Head, names: list[str], payload: str) -> bytes:
    """As "Create a canonical request" in AWS's description of Signature Version 4."""
    lines = [head.method.upper(), _canonical_path(claim, head.path), _canonical_query(head)]
    for name in names:
        values = [b" ".join(value.split()) for value in head.all(name.encode("latin-1"))]
        lines.append(name.encode("latin-1") + b":" + b",".join(values))
    return b"\n".join([*lines, b"", ";".join(names).encode("latin-1"), payload.encode()])


def _canonical_path(claim: Claim, path: bytes) -> bytes:
    if claim.is_s3:
        return quote(unquote_to_bytes(path or b"/"), safe="/~").encode()
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    slash = b"/" if kept and path.endswith(b"/") else b""
    return quote(b"/" + b"/".join(kept) + slash, safe="/~").encode()


def _canonical_query(head: Head) -> bytes:
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in parameters(head))
    return "&".join(f"{name}={value}" for name, value in pairs).encode()


def _signature(claim: Claim, key: bytes, request: bytes) -> str:
    digest = hashlib.sha256(request).hexdigest()
    return hmac.digest(key, f"{ALGORITHM}\n{claim.stamp}\n{claim.scope}\n{digest}".encode(), "sha256").hex()


def _chunks(claim: Claim, key: bytes, payload: str, signature: str) -> Chunks | None:
    if payload not in _CHUNKED:
        return None
    signed = payload != STREAMING_UNSIGNED
    chunk_key = ChunkKey(key, claim.stamp, claim.scope) if signed else None
    return Chunks(chunk_key, seed=signature, trailer=payload != STREAMING_SIGNED)
