"""Personal fields of events, sealed under a key of the person's own: destroying the key erases them for good.

A field becomes {"sealed": <base64>, "for": "person:<id>"} before the event's bytes are made, so that the log commits
to the sealed bytes and every proof outlives the key. AES-SIV (RFC 5297) is deterministic: the same event sent twice
has the same bytes. The event's id and the field's place are authenticated, so that a field opens nowhere else.
"""

import base64
import binascii
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.db import connection, transaction

from audit import canonical, envelope, health
from audit.envelope import Unreadable
from audit.event import NewEvent, now
from audit.models import SubjectKey
from audit.personal_fields import FOR, NEVER, SEALED, Change, changed, replaced, sealed_in

logger = structlog.get_logger()

KEY_BYTES = 64
TAG_BYTES = 16
FRAME_BYTES = len(canonical.dumps({SEALED: "", FOR: ""}))
# For so long a process seals under a key that another one may have destroyed: nobody can open what it sealed.
KEPT_S = 5.0
ERASED = "erased"
LOST = "cannot be read: the envelope key is missing"
PART = "personal fields"
_kept: dict[str, tuple[AESSIV, float]] = {}


@dataclass(frozen=True)
class Lost:
    """A subject key that is there and cannot be opened."""

    why: str


def sealed(event: NewEvent) -> NewEvent:
    """The event with its personal fields sealed. Asks the database only where there are any.

    Raises envelope.Unreadable where the subject's key cannot be opened: then nothing is logged, and so nothing done.
    """
    return sealed_all([event])[0]


def sealed_all(events: Sequence[NewEvent]) -> list[NewEvent]:
    """The same for many: a subject's key is looked up once."""
    keys: dict[str, AESSIV | None] = {}
    return [_sealed(event, keys) for event in events]


def withheld(event: NewEvent) -> NewEvent:
    """The event without its personal fields: for when it must be kept and no key can be had."""
    return _changed(event, lambda value, pointer: {SEALED: "", FOR: event.sub})


def growth(event: NewEvent) -> int:
    """By how many bytes sealing lengthens the event, whose `sub` is one of ours: ASCII."""
    grown = 0

    def measure(value: Any, pointer: str) -> None:
        nonlocal grown
        length = len(canonical.dumps(value))
        grown += FRAME_BYTES + len(event.sub) + -(-(length + TAG_BYTES) // 3) * 4 - length

    if not event.kind.startswith(NEVER):
        changed(event.data, measure)
    return grown


def reveal(contents: Sequence[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Parsed bodies with what was sealed made readable, and with a placeholder where the key was destroyed.

    One query for all of them, and none where nothing is sealed. What does not open was not sealed here, and stays.
    """
    subjects = {field[FOR] for content in contents for field, _ in sealed_in(content["data"])}
    if not subjects:
        return list(contents)
    keys = _keys(subjects)
    lost = sorted({key.why for key in keys.values() if isinstance(key, Lost)})
    if lost:
        health.report(PART, f"Personal fields of events cannot be read: {lost[0]}. Put the envelope key back.")

    def opened(content: dict[str, Any]) -> Mapping[str, Any]:
        return {**content, "data": replaced(content["data"], partial(_opened, keys, content["id"]))}

    return [opened(content) for content in contents]


def destroy(subject: str) -> None:
    """Overwrites the subject's key, and leaves a mark so that none is made again. In the caller's transaction.

    Copies of the database that were made before keep the key, under the envelope key, for as long as they are kept.
    """
    at = now()
    gone = {"sealed": b"", "sealed_with": "", "destroyed_at": at}
    SubjectKey.objects.update_or_create(subject=subject, defaults=gone, create_defaults={**gone, "made_at": at})
    _kept.pop(subject, None)


def _sealed(event: NewEvent, keys: dict[str, AESSIV | None]) -> NewEvent:
    def seal(value: Any, pointer: str) -> dict[str, str]:
        if event.sub not in keys:
            keys[event.sub] = _key_to_seal(event.sub)
        key = keys[event.sub]
        if key is None:
            return {SEALED: "", FOR: event.sub}
        blob = key.encrypt(canonical.dumps(value), _bound(str(event.id), pointer))
        return {SEALED: base64.b64encode(blob).decode(), FOR: event.sub}

    return _changed(event, seal)


def _changed(event: NewEvent, change: Change) -> NewEvent:
    data = event.data if event.kind.startswith(NEVER) else changed(event.data, change)
    return event if data is event.data else replace(event, data=data)


def _bound(event_id: str, pointer: str) -> list[bytes]:
    return [event_id.encode(), pointer.encode()]


def _opened(keys: Mapping[str, AESSIV | Lost | None], event_id: str, field: Mapping[str, str], pointer: str) -> Any:
    if field[FOR] not in keys:
        return field
    key = keys[field[FOR]]
    if key is None or not field[SEALED]:
        return ERASED
    if isinstance(key, Lost):
        return LOST
    try:
        return canonical.loads(key.decrypt(base64.b64decode(field[SEALED], validate=True), _bound(event_id, pointer)))
    except (InvalidTag, binascii.Error):
        return field


def _keys(subjects: Iterable[str]) -> dict[str, AESSIV | Lost | None]:
    """What there is of each subject's key; None for one that was destroyed."""
    found: dict[str, AESSIV | Lost | None] = {}
    for row in SubjectKey.objects.filter(subject__in=subjects):
        try:
            found[row.subject] = _open(row)
        except Unreadable as error:
            found[row.subject] = Lost(str(error))
    return found


def _open(row: SubjectKey) -> AESSIV | None:
    """Raises Unreadable."""
    if row.destroyed_at is not None:
        return None
    secret = envelope.unseal(envelope.Sealed(row.sealed_with, bytes(row.sealed)), row.subject)
    return AESSIV(base64.b64decode(secret["key"]))


def _key_to_seal(subject: str) -> AESSIV | None:
    """The subject's key, which is made where there is none; None where it was destroyed."""
    kept = _kept.get(subject)
    if kept is not None and time.monotonic() < kept[1]:
        return kept[0]
    row = SubjectKey.objects.filter(pk=subject).first() or _made(subject)
    key = _open(row)
    if key is not None:
        # Not before the commit: a key that was rolled back must seal nothing.
        transaction.on_commit(partial(_keep, subject, key))
    return key


def _keep(subject: str, key: AESSIV) -> None:
    at = time.monotonic()
    if len(_kept) > 10_000:
        _kept.clear()
    _kept[subject] = (key, at + KEPT_S)


def _made(subject: str) -> SubjectKey:
    """A new key, or that of whoever was first: the insert waits for them."""
    new = envelope.seal({"key": base64.b64encode(os.urandom(KEY_BYTES)).decode()}, subject)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_subjectkey (subject, sealed, sealed_with, made_at) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (subject) DO NOTHING",
            [subject, new.blob, new.key_id, now()],
        )
    return SubjectKey.objects.get(pk=subject)
