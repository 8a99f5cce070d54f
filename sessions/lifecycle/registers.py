"""Agents and their keys, profiles and their versions, people and their roles."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from audit import canonical, log
from audit.event import NewEvent, now
from sessions import policy, tokens
from sessions.errors import Invalid, StateConflict
from sessions.lifecycle.changes import demand
from sessions.models import Agent, AgentKey, Membership, Person, Profile, ProfileVersion, Role, Team
from sessions.models.agents import Framework
from sessions.parties import looks_like_ours, viewer
from sessions.providers import registry

HINT_CHARACTERS = 10
# Its event repeats it.
LONGEST_CONTENT = 40_000
# Each with the value that holds where a version does not say.
CHOICES = {"on_suspend": ("revoke", "keep"), "sandbox": ("required", "optional"), "on_finding": ("note", "kill")}
MOST_DAYS = 366
FIELDS = frozenset({"authorization_details", "limits", "summary", "verified_within_days", *CHOICES})
LIMITS = {"duration": (60, 86_400), "credential_ttl": (60, 3_600), "decide_within": (60, 86_400)}


@transaction.atomic(durable=True)
def create_team(slug: str, name: str, admin: Person) -> Team:
    """A new team, with its first admin. Only the command line does this."""
    team = Team.objects.create(slug=slug, name=name)
    Membership.objects.create(team=team, person=admin, role=Role.ADMIN)
    log.append(_event(team, "team.created", admin, {"team": str(team.id), "slug": slug}))
    return team


@dataclass(frozen=True)
class Added:
    """A new person, and the password that was made for them. It is shown once and not stored."""

    person: Person
    password: str


@transaction.atomic(durable=True)
def add_person(team: Team, email: str, name: str, role: Role, by: Person) -> Added:
    """An account for somebody who has none, with a first role. The event names nothing personal."""
    demand(policy.may_manage_people(viewer(by), team.id))
    if not name.strip():
        raise Invalid([f"{email} has no account yet: say what the person's name is."])
    password = tokens.new_password()
    try:
        with transaction.atomic():
            person = Person.objects.create_user(email, password, name=name.strip())
    except IntegrityError as error:
        raise Invalid([f"{email} has an account already."]) from error
    Membership.objects.create(team=team, person=person, role=role, granted_by=by)
    log.append(_event(team, "person.added", by, {"person": str(person.id), "role": role}))
    return Added(person, password)


@transaction.atomic(durable=True)
def grant_role(team: Team, person: Person, role: Role, by: Person) -> Membership:
    demand(policy.may_manage_people(viewer(by), team.id))
    try:
        with transaction.atomic():
            membership = Membership.objects.create(team=team, person=person, role=role, granted_by=by)
    except IntegrityError as error:
        raise Invalid([f"{person} has the role {role} already."]) from error
    log.append(_event(team, "person.role_granted", by, {"person": str(person.id), "role": role}))
    return membership


@transaction.atomic(durable=True)
def end_role(membership_id: int, by: Person) -> Membership:
    """Take a role away. The last admin of a team stays one."""
    membership = Membership.objects.select_for_update(of=("self",)).select_related("team").get(pk=membership_id)
    # Two admins who end each other's role must not both find that the other one stays.
    Team.objects.select_for_update(no_key=True).get(pk=membership.team_id)
    demand(policy.may_manage_people(viewer(by), membership.team_id))
    others = Membership.objects.filter(team=membership.team, role=Role.ADMIN, ended_at=None).exclude(pk=membership.pk)
    if membership.role == Role.ADMIN and not others.exists():
        raise Invalid(["A team needs an admin: make somebody else admin first."])
    if not Membership.objects.filter(pk=membership_id, ended_at=None).update(ended_at=now()):
        raise StateConflict("role", expected=["held"], found="ended")
    data = {"person": str(membership.person_id), "role": membership.role}
    log.append(_event(membership.team, "person.role_ended", by, data))
    return membership


@transaction.atomic(durable=True)
def register_agent(team: Team, owner: Person, name: str, framework: Framework) -> Agent:
    """A new agent, for which `owner` answers."""
    demand(policy.may_register_agent(viewer(owner), team.id))
    if looks_like_ours(name):
        raise Invalid([f"Choose another name than {name!r}: it would look like a part of Drawbridge."])
    try:
        with transaction.atomic():
            agent = Agent.objects.create(team=team, owner=owner, name=name, framework=framework)
    except IntegrityError as error:
        raise Invalid([f"The team has an agent named {name!r} already."]) from error
    log.append(_event(team, "agent.registered", owner, {"name": name, "framework": framework}, agent))
    return agent


@transaction.atomic(durable=True)
def issue_agent_key(agent: Agent, by: Person) -> tuple[AgentKey, str]:
    """A new key, which is returned once and not stored. Rotating is: issue a new one, then revoke the old one."""
    demand(policy.may_manage_agent(viewer(by), agent.team_id, agent.owner_id))
    key = tokens.new(tokens.AGENT_KEY)
    row = AgentKey.objects.create(agent=agent, hint=key[:HINT_CHARACTERS], digest=tokens.digest(key), created_by=by)
    log.append(_event(agent.team, "agent.key_issued", by, {"key": str(row.id), "hint": row.hint}, agent))
    return row, key


@transaction.atomic(durable=True)
def revoke_agent_key(key_id: uuid.UUID, by: Person) -> AgentKey:
    row = AgentKey.objects.select_related("agent__team").get(pk=key_id)
    demand(policy.may_revoke_key(viewer(by), row.agent.team_id, row.agent.owner_id))
    if not AgentKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=now(), revoked_by=by):
        raise StateConflict("key", expected=["live"], found="revoked")
    log.append(_event(row.agent.team, "agent.key_revoked", by, {"key": str(key_id), "hint": row.hint}, row.agent))
    return row


@transaction.atomic(durable=True)
def create_profile(team: Team, slug: str, name: str, by: Person) -> Profile:
    """A profile with no version yet: it offers nothing until one is proposed, and published by somebody else."""
    demand(policy.may_propose_profile(viewer(by), team.id))
    try:
        with transaction.atomic():
            profile = Profile.objects.create(team=team, slug=slug, name=name)
    except IntegrityError as error:
        raise Invalid([f"The team has a profile {slug!r} already."]) from error
    log.append(_event(team, "profile.created", by, {"profile": str(profile.id), "slug": slug}))
    return profile


@transaction.atomic(durable=True)
def propose_profile_version(profile: Profile, content: Mapping[str, Any], by: Person) -> ProfileVersion:
    """One that does not say otherwise demands a sandbox."""
    demand(policy.may_propose_profile(viewer(by), profile.team_id))
    content = {"sandbox": "required", **content}
    problems = profile_problems(content)
    if problems:
        raise Invalid(problems)
    Profile.objects.select_for_update().get(pk=profile.pk)
    newest = profile.versions.aggregate(newest=Max("number"))["newest"] or 0
    body = canonical.dumps(dict(content))
    version = ProfileVersion.objects.create(profile=profile, number=newest + 1, body=body, proposed_by=by)
    data = {"profile": str(profile.id), "version": version.number, "content": dict(content)}
    log.append(_event(profile.team, "profile.version_proposed", by, data))
    return version


@transaction.atomic(durable=True)
def publish_profile_version(version_id: uuid.UUID, by: Person) -> ProfileVersion:
    """From now on requests are built from this version. Sessions that exist keep theirs."""
    version = ProfileVersion.objects.select_related("profile__team").get(pk=version_id)
    demand(policy.may_publish_profile(viewer(by), version.profile.team_id, version.proposed_by_id))
    at = now()
    if not ProfileVersion.objects.filter(pk=version_id, published_at=None).update(published_at=at, published_by=by):
        raise StateConflict("profile version", expected=["proposed"], found="published")
    version.published_at, version.published_by = at, by
    data = {
        "profile": str(version.profile_id),
        "version": version.number,
        "sha256": canonical.sha256(bytes(version.body)),
    }
    log.append(_event(version.profile.team, "profile.version_published", by, data))
    return version


def profile_problems(content: Mapping[str, Any]) -> list[str]:
    """What is wrong with a profile version, in sentences for the one who wrote it."""
    try:
        length = len(canonical.dumps(dict(content)))
    except (ValueError, RecursionError):
        return ["The profile holds a number or a text that JSON cannot carry (RFC 8785)."]
    if length > LONGEST_CONTENT:
        return [f"A profile version may have {LONGEST_CONTENT:,} bytes, this one has {length:,}."]
    problems = [f"Unknown field {name!r}." for name in sorted(content.keys() - FIELDS)]
    problems += registry.problems_of(content.get("authorization_details"))
    limits = content.get("limits")
    if not isinstance(limits, dict):
        return [*problems, "limits must be an object with duration, credential_ttl and decide_within, in seconds."]
    for name, (least, most) in LIMITS.items():
        value = limits.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            problems.append(f"limits.{name} must be a whole number of seconds from {least} to {most}.")
    if limits.keys() - LIMITS:
        problems.append(f"limits may have {', '.join(LIMITS)} only.")
    if not isinstance(content.get("summary", ""), str):
        problems.append("summary must be text.")
    for name, values in CHOICES.items():
        if content.get(name, values[0]) not in values:
            problems.append(f"{name} is either {values[0]} or {values[1]}.")
    days = content.get("verified_within_days", 1)
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= MOST_DAYS:
        problems.append(f"verified_within_days must be a whole number from 1 to {MOST_DAYS}.")
    return problems


def _event(team: Team, kind: str, by: Person, data: Mapping[str, Any], agent: Agent | None = None) -> NewEvent:
    """An event of the team's administration: its stream is the team's id."""
    return NewEvent(
        kind=kind,
        stream=team.id,
        sub=by.reference,
        act=by.reference,
        agent=agent.reference if agent else None,
        data={"team": team.slug, **data},
    )
