"""A token of OpenBao itself, for an agent that speaks to it: secrets of a KV engine (version 2) to read, keys of the
transit engine to use, so many times and no more.

    {"type": "openbao-token", "locations": ["kv:apps/shop/db"], "actions": ["read"], "limits": {"uses": 20}}
    {"type": "openbao-token", "locations": ["transit:keys/orders"], "actions": ["encrypt", "decrypt", "sign", "verify"]}
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sessions.providers.contract import Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.engine import MOST_LOCATIONS, action_problems
from sessions.providers.openbao_api import OpenBaoApi, rule
from sessions.providers.places import LONGEST_LIFE_S, Places, demand_sound, unknown
from sessions.providers.session_token import OPENBAO, POLICY_PREFIX, SessionToken, token_fields, untouched
from sessions.providers.wording import listed, shown

TYPE = "openbao-token"
LOCATION = re.compile(
    r"(?P<engine>kv|transit):(?P<place>[a-z][a-z0-9_-]{0,50})/(?P<what>[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*)",
    re.ASCII,
)
ACTIONS = {
    "kv": {"read": "Read"},
    "transit": {"encrypt": "Encrypt", "decrypt": "Decrypt", "sign": "Sign", "verify": "Verify signatures"},
}
MOST_USES, DEFAULT_USES = 10_000, 100
# For our own proof that it lives or is dead; it is counted as a use.
SELF = rule("auth/token/lookup-self", "read")


class OpenBaoToken:
    """A Provider."""

    kind = TYPE

    def __init__(self, api: OpenBaoApi, places: Places) -> None:
        self._api, self._places = api, places

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One token for all."""
        return {TYPE: list(details)} if details else {}

    def problems(self, details: Details) -> Iterator[str]:
        for name in sorted(set(details) - {"type", "locations", "actions", "limits"}, key=str):
            yield f"An {TYPE} object has no field {shown(name)}."
        locations = details.get("locations")
        if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_LOCATIONS:
            yield f"locations must be a list of 1 to {MOST_LOCATIONS} places such as kv:apps/shop/db."
            return
        found = [LOCATION.fullmatch(each) if isinstance(each, str) else None for each in locations]
        yield from self._location_problems(locations, found)
        engines = {match["engine"] for match in found if match is not None}
        if len(engines) > 1:
            yield "One object speaks of kv or of transit: write one object for each."
        elif engines:
            yield from action_problems(details.get("actions"), ACTIONS[engines.pop()])
        yield from _limit_problems(details.get("limits", {}))

    def _location_problems(self, locations: list[object], found: Sequence[re.Match[str] | None]) -> Iterator[str]:
        for each, match in zip(locations, found, strict=True):
            if match is None:
                yield f"{shown(each)} cannot be understood: write kv:place/path or transit:place/key."
                continue
            problem = unknown(match["place"], match["engine"], self._places)
            if problem:
                yield problem
            elif not self._places[match["place"]].permits(match["what"]):
                yield f"{shown(match['what'])} is not among what {match['place']} allows."
            elif match["engine"] == "transit" and "/" in match["what"]:
                yield f"{shown(match['what'])} is not the name of a key."
        if len(set(map(str, locations))) < len(locations):
            yield "locations names one place twice."

    def sentences(self, details: Details) -> Iterator[str]:
        engine = details["locations"][0].partition(":")[0]
        names = listed([location.partition(":")[2] for location in details["locations"]])
        for action in (action for action in ACTIONS[engine] if action in details["actions"]):
            what = f"the secret {names}" if engine == "kv" else f"with the key {names}"
            yield f"{ACTIONS[engine][action]} {what} in OpenBao, by a token of its own."
        yield f"At most {_uses([details])} uses of the token."

    def life(self, details: Sequence[Details]) -> Life:
        return Life(60, LONGEST_LIFE_S, "at once", "it dies by itself.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        demand_sound([problem for each in intent.details for problem in self.problems(each)])
        with untouched():
            self._api.write_policy(POLICY_PREFIX + intent.name, self.policy(intent.details))
        began = datetime.now(UTC)
        auth = self._api.create_token(token_fields(intent, num_uses=_uses(intent.details)))
        handle = {"accessor": auth["accessor"]}
        record(handle)
        secret = {"type": TYPE, "address": self._api.address, "token": auth["client_token"]}
        return Minted(secret, handle, began + timedelta(seconds=min(auth["lease_duration"], intent.ttl_s)))

    def policy(self, details: Sequence[Details]) -> str:
        """What the token may do, line by line; nothing is left to a wildcard."""
        paths = sorted({path for each in details for path in self._paths(each)})
        return SELF + "".join(rule(path, capability) for path, capability in paths)

    def _paths(self, details: Details) -> Iterator[tuple[str, str]]:
        for location in details["locations"]:
            match = LOCATION.fullmatch(location)
            assert match is not None, "it was sound when it was granted"
            mount = self._places[match["place"]].mount
            if match["engine"] == "kv":
                yield f"{mount}/data/{match['what']}", "read"
                continue
            for action in details["actions"]:
                yield f"{mount}/{action}/{match['what']}", "update"

    def steps(self, held: Held) -> Sequence[Step]:
        token = SessionToken(self._api, held)

        def tried() -> Outcome:
            if held.secret is None:
                return Outcome(True, {"tried": "no: the token is not known"})
            alive = self._api.accepts(str(held.secret["token"]))
            return Outcome(not alive, {"tried": "yes", "answer": "it works" if alive else "403: permission denied"})

        def tidy() -> Outcome:
            token.delete_policy()
            return Outcome(True)

        return [
            *token.steps(),
            Step("tried", "proof", "Token refused by OpenBao", tried, OPENBAO),
            Step("tidy", "tidy", "OpenBao's policy of this token removed", tidy, OPENBAO),
        ]


def _uses(details: Sequence[Details]) -> int:
    return min(int(each.get("limits", {}).get("uses", DEFAULT_USES)) for each in details)


def _limit_problems(limits: object) -> Iterator[str]:
    if not isinstance(limits, dict):
        yield 'limits must be an object such as {"uses": 20}.'
        return
    for name in sorted(set(limits) - {"uses"}, key=str):
        yield f"There is no limit {shown(name)}."
    uses = limits.get("uses", DEFAULT_USES)
    if type(uses) is not int or not 1 <= uses <= MOST_USES:
        yield f"limits.uses must be a whole number from 1 to {MOST_USES}."
