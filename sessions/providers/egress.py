"""What may leave through a gateway, in two forms: JSON and plain words. It makes no credential of its own.

An authorization_details object (RFC 9396 section 2) of this type is described in docs/gateway.md:

    {"type": "egress", "locations": ["https://api.github.com/repos/acme/"], "actions": ["GET", "POST"],
     "inject": {"slot": "secret:github", "as": "bearer"}, "network": CIDR, "listen": port, "until": "2026-12-31"}

The last four may be left out.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NoReturn

from sessions.providers.contract import CredentialError, Details, Held, Intent, Life, Step
from sessions.providers.destinations import FORWARD, INSPECT, TUNNEL, Destination, Network, Unclear, network_of
from sessions.providers.wording import listed, shown

TYPE = "egress"
FIELDS = {"type", "locations", "actions", "inject", "network", "listen", "until"}
MOST_LOCATIONS, MOST_ACTIONS = 50, 20
LONGEST_LOCATION = 600
ANY = "*"
METHOD = re.compile(r"[A-Z][A-Z-]{0,19}", re.ASCII)
# A tunnel is asked for with tls://, and TRACE sends back what the gateway added.
REFUSED_METHODS = {"CONNECT", "TRACE"}

SLOT = re.compile(r"[a-z0-9][A-Za-z0-9_./:-]{0,63}", re.ASCII)
# Each way to inject, with the field that it needs beside `slot` and `as`.
SHAPES: Mapping[str, tuple[str, re.Pattern[str]] | None] = {
    "bearer": None,
    "header": ("name", re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)),
    "basic": ("username", re.compile(r"[!-9;-~]{1,100}", re.ASCII)),
    "query": ("name", re.compile(r"[A-Za-z0-9_.~-]{1,64}", re.ASCII)),
    "sigv4": None,
}
# Headers that say where a request goes, how long it is, or how it is sent on.
FRAMING = {
    *("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    *("proxy-authorization", "proxy-connection"),
}


class Egress:
    """A Provider without credentials: gateways read its objects in the session's policy."""

    kind = "gateway"

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        return {}

    def problems(self, details: Details) -> Iterator[str]:
        return problems(details)

    def sentences(self, details: Details) -> Iterator[str]:
        return sentences(details)

    def life(self, details: Sequence[Details]) -> Life:
        return Life(0, None, "at once", "Gateways shut by themselves.")

    def mint(self, intent: Intent, record: Callable[[Mapping[str, Any]], None]) -> NoReturn:
        raise CredentialError("An egress rule has no credential.", permanent=True, untouched=True)

    def steps(self, held: Held) -> Sequence[Step]:
        return ()


def problems(details: Details) -> Iterator[str]:
    """What is wrong with an untrusted object, in sentences; nothing if it can be granted."""
    for name in sorted(set(details) - FIELDS, key=str):
        yield f"An {TYPE} object has no field {shown(name)}."
    found = list(_location_problems(details.get("locations")))
    yield from found
    if found:
        return
    places = [Destination.of(location) for location in details["locations"]]
    modes = {place.mode for place in places}
    if len(modes) > 1:
        yield f"One object has one mode, not {' and '.join(sorted(modes))}: write one object for each."
        return
    [mode] = modes
    yield from _action_problems(details.get("actions"), mode)
    yield from _network_problems(details, places)
    yield from _listen_problems(details, places, mode)
    yield from _until_problems(details)
    if "inject" in details:
        yield from _inject_problems(details, places, mode)


def across(objects: Sequence[Details], slots: Sequence[str]) -> Iterator[str]:
    """What is wrong between sound objects of one grant that has these slots."""
    taken: dict[int, Destination] = {}
    for each in objects:
        slot = each.get("inject", {}).get("slot")
        if slot is not None and slot not in slots:
            yield f"inject needs the credential {slot}, which no object here makes."
        for place in map(Destination.of, each["locations"]):
            if place.mode != FORWARD:
                continue
            port = each.get("listen", place.port)
            other = taken.setdefault(port, place)
            if other != place:
                yield f"Two forwards would listen on port {port} of the sandbox: give one of them another with listen."


def _location_problems(locations: object) -> Iterator[str]:
    if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_LOCATIONS:
        yield f"locations must be a list of 1 to {MOST_LOCATIONS} addresses."
        return
    for location in locations:
        try:
            if isinstance(location, str) and len(location) > LONGEST_LOCATION:
                raise Unclear("it is too long")
            Destination.of(location)
        except Unclear as problem:
            yield f"{shown(location)} cannot be a location: {problem}."
    if len(set(map(str, locations))) < len(locations):
        yield "locations names an address twice."


def _action_problems(actions: object, mode: str) -> Iterator[str]:
    if mode != INSPECT:
        only = "tunnel" if mode == TUNNEL else "forward"
        if actions != [only]:
            yield f'actions must be ["{only}"] here.'
        return
    if not isinstance(actions, list) or not 1 <= len(actions) <= MOST_ACTIONS:
        yield 'actions must be a list of HTTP methods, or ["*"] for all.'
        return
    for action in actions:
        if not isinstance(action, str) or not (action == ANY or METHOD.fullmatch(action)):
            yield f"{shown(action)} is not an HTTP method in capital letters."
        elif action in REFUSED_METHODS:
            yield f"{action} is never passed on."
    if len(set(map(str, actions))) < len(actions) or (ANY in actions and len(actions) > 1):
        yield "actions names a method twice: * stands for all of them."


def _network_problems(details: Details, places: Sequence[Destination]) -> Iterator[str]:
    if "network" not in details:
        for place in places:
            if not place.has_name:
                yield f"{place.host} is no name of the Internet: say with network in which private range it lies."
        return
    try:
        network = network_of(details["network"])
    except Unclear as problem:
        yield f"{shown(details['network'])} cannot be a network: {problem}."
        return
    for place in places:
        if place.address is not None and not _within(place, network):
            yield f"{place.host} does not lie in {network}."


def _within(place: Destination, network: Network) -> bool:
    return place.address in network


def _listen_problems(details: Details, places: Sequence[Destination], mode: str) -> Iterator[str]:
    if mode == FORWARD and any(place.host.startswith("*.") for place in places):
        yield "A forward leads to one host, so it cannot have a wildcard."
    if "listen" not in details:
        return
    listen = details["listen"]
    if mode != FORWARD or len(places) != 1:
        yield "listen goes with one tcp:// location."
    if type(listen) is not int or not 1 <= listen <= 65535:
        yield "listen must be a port from 1 to 65535."


def _until_problems(details: Details) -> Iterator[str]:
    if "until" in details:
        try:
            date.fromisoformat(details["until"])
        except (TypeError, ValueError):
            yield "until must be a day, such as 2026-12-31: the rule's last one."


def _inject_problems(details: Details, places: Sequence[Destination], mode: str) -> Iterator[str]:
    inject = details["inject"]
    if not isinstance(inject, dict) or not isinstance(inject.get("as"), str) or inject["as"] not in SHAPES:
        yield f'inject must be an object such as {{"slot": "secret:github", "as": "bearer"}}; as: {", ".join(SHAPES)}.'
        return
    needed = SHAPES[inject["as"]]
    fields = {"slot", "as"} | ({needed[0]} if needed else set())
    if inject.keys() != fields:
        yield f"inject as {inject['as']} has exactly the fields {', '.join(sorted(fields))}."
        return
    if not isinstance(inject["slot"], str) or not SLOT.fullmatch(inject["slot"]):
        yield f"{shown(inject['slot'])} is not the name of a credential."
    if needed and not (isinstance(inject[needed[0]], str) and needed[1].fullmatch(inject[needed[0]])):
        yield f"inject.{needed[0]} cannot be {shown(inject[needed[0]])}."
    elif inject["as"] == "header" and inject["name"].lower() in FRAMING:
        yield f"The header {inject['name']} is the gateway's own."
    if mode != INSPECT:
        yield "inject needs http:// or https://: nothing is added where nothing is seen."
    elif "network" not in details and any(place.scheme == "http" for place in places):
        yield "A credential is not sent over http:// outside an approved network."


def sentences(details: Details) -> Iterator[str]:
    """What the object allows, in plain words for the one who decides: one for each address."""
    last = f", until {details['until']}" if "until" in details else ""
    where = f" (internal service in {details['network']})" if "network" in details else ""
    for location in details["locations"]:
        yield f"{_may(Destination.of(location), location, details)}{where}{_added(details)}{last}."


def _may(place: Destination, location: str, details: Details) -> str:
    star = ", any one name for *" if place.host.startswith("*.") else ""
    if place.mode == FORWARD:
        port = details.get("listen", place.port)
        shown = f" (port {port} in the sandbox)" if port != place.port else ""
        return f"May connect to {place.host} port {place.port}{shown}: what is inside is not seen"
    if place.mode == TUNNEL:
        return f"May open a tunnel to {place.host}:{place.port}{star}: what is inside is not seen"
    methods = "use every method" if ANY in details["actions"] else listed(details["actions"])
    below = " and below it" if location.endswith("/") else ""
    plain = ", unencrypted" if place.scheme == "http" else ""
    return f"May {methods} on {location}{below}{star}{plain}"


def _added(details: Details) -> str:
    if "inject" not in details:
        return ""
    return f"; the gateway adds the credential {details['inject']['slot']}, the agent never sees it"
