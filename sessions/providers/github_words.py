"""What may be asked of a GitHub App, in three forms: JSON, plain words, the body of GitHub's request.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "github",                                "github-injected": gateways add the token, agents have none
     "locations": ["github:acme/shop"],               repositories of one owner, by name
     "actions": ["contents:read", "pull_requests:write"]}

Names of permissions: GitHub's REST description, schema `app-permissions` (tests hold them against it).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from sessions.providers.contract import CredentialError, Details, Json
from sessions.providers.wording import listed, shown

DELIVERED, INJECTED = "github", "github-injected"
FIELDS = {"type", "locations", "actions"}
MOST_REPOSITORIES = 50
LOCATION = re.compile(r"github:([A-Za-z0-9](?:[A-Za-z0-9-]{0,38}))/([A-Za-z0-9._-]{1,100})", re.ASCII)
LEVELS = ("read", "write")
# Of a repository. What reaches a whole organization, other people's secrets, or how the repository itself is guarded is
# not among them, and cannot be granted.
PERMISSIONS: Mapping[str, str] = {
    "actions": "workflow runs",
    "checks": "checks",
    "code_quality": "code quality findings",
    "contents": "code, commits, branches and releases",
    "dependabot_alerts": "Dependabot alerts",
    "deployments": "deployments",
    "issues": "issues",
    "metadata": "metadata",
    "packages": "packages",
    "pages": "Pages",
    "pull_requests": "pull requests",
    "repository_projects": "projects",
    "security_events": "code scanning alerts",
    "statuses": "commit statuses",
}
READ_ONLY = frozenset({"metadata", "dependabot_alerts"})


def problems(details: Details, owners: Collection[str]) -> Iterator[str]:
    """What is wrong with an untrusted object, in sentences; nothing if it can be granted."""
    kind = details.get("type")
    for name in sorted(set(details) - FIELDS, key=str):
        yield f"A {kind} object has no field {shown(name)}."
    locations, actions = details.get("locations"), details.get("actions")
    if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_REPOSITORIES:
        yield f"locations must be a list of 1 to {MOST_REPOSITORIES} repositories."
    else:
        yield from _location_problems(locations, owners)
    if not isinstance(actions, list) or not actions:
        yield "actions must be a list of permissions, such as contents:read."
    else:
        yield from _action_problems(actions)


def _location_problems(locations: Sequence[object], owners: Collection[str]) -> Iterator[str]:
    for location in locations:
        match = LOCATION.fullmatch(location) if isinstance(location, str) else None
        if match is None or match[2] in (".", ".."):
            yield f"{shown(location)} is not a repository: write github:owner/name."
        elif match[1] not in owners:
            yield f"There is no GitHub App for {match[1]!r} here; there is {listed(sorted(owners)) or 'none'}."
    if len(set(map(str, locations))) < len(locations):
        yield "locations names a repository twice."


def _action_problems(actions: Sequence[object]) -> Iterator[str]:
    seen: set[str] = set()
    for action in actions:
        name, _, level = action.partition(":") if isinstance(action, str) else ("", "", "")
        if name not in PERMISSIONS or level not in LEVELS:
            yield f"{shown(action)} is not a permission: write one of {', '.join(PERMISSIONS)}, and :read or :write."
        elif name in READ_ONLY and level == "write":
            yield f"{name} can only be read."
        elif name in seen:
            yield f"actions names {name} twice: write includes read."
        seen.add(name)


def sentences(details: Details) -> Iterator[str]:
    for owner, names in _by_owner(details).items():
        for level, verb in (("read", "Read"), ("write", "Read and change")):
            wanted = [PERMISSIONS[name] for name, found in sorted(permissions([details]).items()) if found == level]
            if wanted:
                yield f"{verb} {listed(wanted)} of {listed([f'{owner}/{name}' for name in sorted(names)])} on GitHub."
    if details["type"] == INJECTED:
        yield "The gateway adds the token; the agent never has it."


def by_owner(details: Sequence[Details]) -> Mapping[str, list[Details]]:
    """The objects of each owner: one token each."""
    found: dict[str, list[Details]] = {}
    for each in details:
        for owner, names in _by_owner(each).items():
            found.setdefault(owner, []).append({**each, "locations": [f"github:{owner}/{name}" for name in names]})
    return found


def _by_owner(details: Details) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for location in details["locations"]:
        match = LOCATION.fullmatch(location)
        if match is None:
            raise CredentialError(f"{shown(location)} is no repository.", permanent=True, untouched=True)
        found.setdefault(match[1], []).append(match[2])
    return found


def repositories(details: Sequence[Details]) -> list[str]:
    """The names of all of them, of the one owner."""
    return sorted({name for each in details for names in _by_owner(each).values() for name in names})


def permissions(details: Sequence[Details]) -> dict[str, str]:
    """Write includes read. GitHub adds `metadata: read` to whatever is asked for."""
    found: dict[str, str] = {}
    for each in details:
        for action in each["actions"]:
            name, _, level = action.partition(":")
            found[name] = "write" if "write" in (level, found.get(name)) else level
    return found


def uneven(details: Sequence[Details]) -> bool:
    """Whether one token would give more than was approved: its permissions hold for all its repositories alike."""
    return len({(frozenset(each["actions"])) for each in details}) > 1


def request(details: Sequence[Details]) -> Json:
    """The body of `POST /app/installations/ID/access_tokens`."""
    return {"repositories": repositories(details), "permissions": permissions(details)}
