"""What an agent signed with its dummy keys: the shape of an AWS Signature Version 4 request, header or presigned."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_to_bytes

from gateway import aws_hosts
from gateway.head import Head
from gateway.refusal import SigningError

ALGORITHM = "AWS4-HMAC-SHA256"
STAMP = "%Y%m%dT%H%M%SZ"
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_PAYLOADS = {UNSIGNED, STREAMING_UNSIGNED, STREAMING_SIGNED, STREAMING_SIGNED_TRAILER}
_HEX = re.compile(r"[0-9a-f]{64}")
_CREDENTIAL = re.compile(r"[^/,\s]{1,128}/([0-9]{8})/([a-z0-9-]{1,40})/([A-Za-z0-9-]{1,64})/aws4_request")
_AUTHORIZATION = re.compile(r"Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64}) *")
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*")
# What signs a presigned URL, in lower case; all of it is taken out, and what is needed put in again.
AUTH_PARAMETERS = frozenset(
    f"x-amz-{name}"
    for name in ("algorithm", "credential", "date", "expires", "signedheaders", "signature", "security-token")
)


@dataclass(frozen=True)
class Claim:
    """The agent's own signature, read. `payload` is None where the body's SHA-256 must be known before signing."""

    region: str
    service: str
    at: datetime
    signed: tuple[str, ...]
    payload: str | None
    # Seconds, for a presigned URL.
    expires: int | None = None

    @property
    def stamp(self) -> str:
        return self.at.strftime(STAMP)

    @property
    def scope(self) -> str:
        return f"{self.stamp[:8]}/{self.region}/{self.service}/aws4_request"

    @property
    def is_s3(self) -> bool:
        """S3's paths are signed as they are; those of all others are encoded once more."""
        return self.service in ("s3", "s3-outposts", "s3-object-lambda")


def parameters(head: Head) -> list[tuple[bytes, bytes]]:
    """The query's pairs, decoded; a plus is a space, as S3 reads it."""
    pairs = [pair.replace(b"+", b" ").partition(b"=") for pair in head.query.split(b"&") if pair]
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def read(head: Head, host: str) -> Claim:
    """The claim of a request to this host. Raises SigningError for whatever is not SigV4 with its usual shape."""
    signing = _signing_parameters(head)
    authorization = head.one(b"authorization")
    if authorization is not None and signing:
        raise SigningError("signing_twice", "The request is signed in its headers and in its query.")
    if authorization is None and not signing:
        raise SigningError("signing_absent", "The request is not signed. Sign it with any keys: ours take their place.")
    claim = _of_query(head, signing) if authorization is None else _of_header(head, authorization.decode("latin-1"))
    _check(claim, host)
    return claim


def _signing_parameters(head: Head) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in parameters(head):
        key = name.decode("latin-1").lower()
        if key in found:
            raise SigningError("signing_shape", f"The parameter {key} is there more than once.")
        if key in AUTH_PARAMETERS:
            found[key] = value.decode("latin-1")
    return found if {"x-amz-signature", "x-amz-algorithm", "x-amz-credential"} & found.keys() else {}


def _of_header(head: Head, authorization: str) -> Claim:
    algorithm, _, rest = authorization.partition(" ")
    _check_algorithm(algorithm)
    match = _AUTHORIZATION.fullmatch(rest.strip())
    if match is None:
        raise SigningError("signing_shape", "The Authorization header does not have the shape of SigV4.")
    payload = head.one(b"x-amz-content-sha256")
    stamp = head.one(b"x-amz-date")
    at = _stamp(stamp.decode("latin-1")) if stamp is not None else _date(head.one(b"date"))
    return _claim(match[1], match[2], at, payload.decode("latin-1") if payload is not None else None)


def _of_query(head: Head, signing: Mapping[str, str]) -> Claim:
    _check_algorithm(signing.get("x-amz-algorithm", ""))
    missing = AUTH_PARAMETERS - {"x-amz-security-token"} - signing.keys()
    expires = signing.get("x-amz-expires", "")
    if missing or not _HEX.fullmatch(signing["x-amz-signature"]) or not re.fullmatch("[0-9]{1,6}", expires):
        raise SigningError("signing_shape", "The URL does not have the shape of a presigned one.")
    declared = [value for name, value in parameters(head) if name.lower() == b"x-amz-content-sha256"]
    payload = head.one(b"x-amz-content-sha256") or b"".join(declared) or None
    names, at = signing["x-amz-signedheaders"], _stamp(signing["x-amz-date"])
    claim = _claim(signing["x-amz-credential"], names, at, payload.decode("latin-1") if payload else None, int(expires))
    return claim if payload or not claim.is_s3 else replace(claim, payload=UNSIGNED)


def _check_algorithm(algorithm: str) -> None:
    if algorithm.startswith("AWS4-ECDSA"):
        raise SigningError("signing_sigv4a", "SigV4a cannot be signed anew: set the client to SigV4 and one region.")
    if algorithm != ALGORITHM:
        raise SigningError("signing_shape", f"Only {ALGORITHM} can be signed anew; this is something else.")


def _claim(credential: str, names: str, at: datetime, payload: str | None, expires: int | None = None) -> Claim:
    scope = _CREDENTIAL.fullmatch(credential)
    if scope is None or not _NAMES.fullmatch(names):
        raise SigningError("signing_shape", "The credential's scope or the list of signed headers is not SigV4's.")
    claim = Claim(scope[2], scope[3], at, tuple(names.split(";")), payload, expires)
    if scope[1] != claim.stamp[:8]:
        raise SigningError("signing_time", "The credential's scope has another day than the request.")
    return claim


def _stamp(text: str) -> datetime:
    try:
        return datetime.strptime(text, STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise SigningError("signing_time", "The request's time is not one.") from None


def _date(value: bytes | None) -> datetime:
    try:
        return parsedate_to_datetime((value or b"").decode("latin-1")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SigningError("signing_time", "The request has neither X-Amz-Date nor Date.") from None


def _check(claim: Claim, host: str) -> None:
    if "host" not in claim.signed:
        raise SigningError("signing_shape", "The host is not among the signed headers.")
    if claim.service == "s3express":
        raise SigningError("signing_service", "S3 Express signs with keys that it hands to its caller.")
    if claim.payload is not None and claim.payload not in _PAYLOADS and not _HEX.fullmatch(claim.payload):
        raise SigningError("signing_payload", f"A payload of the kind {claim.payload[:60]!r} cannot be signed anew.")
    if not aws_hosts.fits(host, claim.service, claim.region):
        where = f"{claim.service} in {claim.region}"
        raise SigningError("signing_host", f"The request is signed for {where}, but {host} is something else.")
