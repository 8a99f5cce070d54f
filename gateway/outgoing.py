"""What a request becomes before it goes on: without what is ours, with the session's credential, looked through."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway import sigv4, sigv4_claim, strict
from gateway.aws_chunks import Chunks
from gateway.head import Head
from gateway.inflating import Inflater, asking_identity, coding_of
from gateway.injection import inject
from gateway.known_secrets import KnownSecrets
from gateway.names import Host
from gateway.policy import Rule
from gateway.redaction import Hit, Patterns, Scanner, scan_text
from gateway.refusal import SigningError

Body = AsyncIterator[bytes]
# For this hop alone (RFC 9110 section 7.6.1), or for the gateway.
HOP = (
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"expect", b"http2-settings",
)  # fmt: skip
MOST_SIGNED_BYTES = 16 * 1024 * 1024


class Leak(Exception):
    """A secret is on its way to a host that it is not bound to, where it cannot be taken out: nothing goes on."""

    def __init__(self, hit: Hit, where: str) -> None:
        super().__init__(f"a secret of the session in the {where}")
        self.hit, self.where = hit, where


@dataclass(frozen=True)
class Known:
    """What one session knows to look for, and what of it may go to one host."""

    secrets: KnownSecrets
    patterns: Patterns
    bound: frozenset[str]

    def scanner(self) -> Scanner:
        return Scanner(self.patterns, bound=self.bound)


@dataclass(frozen=True)
class Outgoing:
    """A request as it goes on. `scanner.hits` grows while the body is read: what was taken out of it."""

    head: Head
    body: Body
    scanner: Scanner
    bound: frozenset[str]


async def prepared(head: Head, body: Body, rule: Rule, host: Host, known: Known, *, websocket: bool) -> Outgoing:
    """Raises Leak, Refusal."""
    _search_head(head, known)
    sent = _without_hop(head)
    if websocket:
        # Without extensions what is in the frames can be read.
        upgrade = sent.without(b"sec-websocket-extensions").having(b"Upgrade", b"websocket")
        sent = upgrade.having(b"Connection", b"Upgrade")
    elif head.one(b"transfer-encoding") is not None:
        sent = sent.having(b"Transfer-Encoding", b"chunked")
    if rule.inject is not None and rule.inject.kind == "sigv4":
        return await _signed(sent, body, rule.inject.slot, host, known)
    if rule.inject is not None:
        sent = inject(rule.inject, known.secrets.fields.get(rule.inject.slot), sent)
    scanner = known.scanner()
    return Outgoing(sent, _searched(coding_of(head), body, scanner), scanner, known.bound)


def _search_head(head: Head, known: Known) -> None:
    if not known.patterns.may_be_in(b"\n".join([head.target, *map(b": ".join, head.headers)])):
        return
    for hit in scan_text(known.patterns, head.target, known.bound):
        raise Leak(hit, "path or query")
    for name, value in head.headers:
        for hit in scan_text(known.patterns, name + b": " + value, known.bound):
            raise Leak(hit, "headers")


def _without_hop(head: Head) -> Head:
    return asking_identity(head.without(*HOP, *strict.listed(head, b"connection")))


async def _searched(coding: bytes | None, body: Body, scanner: Scanner) -> Body:
    """A plain body without what is not bound to its host; a compressed one is only looked into."""
    if coding is None:
        async for data in body:
            yield scanner.feed(data)
        yield scanner.finish()
        return
    inflater = Inflater(coding)
    async for data in body:
        _look(inflater.feed(data), scanner)
        yield data
    inflater.finish()


def _look(pieces: Iterable[bytes], scanner: Scanner) -> None:
    for piece in pieces:
        scanner.feed(piece)
        if scanner.hits:
            raise Leak(scanner.hits[0], "body")


async def _signed(head: Head, body: Body, slot: str, host: Host, known: Known) -> Outgoing:
    claim = sigv4_claim.read(head, host.text)
    keys = sigv4.Keys.of(slot, known.secrets.fields.get(slot))
    digest = None
    if claim.payload is None:
        whole = await _whole(body)
        digest, body = hashlib.sha256(whole).hexdigest(), _once(whole)
    signed = sigv4.sign(claim, head, keys, now=datetime.now(UTC), body_sha256=digest)
    scanner = known.scanner()
    return Outgoing(signed.head, _framed(body, signed.chunks, scanner), scanner, known.bound)


async def _framed(body: Body, chunks: Chunks | None, scanner: Scanner) -> Body:
    """What is signed cannot be changed: a secret in it ends the request."""
    async for data in body:
        wire, payload = (data, data) if chunks is None else chunks.feed(data)
        _look((payload,), scanner)
        yield wire
    if chunks is not None:
        chunks.finish()


async def _whole(body: Body) -> bytes:
    whole = b""
    async for data in body:
        whole += data
        if len(whole) > MOST_SIGNED_BYTES:
            raise SigningError("signing_payload", "A body without a hash in its head is too long to be signed.")
    return whole


async def _once(whole: bytes) -> Body:
    yield whole
