"""Time-stamps of an outside authority (RFC 3161): that a checkpoint existed at a moment. Imports no Django."""

from datetime import datetime

import httpx
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from audit.errors import FormatError, ProofError, UnreachableError

PATIENCE_S = 10.0
LONGEST_ANSWER = 64 * 1024
QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"


def request_timestamp(message: bytes, url: str) -> bytes:
    """The authority's answer over these bytes, as DER. Its certificate is for whoever verifies to judge.

    Raises UnreachableError where there is no answer, FormatError where it is not a time-stamp of these bytes.
    """
    asked = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        answer = httpx.post(url, content=asked.as_bytes(), headers={"Content-Type": QUERY}, timeout=PATIENCE_S)
    except httpx.HTTPError as error:
        raise UnreachableError(
            f"the time-stamp authority {url} did not answer: {error or type(error).__name__}"
        ) from error
    if answer.status_code != 200:
        raise UnreachableError(f"the time-stamp authority {url} answered {answer.status_code}")
    given = _decoded(answer.content)
    if PKIStatus(given.status) is not PKIStatus.GRANTED:
        raise FormatError("the time-stamp authority refused", PKIStatus(given.status).name)
    if given.tst_info.nonce != asked.nonce or given.tst_info.message_imprint.message != asked.message_imprint.message:
        raise FormatError("the time-stamp authority answered another question than it was asked")
    return answer.content


def verify_timestamp(answer: bytes, message: bytes, authorities: bytes) -> datetime:
    """When the bytes were stamped, by the authority whose root certificates (PEM) are given, intermediates as well.

    Raises FormatError for certificates that are none, ProofError for a time-stamp that does not verify.
    """
    try:
        certificates = x509.load_pem_x509_certificates(authorities)
    except ValueError as error:
        raise FormatError("not certificates in PEM", str(error)) from error
    builder = VerifierBuilder()
    for certificate in certificates:
        if certificate.issuer == certificate.subject:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    try:
        given = _decoded(answer)
        builder.build().verify_message(given, message)
    except (VerificationError, ValueError, FormatError) as error:
        raise ProofError(f"the time-stamp does not verify: {error}") from error
    return given.tst_info.gen_time


def _decoded(answer: bytes) -> TimeStampResponse:
    if len(answer) > LONGEST_ANSWER:
        raise FormatError(f"a time-stamp has at most {LONGEST_ANSWER} bytes, this one has {len(answer)}")
    try:
        return decode_timestamp_response(answer)
    except ValueError as error:
        raise FormatError("not an RFC 3161 answer", str(error)) from error
