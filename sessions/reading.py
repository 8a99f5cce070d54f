"""Reading the log is logged: one event for each page or query, in the reader's own stream."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from audit import log
from audit.event import NewEvent
from sessions.models import Person


@transaction.atomic(durable=True)
def noted(person: Person, what: str, data: Mapping[str, Any]) -> None:
    """Note that somebody read: `what` is "session", "fleet", "proof" ..., `data` which one, and with which filters.

    Where the log cannot be written at this moment the event is kept, and what was asked for is shown: whoever has to
    stop an agent must be able to look.
    """
    reference = f"person:{person.id}"
    log.append_or_defer(NewEvent("log.read", person.id, reference, reference, data={"what": what, **data}))
