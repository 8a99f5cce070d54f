"""Killing everything: one person orders it, another confirms it."""

import uuid
from collections.abc import Mapping
from datetime import timedelta

from django.db import transaction

from audit import log
from audit.event import LOG_STREAM, NewEvent, now
from sessions import policy
from sessions.errors import StateConflict
from sessions.lifecycle.changes import demand
from sessions.models import KillOrder, Person
from sessions.parties import viewer

CONFIRM_WITHIN = timedelta(minutes=10)


@transaction.atomic(durable=True)
def order_kill(by: Person) -> KillOrder:
    """Nothing is killed yet."""
    demand(policy.may_order_kill(viewer(by)))
    at = now()
    order = KillOrder.objects.create(ordered_by=by, ordered_at=at, confirm_by=at + CONFIRM_WITHIN)
    log.append(_event("fleet.kill_ordered", by, {"order": str(order.pk)}))
    return order


@transaction.atomic(durable=True)
def confirm_kill(order_id: uuid.UUID, by: Person) -> KillOrder:
    """From here on whoever confirmed kills what both may kill. Raises StateConflict where it was late or done."""
    order = KillOrder.objects.select_related("ordered_by").get(pk=order_id)
    demand(policy.may_confirm_kill(viewer(by), order.ordered_by_id))
    at = now()
    waiting = KillOrder.objects.filter(pk=order_id, confirmed_at=None, confirm_by__gt=at)
    if not waiting.update(confirmed_at=at, confirmed_by=by):
        raise StateConflict("order", expected=["waiting"], found="confirmed" if order.confirmed_at else "too old")
    log.append(_event("fleet.kill_confirmed", by, {"order": str(order_id)}))
    return order


def _event(kind: str, by: Person, data: Mapping[str, object]) -> NewEvent:
    return NewEvent(kind=kind, stream=LOG_STREAM, sub=by.reference, act=by.reference, data=data)
