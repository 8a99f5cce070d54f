"""Which gateway may pass something on for which session, and until when each may pass anything at all."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Q

from audit.event import now
from sessions.models import AgentSession, Gateway, GatewayCut
from sessions.models.runs import State

LEASE_S = 10
LEASE = timedelta(seconds=LEASE_S)
OPEN = Q(acknowledged_at=None, lapsed_at=None)


@dataclass(frozen=True)
class Renewal:
    """What a gateway says of itself when it renews its lease. `sessions`: the serials of the policies that it has."""

    version: str
    address: str
    started_at: datetime
    sessions: Mapping[uuid.UUID, int]


@dataclass(frozen=True)
class News:
    """Of the sessions that a gateway has: those that are over or suspended, and those that are newer."""

    over: Sequence[uuid.UUID]
    changed: Sequence[uuid.UUID]


def passing(agent_session_id: uuid.UUID) -> list[str]:
    """The gateways that may still pass something on for the session."""
    held = GatewayCut.objects.filter(OPEN, agent_session=agent_session_id, gateway__lease_until__gt=now())
    return list(held.order_by("gateway__name").values_list("gateway__name", flat=True))


def live() -> list[Gateway]:
    """The gateways whose lease lasts."""
    return list(Gateway.objects.filter(retired_at=None, lease_until__gt=now()))


# Canonical JSON writes it in one way, and within a text the quotes would be escaped.
NEEDY = """
SELECT count(*) FROM agent_sessions_agentsession AS run
JOIN agent_sessions_grant AS made ON made.agent_session_id = run.id AND made.sha256 = run.grant_hash
WHERE run.state = 'active' AND run.team_id = ANY(%s) AND position('"type":"egress"'::bytea IN made.body) > 0
"""


def shut_off(teams: Collection[uuid.UUID]) -> int:
    """How many sessions of these teams need a gateway, if no gateway has a lease."""
    if not teams or Gateway.objects.filter(retired_at=None, lease_until__gt=now()).exists():
        return 0
    with connection.cursor() as cursor:
        cursor.execute(NEEDY, [list(teams)])
        [count] = cursor.fetchone()
    return int(count)


def renew(gateway_id: uuid.UUID, said: Renewal) -> News:
    """A lease is no state: nothing about what may be had changes by it, so no event is written."""
    at = now()
    before = Gateway.objects.get(pk=gateway_id)
    if before.started_at != said.started_at or before.lease_until is None or before.lease_until < at:
        _note_lapse(before, at, said.sessions)
    fields = {"version": said.version, "address": said.address, "started_at": said.started_at}
    Gateway.objects.filter(pk=gateway_id, retired_at=None).update(lease_until=at + LEASE, **fields)
    return news(said.sessions)


def news(serials: Mapping[uuid.UUID, int]) -> News:
    rows = AgentSession.objects.filter(pk__in=serials, state=State.ACTIVE).values_list("pk", "policy_serial")
    serving = dict(rows)
    return News(
        over=[pk for pk in serials if pk not in serving],
        changed=[pk for pk, serial in serials.items() if pk in serving and serving[pk] > serial],
    )


def _note_lapse(gateway: Gateway, at: datetime, kept: Collection[uuid.UUID]) -> None:
    """It was away, or was started anew: what it does not name any more it does not have any more."""
    lost = GatewayCut.objects.filter(OPEN, gateway=gateway).exclude(agent_session__in=kept)
    lost.update(lapsed_at=min(gateway.lease_until or at, at))
