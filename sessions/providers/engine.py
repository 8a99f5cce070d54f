"""A credential that an engine of OpenBao makes for a token of the session: a role and a policy of its own, one answer.

The role's name is the credential's, so that everything is found again from the name alone. What one engine differs in
from another is in its own file.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sessions.providers.contract import Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.openbao_api import OpenBaoApi, rule
from sessions.providers.places import Place, Places, demand_sound, place, unknown
from sessions.providers.session_token import OPENBAO, POLICY_PREFIX, SessionToken, token_fields, untouched
from sessions.providers.wording import listed, shown

MOST_LOCATIONS = 50


class Engine(ABC):
    """A Provider. `location` matches a location: its group `place` names the place, `what` what is wanted of it."""

    kind: str
    engine: str
    location: re.Pattern[str]
    example: str
    actions: Mapping[str, str]
    asking = "creds"

    def __init__(self, api: OpenBaoApi, places: Places) -> None:
        self._api, self._places = api, places

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One credential for each place."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            slots.setdefault(f"{self.kind}:{self._name([each])}", []).append(each)
        return slots

    def problems(self, details: Details) -> Iterator[str]:
        for name in sorted(set(details) - {"type", "locations", "actions"}, key=str):
            yield f"A {self.kind} object has no field {shown(name)}."
        yield from self._location_problems(details.get("locations"))
        yield from action_problems(details.get("actions"), self.actions)

    def _location_problems(self, locations: object) -> Iterator[str]:
        if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_LOCATIONS:
            yield f"locations must be a list of 1 to {MOST_LOCATIONS} places such as {self.example}."
            return
        found = [self.location.fullmatch(each) if isinstance(each, str) else None for each in locations]
        for each, match in zip(locations, found, strict=True):
            if match is None:
                yield f"{shown(each)} cannot be understood: write {self.example}."
        matches = [match for match in found if match is not None]
        if len({match[0] for match in matches}) < len(matches):
            yield "locations names one place twice."
        for name in sorted({match["place"] for match in matches}):
            problem = unknown(name, self.engine, self._places)
            if problem:
                yield problem
        if len({match["place"] for match in matches}) > 1:
            yield "One object speaks of one place: write one object for each."
        for match in matches:
            known = self._places.get(match["place"])
            if known is not None and not known.permits(match["what"]):
                yield f"{shown(match['what'])} is not among what {match['place']} allows."

    @abstractmethod
    def sentences(self, details: Details) -> Iterator[str]: ...

    @abstractmethod
    def life(self, details: Sequence[Details]) -> Life: ...

    @abstractmethod
    def role(self, intent: Intent, place: Place) -> Json:
        """The engine's role of this credential: it can make nothing else."""

    @abstractmethod
    def secret(self, place: Place, data: Mapping[str, Any]) -> Json:
        """What the agent gets, out of what the engine answered."""

    def asked(self, intent: Intent) -> Json | None:
        """What the engine is asked with; None for a GET."""
        return None

    def proofs(self, held: Held, place: Place) -> Sequence[Step]:
        """Steps that try what was made."""
        return ()

    def ends(self, held: Held, place: Place) -> Sequence[Step]:
        """What takes the credential back."""
        return [Step("lease", "revoke", "Credential taken back by OpenBao", lambda: self._lease(held, place), OPENBAO)]

    def handle(self, data: Mapping[str, Any]) -> Json:
        """What of the answer names the credential without being it."""
        return {}

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        return self.made(intent, record, self.asked(intent))

    def made(self, intent: Intent, record: Callable[[Json], None], asked: Json | None) -> Minted:
        """The token that the credential hangs on is never stored: its accessor, recorded at once, ends it."""
        demand_sound([problem for each in intent.details for problem in self.problems(each)])
        name = self._name(intent.details)
        where = self._places[name]
        self._prepare(intent, where, "read" if asked is None else "update")
        began = datetime.now(UTC)
        auth = self._api.create_token(token_fields(intent))
        handle = {"place": name, "accessor": auth["accessor"]}
        record(handle)
        answer = self._api.generate(self._asking(intent.name, where), auth["client_token"], asked)
        lease_s = answer["lease_duration"] or intent.ttl_s
        handle |= {"lease_id": answer["lease_id"]} if answer["lease_id"] else {}
        ends_at = began + timedelta(seconds=min(intent.ttl_s, auth["lease_duration"], lease_s))
        return Minted(self.secret(where, answer["data"]), {**handle, **self.handle(answer["data"])}, ends_at)

    def _prepare(self, intent: Intent, where: Place, capability: str) -> None:
        with untouched():
            self._api.write(f"{where.mount}/roles/{intent.name}", self.role(intent, where))
            self._api.write_policy(POLICY_PREFIX + intent.name, rule(self._asking(intent.name, where), capability))

    def steps(self, held: Held) -> Sequence[Step]:
        where = place(self._name(held.details), self._places)
        token = SessionToken(self._api, held)

        def tidy() -> Outcome:
            left = len(self._leases(held, where))
            if left:
                return Outcome(False, {"leases_left": left})
            self._api.delete(f"{where.mount}/roles/{held.name}")
            token.delete_policy()
            return Outcome(True, {"leases_left": 0})

        return [
            *self.ends(held, where),
            *token.steps(),
            *self.proofs(held, where),
            Step("tidy", "tidy", "OpenBao's role and policy of this credential removed", tidy, OPENBAO),
        ]

    def _lease(self, held: Held, where: Place) -> Outcome:
        known = held.handle.get("lease_id")
        ids = self._leases(held, where) if known is None else [known]
        for lease_id in ids:
            self._api.revoke_lease(lease_id)
        return Outcome(True, {"leases": len(ids), "found": "by name" if known is None else "by id"})

    def _leases(self, held: Held, where: Place) -> Sequence[str]:
        return self._api.leases_under(self._asking(held.name, where))

    def _asking(self, name: str, where: Place) -> str:
        return f"{where.mount}/{self.asking}/{name}"

    def _name(self, details: Sequence[Details]) -> str:
        match = self.location.fullmatch(details[0]["locations"][0])
        assert match is not None, "it was sound when it was granted"
        return match["place"]

    def wanted(self, details: Sequence[Details]) -> list[str]:
        """The `what` of every location, each once."""
        found = (self.location.fullmatch(location) for each in details for location in each["locations"])
        return sorted({match["what"] for match in found if match is not None})


def action_problems(actions: object, known: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(actions, list) or not actions:
        yield f"actions must be a list of one or more of {listed(list(known))}."
        return
    for action in actions:
        if not isinstance(action, str) or action not in known:
            yield f"{shown(action)} is not an action: use {listed(list(known))}."
    if len(set(map(str, actions))) < len(actions):
        yield "actions names an action twice."
