"""The policy document of a session: what gateways may pass on for it, made from the approved grant and signed.

The shape is that of docs/gateway.md. `rules` is pure; the keys are the settings'.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from audit import canonical
from audit.event import now
from sessions.gateways import dsse
from sessions.models import AgentSession
from sessions.models.additions import AdditionState
from sessions.providers import egress
from sessions.providers.contract import Details
from sessions.providers.destinations import INSPECT, Destination

VERSION = 1
PAYLOAD_TYPE = "application/vnd.drawbridge.policy+json"


def rules(details: Sequence[Details], first: int = 1, not_after: datetime | None = None) -> list[dict[str, Any]]:
    """A rule for each location of the egress objects, named OBJECT.LOCATION by their places in the grant, from 1.

    What was added in the middle goes on counting from `first`, and has its own end.
    """
    end = _moment(not_after) if not_after is not None else None
    return [
        _rule(f"{number}.{place}", Destination.of(location), each, end)
        for number, each in enumerate(details, start=first)
        if each["type"] == egress.TYPE
        for place, location in enumerate(each["locations"], start=1)
    ]


def all_rules(agent_session: AgentSession) -> list[dict[str, Any]]:
    """Those of the grant, and those that were added and have not ended."""
    details = agent_session.grant.content["authorization_details"]
    made, count = rules(details), len(details)
    for addition in agent_session.additions.filter(state=AdditionState.APPROVED).order_by("number"):
        added = addition.content["authorization_details"]
        made += rules(added, count + 1, addition.ends_at)
        count += len(added)
    at = _moment(now())
    return [one for one in made if one["not_after"] is None or one["not_after"] > at]


def _rule(name: str, to: Destination, details: Details, not_after: str | None) -> dict[str, Any]:
    methods = None
    if to.mode == INSPECT and egress.ANY not in details["actions"]:
        methods = list(details["actions"])
    return {
        "id": name,
        "mode": to.mode,
        "scheme": to.scheme,
        "host": to.host,
        "port": to.port,
        "methods": methods,
        "path": to.path,
        "inject": details.get("inject"),
        "network": details.get("network"),
        "listen": details.get("listen"),
        "not_after": _earlier(not_after, details.get("until")),
    }


def document(agent_session: AgentSession) -> dict[str, Any]:
    """What is signed, for a session that has started."""
    assert agent_session.ends_at is not None
    return {
        "v": VERSION,
        "session": str(agent_session.id),
        "serial": agent_session.policy_serial,
        "grant_hash": agent_session.grant_hash,
        "not_after": _moment(agent_session.ends_at),
        "ask": f"{settings.BASE_URL}/sessions/{agent_session.id}/more",
        "rules": all_rules(agent_session),
    }


def signed(agent_session: AgentSession) -> dict[str, Any]:
    """The DSSE envelope, signed with the newest key."""
    return dsse.sign(PAYLOAD_TYPE, canonical.dumps(document(agent_session)), signing_keys()[-1])


def signing_keys() -> list[Ed25519PrivateKey]:
    """Oldest to newest. Raises ValueError where one is not 32 bytes in base64."""
    return list(_keys(settings.POLICY_KEYS))


def _keys(entries: Sequence[Mapping[str, str]]) -> Iterator[Ed25519PrivateKey]:
    for entry in entries:
        yield Ed25519PrivateKey.from_private_bytes(base64.b64decode(entry["key"], validate=True))


def needed_slots(details: Sequence[Details]) -> set[str]:
    """The credentials that gateways add for these objects."""
    return {each["inject"]["slot"] for each in details if each["type"] == egress.TYPE and "inject" in each}


def needs_gateway(details: Sequence[Details]) -> bool:
    return any(each["type"] == egress.TYPE for each in details)


def _earlier(one: str | None, until: str | None) -> str | None:
    """`until` is a day, which ends at its midnight (UTC)."""
    ends = [one] if one else []
    if until:
        ends.append(_moment(datetime.combine(date.fromisoformat(until) + timedelta(days=1), time.min, UTC)))
    return min(ends, default=None)


def _moment(when: datetime) -> str:
    """RFC 3339 in whole seconds, cut off: a policy never lasts longer than its session."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
