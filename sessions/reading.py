"""Reading the log is logged: one event for each page or query, in the reader's own stream."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction

from audit import health, log
from audit.event import NewEvent
from sessions.models import Person


def noted(person: Person, what: str, data: Mapping[str, Any]) -> None:
    """Note that somebody read: `what` is "session", "fleet", "proof" ..., `data` which one, and with which filters.

    Where the log cannot be written at this moment the event is kept. Where nothing can be written at all, as with a
    full disk, what was asked for is shown all the same, with what is wrong: whoever has to stop an agent must be able
    to look.
    """
    try:
        _append(f"person:{person.id}", person.id, {"what": what, **data})
    except DatabaseError as error:
        health.unwritten(error)


@transaction.atomic(durable=True)
def _append(reader: str, stream: UUID, data: Mapping[str, Any]) -> None:
    log.append_or_defer(NewEvent("log.read", stream, reader, reader, data=data))
