"""What may be asked of AWS, in three forms: JSON, plain words, IAM policy. Nothing here talks to anybody.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "aws",                                             "aws-injected": gateways sign, agents have no keys
     "locations": ["aws:reports/arn:aws:s3:::reports/2026/*"],  one role of AWS_ROLES; the resource's ARN, or *
     "actions": ["s3:GetObject"]}

Source of limits and names: botocore's model of STS (sts/2011-06-15), IAM's user guide ("IAM and AWS STS quotas").
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sessions.providers.contract import CredentialError, Details
from sessions.providers.wording import listed, shown

DELIVERED, INJECTED = "aws", "aws-injected"
FIELDS = {"type", "locations", "actions"}
MOST_LOCATIONS, MOST_ACTIONS = 20, 40
# AssumeRole: "The plaintext that you use for both inline and managed session policies can't exceed 2,048 characters."
LONGEST_SESSION_POLICY = 2_048
# All inline policies of a role together, white space not counted.
LONGEST_INLINE = 10_240
LOCATION = re.compile(
    r"aws:([a-z][a-z0-9_-]{0,50})/(\*|arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{0,12}:[!-~]{1,400})", re.ASCII
)
ACTION = re.compile(r"([a-z0-9-]{2,40}):([A-Z][A-Za-z0-9]{2,80}\*?)", re.ASCII)
# With these a session makes itself another one, or other rights, and outlives its own end.
NEVER = {"iam", "sts", "organizations", "account", "sso", "sso-directory", "identitystore", "ram"}
# A call that changes nothing and tells nothing: by it we see whether the session still may do anything.
PROBE_ACTION = "ec2:DescribeRegions"
DENY_POLICY = "DrawbridgeRevoked"
# Entries are grouped by when they may be forgotten, in steps of so many minutes.
STEP_MIN = 15
UNTIL = re.compile(r"Until(\d{8}T\d{4}Z)")
Json = dict[str, Any]


def problems(details: Details, roles: Collection[str]) -> Iterator[str]:
    """What is wrong with an untrusted object, in sentences; nothing if it can be granted."""
    kind = details.get("type")
    for name in sorted(set(details) - FIELDS, key=str):
        yield f"An {kind} object has no field {shown(name)}."
    locations, actions = details.get("locations"), details.get("actions")
    if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_LOCATIONS:
        yield f"locations must be a list of 1 to {MOST_LOCATIONS} resources."
        return
    if not isinstance(actions, list) or not 1 <= len(actions) <= MOST_ACTIONS:
        yield f"actions must be a list of 1 to {MOST_ACTIONS} actions."
        return
    sound = [*_location_problems(locations, roles), *_action_problems(actions)]
    yield from sound
    if not sound:
        yield from _length_problems(details)


def _location_problems(locations: Sequence[object], roles: Collection[str]) -> Iterator[str]:
    for location in locations:
        match = LOCATION.fullmatch(location) if isinstance(location, str) else None
        if match is None:
            yield f"{shown(location)} is not a resource: write aws:ROLE/ARN, or aws:ROLE/*."
        elif match[1] not in roles:
            known = listed(sorted(roles)) if roles else "none"
            yield f"There is no AWS role {match[1]!r} here; there is {known}."
    if len(set(map(str, locations))) < len(locations):
        yield "locations names a resource twice."


def _action_problems(actions: Sequence[object]) -> Iterator[str]:
    for action in actions:
        match = ACTION.fullmatch(action) if isinstance(action, str) else None
        if match is None:
            yield f"{shown(action)} is not an action: write service:Action; a * may only end one, after three letters."
        elif match[1] in NEVER:
            yield f"{action} is never granted: with {match[1]} a session could give itself what was not approved."
    if len(set(map(str, actions))) < len(actions):
        yield "actions names an action twice."


def _length_problems(details: Details) -> Iterator[str]:
    length = len(session_policy([details]))
    if length > LONGEST_SESSION_POLICY:
        yield (
            f"Its session policy has {length:,} characters, and AWS takes {LONGEST_SESSION_POLICY:,}: "
            "name fewer resources, or fewer actions."
        )


def sentences(details: Details, roles: Mapping[str, str]) -> Iterator[str]:
    """`roles`: the ARN of each."""
    actions = listed(sorted(details["actions"]))
    for role, resources in _by_role(details).items():
        where = "anything that they reach" if "*" in resources else listed(sorted(resources))
        yield f"In AWS, as {roles.get(role, role)}: {actions} on {where}."
    if details["type"] == INJECTED:
        yield "The gateway signs its requests; the agent never has the keys."


def role_of(location: str) -> str:
    match = LOCATION.fullmatch(location)
    if match is None:
        raise CredentialError(f"{shown(location)} is no resource of AWS.", permanent=True, untouched=True)
    return match[1]


def by_role(details: Sequence[Details]) -> Mapping[str, list[Details]]:
    """The objects of each role: one session of AWS each."""
    found: dict[str, list[Details]] = {}
    for each in details:
        for role, resources in _by_role(each).items():
            locations = [f"aws:{role}/{resource}" for resource in resources]
            found.setdefault(role, []).append({**each, "locations": locations})
    return found


def _by_role(details: Details) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for location in details["locations"]:
        role = role_of(location)
        found.setdefault(role, []).append(location.removeprefix(f"aws:{role}/"))
    return found


def session_policy(details: Sequence[Details]) -> str:
    """The IAM policy of the session: what was approved, and the one call by which its end is seen."""
    statements: list[Json] = [
        {"Effect": "Allow", "Action": sorted(each["actions"]), "Resource": sorted(_resources(each))} for each in details
    ]
    statements.append({"Effect": "Allow", "Action": PROBE_ACTION, "Resource": "*"})
    return compact({"Version": "2012-10-17", "Statement": statements})


def _resources(details: Details) -> list[str]:
    return [location.partition("/")[2] for location in details["locations"]]


def denying(policy: Json | None, session: str, until: datetime, at: datetime) -> Json:
    """The role's policy with this session (`aws:userid`) denied until then, and without entries that are over."""
    entries = entries_of(policy, at)
    entries.setdefault(_step(until), set()).add(session)
    return _policy(entries)


def pruned(policy: Json | None, at: datetime) -> Json | None:
    """Without entries that are over; None where nothing is left."""
    entries = entries_of(policy, at)
    return _policy(entries) if entries else None


def entries_of(policy: Json | None, at: datetime) -> dict[str, set[str]]:
    """The sessions that are denied, by the time until which they have to be."""
    found: dict[str, set[str]] = {}
    for statement in (policy or {}).get("Statement", ()):
        match = UNTIL.fullmatch(statement.get("Sid", ""))
        if match is not None and _moment(match[1]) > at:
            sessions = statement["Condition"]["StringEquals"]["aws:userid"]
            found.setdefault(match[1], set()).update([sessions] if isinstance(sessions, str) else sessions)
    return found


def _policy(entries: Mapping[str, Collection[str]]) -> Json:
    statements = [
        {
            "Sid": f"Until{until}",
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:userid": sorted(sessions)}},
        }
        for until, sessions in sorted(entries.items())
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _step(until: datetime) -> str:
    """Rounded up, with a step to spare for other clocks."""
    step = timedelta(minutes=STEP_MIN)
    since = until.astimezone(UTC) - datetime(2000, 1, 1, tzinfo=UTC)
    return (datetime(2000, 1, 1, tzinfo=UTC) + (since // step + 2) * step).strftime("%Y%m%dT%H%MZ")


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)


def compact(document: Json) -> str:
    return json.dumps(document, separators=(",", ":"))
