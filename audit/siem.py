"""Sends the log to a SIEM as OCSF: each leaf once it is signed for, in the log's order, at least once.

By webhook, as Standard Webhooks says (https://www.standardwebhooks.com): the signature is over id, time and body, so
that a receiver can refuse what is not ours and what is replayed. A batch keeps its id when it is sent again. What is
read are the log's published files and not the database: nothing leaves that the log has not committed to.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import orjson
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from audit import health, ocsf
from audit.advisory import alone
from audit.errors import LogError, MissingError, UnreachableError
from audit.event import now
from audit.models import Delivery
from audit.ocsf import Leaf
from audit.proofs import Prover
from audit.stores import tile_store
from audit.tile_store import TileStore
from audit.tiles import ENTRIES, WIDTH, decode_bundle, read_bundle, tile_of

WEBHOOK = "webhook"
PART = "siem"
LOCK = 0x6C_6F_67_73
PATIENCE_S = 10.0
LONGEST_WAIT_S = 300
PREFIX = "whsec_"
SHORTEST_SECRET = 24


class PrunedError(LogError):
    """`leaf` is the first that is not in the log's files any more."""

    def __init__(self, leaf: int) -> None:
        self.leaf = leaf
        super().__init__(f"entry {leaf} was pruned from the log's files before it was delivered")


def leaves(store: TileStore, first: int, end: int, size: int) -> Iterator[Leaf]:
    """The entries [first, end) of a log of `size`, from its published bundles. Raises PrunedError, FormatError."""
    for index in range(first // WIDTH, -(-end // WIDTH)):
        bundle = tile_of(ENTRIES, index, size)
        start = index * WIDTH
        try:
            entries = decode_bundle(read_bundle(bundle, store.read), bundle.width)
        except MissingError as error:
            raise PrunedError(max(start, first)) from error
        for leaf, body in enumerate(entries, start):
            if first <= leaf < end:
                yield Leaf.parse(leaf, body)


def line(leaf: Leaf, origin: str) -> bytes:
    """One line of NDJSON."""
    event = ocsf.event(leaf, origin)
    try:
        return orjson.dumps(event) + b"\n"
    except orjson.JSONEncodeError:  # nested deeper than orjson goes: an event must not stop all that follow it
        return json.dumps(event).encode() + b"\n"


def deliver_once() -> int:
    """Sends the next batch, up to a bundle of 256, if one is due. Returns how many events were accepted.

    The receiver accepts with 2xx; anything else, or no answer, is tried again, later each time up to five minutes,
    and shown on the pages. Nothing is skipped. 0 where nothing is due, or another process is at it.
    """
    if not settings.SIEM_WEBHOOK_URL:
        return 0
    with alone(LOCK) as ours:
        if not ours:
            return 0
        delivery, _ = Delivery.objects.get_or_create(name=WEBHOOK, defaults={"due_at": now()})
        if delivery.due_at > now():
            return 0
        try:
            return _deliver(delivery)
        except (LogError, OSError, BotoCoreError, ClientError, ImproperlyConfigured) as error:
            _postpone(delivery, error)
            return 0


def _deliver(delivery: Delivery) -> int:
    tree = Prover().tree
    first = delivery.next_leaf
    if tree is None or first >= tree.size:
        return 0
    end = min((first // WIDTH + 1) * WIDTH, tree.size)
    found = leaves(tile_store(settings.LOG_STORE), first, end, tree.size)
    _send(f"{tree.origin}/{first}-{end}", b"".join(line(leaf, tree.origin) for leaf in found))
    Delivery.objects.filter(pk=delivery.pk).update(next_leaf=end, tries=0, due_at=now(), delivered_at=now())
    if delivery.tries:
        health.report(PART, None)
    return end - first


def _postpone(delivery: Delivery, error: Exception) -> None:
    tries = delivery.tries + 1
    wait = timedelta(seconds=min(2 ** min(tries, 16), LONGEST_WAIT_S))
    Delivery.objects.filter(pk=delivery.pk).update(tries=tries, due_at=now() + wait)
    what = f"The SIEM does not get the log, from entry {delivery.next_leaf} on: {str(error)[:300].rstrip('.')}"
    hint = "Set where it goes on: manage.py export_ocsf --resume-at LEAF" if isinstance(error, PrunedError) else ""
    health.report(PART, f"{what}. {hint or 'Nothing is lost: it is tried again, every five minutes at the least'}.")


def _send(batch: str, body: bytes) -> None:
    """Raises UnreachableError for everything but 2xx."""
    sent_at = str(int(time.time()))
    headers = {
        "Content-Type": "application/x-ndjson",
        "webhook-id": batch,
        "webhook-timestamp": sent_at,
        "webhook-signature": signature(settings.SIEM_WEBHOOK_SECRET, batch, sent_at, body),
    }
    try:
        answer = httpx.post(settings.SIEM_WEBHOOK_URL, content=body, headers=headers, timeout=PATIENCE_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreachableError(f"its webhook did not answer: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise UnreachableError(f"its webhook answered {answer.status_code}")


def signature(secret: str, batch: str, sent_at: str, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id.time.body, under a secret of `whsec_` and base64."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ImproperlyConfigured(f"SIEM_WEBHOOK_SECRET is {PREFIX} and base64: {error}") from error
    if len(key) < SHORTEST_SECRET:
        raise ImproperlyConfigured(f"SIEM_WEBHOOK_SECRET has at least {SHORTEST_SECRET} bytes, this one {len(key)}")
    signed = hmac.new(key, f"{batch}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def resume_at(leaf: int) -> None:
    """Where the webhook goes on; what stands before it is never sent."""
    at = now()
    Delivery.objects.update_or_create(name=WEBHOOK, defaults={"next_leaf": leaf, "tries": 0, "due_at": at})
    health.report(PART, None)
