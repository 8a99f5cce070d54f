"""Long-lived secrets of a team, kept in OpenBao's KV engine (version 2): given to gateways, never to an agent.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "secret", "locations": ["kv:anthropic"], "actions": ["inject"]}      slot "secret:anthropic", field `value`

Such a secret was not made for the session and lives on after it. What ends is that gateways hold it; that is shown by
their word alone, so there is no step that proves it.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sessions.providers.contract import CredentialError, Details, Held, Intent, Life, Minted, Outcome, Step
from sessions.providers.openbao_api import OpenBaoApi
from sessions.providers.wording import shown

TYPE = "secret"
MOUNT = "agent-secrets"
FIELDS = {"type", "locations", "actions"}
ACTIONS = ["inject"]
MOST_LOCATIONS = 20
LOCATION = re.compile(r"kv:([a-z0-9][a-z0-9_-]{0,50})", re.ASCII)
# Our copy outlives every session, so that it is never replaced in the middle of one.
KEPT = timedelta(hours=26)

Passing = Callable[[uuid.UUID], Sequence[str]]


class Static:
    """A Provider. `passing` names the gateways that may still pass something on for a session."""

    kind = "static"

    def __init__(self, api: OpenBaoApi, passing: Passing) -> None:
        self._api = api
        self._passing = passing

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One for each secret."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            for location in each["locations"]:
                slots.setdefault(f"{TYPE}:{_name(location)}", []).append({**each, "locations": [location]})
        return slots

    def problems(self, details: Details) -> Iterator[str]:
        return problems(details)

    def sentences(self, details: Details) -> Iterator[str]:
        for location in details["locations"]:
            yield (
                f"The gateway may add the team's long-lived secret {_name(location)} where a rule says so. "
                "The agent never gets it; it was not made for this session and lives on after it."
            )

    def life(self, details: Sequence[Details]) -> Life:
        return Life(0, None, "at once", "The secret lives on.")

    def mint(self, intent: Intent, record: Callable[[Mapping[str, Any]], None]) -> Minted:
        """Reads the newest version, which the handle names."""
        handle = {"agent_session": intent.labels["agent_session"]}
        record(handle)
        name = _name(intent.details[0]["locations"][0])
        fields, metadata = self._api.read_secret(MOUNT, name)
        if not isinstance(fields.get("value"), str) or not fields["value"]:
            said = f"The secret {name} in OpenBao has no field value that holds text."
            raise CredentialError(said, permanent=True, untouched=True)
        secret = {"type": TYPE, "value": fields["value"]}
        handle |= {"version": metadata["version"], "since": metadata["created_time"]}
        return Minted(secret, handle, datetime.now(UTC) + KEPT)

    def since(self, details: Sequence[Details]) -> datetime:
        return self._api.secret_since(MOUNT, _name(details[0]["locations"][0]))

    def steps(self, held: Held) -> Sequence[Step]:
        return [gateways_cut(self._passing, held)]


def gateways_cut(passing: Passing, held: Held) -> Step:
    """Done when no gateway may pass anything on any more for the session that the handle names."""

    def cut() -> Outcome:
        session = held.handle.get("agent_session")
        left = passing(uuid.UUID(session)) if session else ()
        return Outcome(not left, {"still_passing": ", ".join(left) or "no gateway"})

    return Step("gateways", "revoke", "Cut by every gateway that had it", cut, "gateways")


def problems(details: Details) -> Iterator[str]:
    """What is wrong with an untrusted object, in sentences; nothing if it can be granted."""
    for name in sorted(set(details) - FIELDS, key=str):
        yield f"A {TYPE} object has no field {shown(name)}."
    locations = details.get("locations")
    if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_LOCATIONS:
        yield f"locations must be a list of 1 to {MOST_LOCATIONS} secrets."
        return
    for location in locations:
        if not isinstance(location, str) or not LOCATION.fullmatch(location):
            yield f"{shown(location)} is not a secret: write kv:name in lower case."
    if len(set(map(str, locations))) < len(locations):
        yield "locations names a secret twice."
    if details.get("actions") != ACTIONS:
        yield 'actions must be ["inject"]: a secret is never handed over.'


def _name(location: str) -> str:
    match = LOCATION.fullmatch(location)
    if match is None:
        raise CredentialError(f"{shown(location)} is not a secret.", permanent=True, untouched=True)
    return match[1]
