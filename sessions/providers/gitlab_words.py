"""What may be asked of GitLab, in three forms: JSON, plain words, the body of GitLab's request.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "gitlab",                                "gitlab-injected": gateways add the token, agents have none
     "locations": ["gitlab:corp/acme/group/shop"],    a server of GITLAB_SERVERS, and projects on it by their paths
     "actions": ["read_repository", "read_api"]}      scopes of a project access token
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date

from sessions.providers.contract import CredentialError, Details, Json
from sessions.providers.wording import listed, shown

DELIVERED, INJECTED = "gitlab", "gitlab-injected"
FIELDS = {"type", "locations", "actions"}
MOST_PROJECTS = 20
LONGEST_PATH = 255
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?"
LOCATION = re.compile(rf"gitlab:([a-z][a-z0-9_-]{{0,30}})/({_PART}(?:/{_PART}){{1,20}})", re.ASCII)
# What administers runners, clusters or the project itself is not among them, and cannot be granted.
SCOPES: Mapping[str, str] = {
    "read_repository": "Read the code of",
    "write_repository": "Read and push code of",
    "read_registry": "Pull container images of",
    "write_registry": "Push container images of",
    "read_api": "Read all that the API shows of",
    "api": "Read and change all that the API offers of",
}
RENEWS_ITSELF = "api"
CHANGES = frozenset({"write_repository", "write_registry", "api"})
REPORTER, DEVELOPER = 20, 30
ROLES: Mapping[int, str] = {REPORTER: "a Reporter", DEVELOPER: "a Developer"}


def problems(details: Details, servers: Collection[str]) -> Iterator[str]:
    """What is wrong with an untrusted object, in sentences; nothing if it can be granted."""
    kind = details.get("type")
    for name in sorted(set(details) - FIELDS, key=str):
        yield f"A {kind} object has no field {shown(name)}."
    locations, actions = details.get("locations"), details.get("actions")
    if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_PROJECTS:
        yield f"locations must be a list of 1 to {MOST_PROJECTS} projects."
    else:
        yield from _location_problems(locations, servers)
    if not isinstance(actions, list) or not actions:
        yield "actions must be a list of scopes, such as read_repository."
    else:
        yield from _action_problems(actions)


def _location_problems(locations: Sequence[object], servers: Collection[str]) -> Iterator[str]:
    for location in locations:
        match = LOCATION.fullmatch(location) if isinstance(location, str) else None
        if match is None or len(match[2]) > LONGEST_PATH:
            yield f"{shown(location)} is not a project: write gitlab:server/group/name."
        elif match[1] not in servers:
            known = listed(sorted(servers)) if servers else "none"
            yield f"There is no GitLab server {match[1]!r} here; there is {known}."
    if len(set(map(str, locations))) < len(locations):
        yield "locations names a project twice."


def _action_problems(actions: Sequence[object]) -> Iterator[str]:
    for action in actions:
        if not isinstance(action, str) or action not in SCOPES:
            yield f"{shown(action)} is not a scope: write one of {', '.join(SCOPES)}."
    if len(set(map(str, actions))) < len(actions):
        yield "actions names a scope twice."


def sentences(details: Details) -> Iterator[str]:
    paths: dict[str, list[str]] = {}
    for location in details["locations"]:
        server, path = project(location)
        paths.setdefault(server, []).append(path)
    for server, names in paths.items():
        for scope in (each for each in SCOPES if each in details["actions"]):
            yield f"{SCOPES[scope]} {listed(sorted(names))} on GitLab ({server})."
    yield f"On GitLab the token acts as {ROLES[access_level([details])]} of the project."
    if details["type"] == INJECTED:
        yield "The gateway adds the token; the agent never has it."


def project(location: str) -> tuple[str, str]:
    """The server's name and the project's path."""
    match = LOCATION.fullmatch(location)
    if match is None:
        raise CredentialError(f"{shown(location)} is no project.", permanent=True, untouched=True)
    return match[1], match[2]


def by_project(details: Sequence[Details]) -> Mapping[str, list[Details]]:
    """The objects of each project, by its location: one token each."""
    found: dict[str, list[Details]] = {}
    for each in details:
        for location in each["locations"]:
            found.setdefault(location, []).append({**each, "locations": [location]})
    return found


def scopes(details: Sequence[Details]) -> list[str]:
    return sorted({action for each in details for action in each["actions"]})


def access_level(details: Sequence[Details]) -> int:
    """The lowest role that can use the scopes."""
    return DEVELOPER if CHANGES.intersection(scopes(details)) else REPORTER


def request(name: str, details: Sequence[Details], last_day: date) -> Json:
    """The body of `POST /projects/ID/access_tokens`."""
    return {
        "name": name,
        "scopes": scopes(details),
        "access_level": access_level(details),
        "expires_at": last_day.isoformat(),
    }
