"""Gateways: their tokens, what they hold, and that they cut it."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from audit import log
from audit.event import NewEvent, now
from sessions import policy, tokens, wake
from sessions.errors import Invalid, StateConflict
from sessions.gateways.holds import OPEN
from sessions.lifecycle.changes import demand, event_of, locked
from sessions.models import AgentSession, Gateway, GatewayCut, Person, Revocation
from sessions.models.runs import State
from sessions.parties import viewer
from sessions.providers import registry

# All that concerns gateways and no session. They belong to no team.
STREAM = uuid.UUID("00000000-0000-7000-8000-000000000967")
HINT_CHARACTERS = 10
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,49}", re.ASCII)


@dataclass(frozen=True)
class Cut:
    """A gateway's word that it passes nothing more for a session: when, how many connections, how long it took."""

    agent_session: uuid.UUID
    cut_at: datetime
    connections: int
    elapsed_us: int


@transaction.atomic(durable=True)
def add_gateway(name: str, act: str) -> tuple[Gateway, str]:
    """A new gateway, and its token, which is returned once and not stored. Only the command line does this."""
    if not NAME.fullmatch(name):
        raise Invalid(["The name of a gateway has small letters, digits and hyphens, 50 at most."])
    token = tokens.new(tokens.GATEWAY_TOKEN)
    try:
        with transaction.atomic():
            made = Gateway.objects.create(name=name, hint=token[:HINT_CHARACTERS], token_digest=tokens.digest(token))
    except IntegrityError as error:
        raise Invalid([f"There is or was a gateway named {name} already: choose another name."]) from error
    log.append(_event(made, "gateway.added", act))
    return made, token


@transaction.atomic(durable=True)
def retire_gateway(gateway_id: uuid.UUID, by: Person) -> Gateway:
    """Its token is good for nothing from now on, so that its lease runs out and it shuts."""
    demand(policy.may_retire_gateway(viewer(by)))
    gateway = Gateway.objects.get(pk=gateway_id)
    if not Gateway.objects.filter(pk=gateway_id, retired_at=None).update(retired_at=now(), retired_by=by):
        raise StateConflict("gateway", expected=["in use"], found="retired")
    log.append(_event(gateway, "gateway.retired", by.reference))
    return gateway


@transaction.atomic(durable=True)
def record_hold(gateway: Gateway, agent_session_id: uuid.UUID) -> GatewayCut:
    """A gateway is about to get the policy and the secrets of a session. Raises StateConflict where that is too late.

    Under the session's lock: a kill either finds that the gateway has it, or keeps it from it.
    """
    agent_session = locked(agent_session_id)
    if agent_session.state != State.ACTIVE:
        raise StateConflict("session", expected=[State.ACTIVE], found=agent_session.state)
    if GatewayCut.objects.filter(OPEN, gateway=gateway, agent_session=agent_session).exists():
        raise StateConflict("session", expected=["not held by this gateway"], found="held by it already")
    hold = GatewayCut.objects.create(gateway=gateway, agent_session=agent_session, held_since=now())
    log.append(event_of(agent_session, "gateway.holds", gateway.reference, {"gateway": gateway.name}))
    return hold


@transaction.atomic(durable=True)
def record_cuts(gateway: Gateway, cuts: Sequence[Cut]) -> list[uuid.UUID]:
    """The gateway passes nothing more for these. One event for each that it had; what it did not have is ignored."""
    at = now()
    said = {cut.agent_session: cut for cut in cuts}
    held = GatewayCut.objects.filter(OPEN, gateway=gateway, agent_session__in=said).select_related("agent_session")
    rows = list(held.select_for_update(of=("self",)).order_by("agent_session"))
    for row in rows:
        cut = said[row.agent_session_id]
        row.cut_at, row.acknowledged_at = cut.cut_at, at
        row.connections, row.elapsed_us = cut.connections, cut.elapsed_us
    GatewayCut.objects.bulk_update(rows, ["cut_at", "acknowledged_at", "connections", "elapsed_us"])
    log.append_each([_cut_event(gateway, row, at) for row in rows])
    done = [row.agent_session_id for row in rows]
    _hurry(done, at)
    return done


def _hurry(agent_session_ids: Sequence[uuid.UUID], at: datetime) -> None:
    """Revocations that waited for this word need not wait for their next try."""
    waiting = Revocation.objects.filter(
        credential__agent_session__in=agent_session_ids,
        credential__provider__in=registry.FOR_GATEWAYS,
        proven_at=None,
        given_up_at=None,
    )
    ids = list(waiting.values_list("pk", flat=True))
    Revocation.objects.filter(pk__in=ids, claimed_until=None).update(next_attempt_at=at)
    transaction.on_commit(partial(wake.revocations, ids))


def _cut_event(gateway: Gateway, row: GatewayCut, at: datetime) -> NewEvent:
    data: dict[str, Any] = {"gateway": gateway.name, "connections": row.connections, "elapsed_us": row.elapsed_us}
    agent_session: AgentSession = row.agent_session
    return event_of(agent_session, "gateway.cut", gateway.reference, data, at=at)


def _event(gateway: Gateway, kind: str, act: str) -> NewEvent:
    data = {"gateway": str(gateway.id), "name": gateway.name, "hint": gateway.hint}
    return NewEvent(kind=kind, stream=STREAM, sub=act, act=act, data=data)
