"""Grants: exactly what a session may have, as canonical JSON. Pure functions; the hash ties everything together."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit import canonical

VERSION = 1
# What less may be granted of; and the action that stands for all that there are.
NARROWED = frozenset({"locations", "actions", "limits"})
ALL = "*"
Details = Mapping[str, Any]


@dataclass(frozen=True)
class Parties:
    """Who a grant is for, as it names them."""

    session: uuid.UUID
    team: str
    agent: Mapping[str, str]
    person: Mapping[str, str]
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class Built:
    """A grant's canonical bytes and their SHA-256, the grant hash."""

    body: bytes
    sha256: str
    content: Mapping[str, Any]


def build(
    parties: Parties,
    purpose: str,
    details: Sequence[Details],
    limits: Mapping[str, int],
    conditions: Mapping[str, Any],
) -> Built:
    content = {
        "v": VERSION,
        "session": str(parties.session),
        "team": parties.team,
        "agent": dict(parties.agent),
        "person": dict(parties.person),
        "profile": dict(parties.profile),
        "purpose": purpose,
        "authorization_details": [dict(detail) for detail in details],
        "limits": dict(limits),
        "conditions": dict(conditions),
    }
    body = canonical.dumps(content)
    return Built(body=body, sha256=canonical.sha256(body), content=content)


def narrowed(content: Mapping[str, Any], details: Sequence[Details], duration: int) -> Built:
    """The same grant with less in it. Raises ValueError if it would have more."""
    problems = list(excess(details, content["authorization_details"]))
    if duration > content["limits"]["duration"]:
        problems.append(f"{duration} s is longer than the {content['limits']['duration']} s that were asked for.")
    if not details:
        problems.append("Nothing is left to grant: deny the request instead.")
    if problems:
        raise ValueError(" ".join(problems))
    limits = {**content["limits"], "duration": duration}
    limits["credential_ttl"] = min(limits["credential_ttl"], duration)
    body = canonical.dumps({**content, "authorization_details": [dict(d) for d in details], "limits": limits})
    return Built(body=body, sha256=canonical.sha256(body), content=canonical.loads(body))


def excess(narrow: Sequence[Details], wide: Sequence[Details]) -> Iterator[str]:
    """What `narrow` asks for that no single object of `wide` covers, in sentences."""
    for detail in narrow:
        if not any(_within(detail, other) for other in wide):
            places = ", ".join(str(place) for place in detail.get("locations", ()))
            actions = ", ".join(str(action) for action in detail.get("actions", ()))
            yield f"The profile does not offer {actions} on {places}."


def _within(narrow: Details, wide: Details) -> bool:
    """Fewer locations, fewer actions, lower limits; whatever else an object says stays as it is."""
    if any(narrow.get(key) != wide.get(key) for key in (narrow.keys() | wide.keys()) - NARROWED):
        return False
    sets_fit = set(narrow.get("locations", ())) <= set(wide.get("locations", ())) and (
        set(narrow.get("actions", ())) <= set(wide.get("actions", ())) or ALL in wide.get("actions", ())
    )
    wide_limits = wide.get("limits", {})
    narrow_limits = narrow.get("limits", {})
    limits_fit = narrow_limits.keys() == wide_limits.keys() and all(
        narrow_limits[name] <= bound for name, bound in wide_limits.items()
    )
    return sets_fit and limits_fit and bool(narrow.get("locations")) and bool(narrow.get("actions"))
