"""The first people, the rehearsal agent and its profile, for a Drawbridge on one's own machine. Safe to run again."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from sessions import canary, lifecycle, tokens
from sessions.models import Agent, AgentKey, Gateway, Membership, Person, Profile, Role, Team
from sessions.models.agents import Framework
from webapp import environment as env

TEAM = ("platform", "Platform")
AGENT = "rehearsal"
PROFILE = ("warehouse-orders", "Warehouse: orders and shipments")
WAREHOUSE = "postgresql://warehouse/public."
CONTENT: dict[str, Any] = {
    "authorization_details": [
        {
            "type": "postgresql",
            "locations": [WAREHOUSE + "orders", WAREHOUSE + "customers"],
            "actions": ["read"],
            "limits": {"connections": 4},
        },
        {
            "type": "postgresql",
            "locations": [WAREHOUSE + "shipments"],
            "actions": ["read", "write"],
            "limits": {"connections": 4},
        },
    ],
    "limits": {"duration": 3600, "credential_ttl": 900, "decide_within": 3600},
    "on_suspend": "revoke",
    "sandbox": "optional",
    "summary": "Read orders and customers, work on shipments.",
}


GATEWAY = "local"
SANDBOXED = ("warehouse-sandboxed", "Warehouse: from inside a sandbox")


def sandboxed() -> dict[str, Any]:
    """The same work from where there is no network but a forward to the sample database."""
    forward = {
        "type": "egress",
        "locations": [f"tcp://127.0.0.1:{settings.TARGETS['warehouse']['port']}"],
        "actions": ["forward"],
        "network": "127.0.0.0/8",
    }
    return {
        **CONTENT,
        "authorization_details": [*CONTENT["authorization_details"], forward],
        "sandbox": "required",
        "on_finding": "kill",
        "summary": "Read orders and customers, work on shipments, and reach nothing else.",
    }


@dataclass(frozen=True)
class Seed:
    """Somebody who can sign in from the start."""

    role: Role
    name: str

    @property
    def email(self) -> str:
        return f"{self.role}@example.test"


PEOPLE = (
    Seed(Role.LEAD, "Lena Lead"),
    Seed(Role.SECURITY, "Sam Security"),
    Seed(Role.AUDITOR, "Asa Auditor"),
    Seed(Role.ADMIN, "Ada Admin"),
    Seed(Role.REQUESTER, "Ravi Requester"),
)


class Command(BaseCommand):
    help = "Make the first people, the rehearsal agent and its profile. Only in local mode."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.LOCAL_MODE:
            raise CommandError("seed_local makes people with known passwords, so it runs in local mode only.")
        people_file = Path(env.text("PEOPLE_FILE"))
        key_file = Path(env.text("DRAWBRIDGE_AGENT_KEY_FILE", str(people_file.with_name("rehearsal-key"))))
        token_file = Path(env.text("GATEWAY_TOKEN_FILE", str(people_file.with_name("gateway-token"))))
        people = seed_people(people_file)
        team = seed_team(people)
        agent = seed_agent(team, people[Role.REQUESTER], key_file)
        profile = seed_profile(team, people, PROFILE, CONTENT)
        seed_profile(team, people, SANDBOXED, sandboxed())
        seed_gateway(people[Role.ADMIN], token_file)
        canary.set_up(sandboxed()["authorization_details"])
        self.stdout.write(f"{team}: {len(people)} people, the agent {agent}, the profile {profile.slug}")


def seed_people(path: Path) -> dict[str, Person]:
    """Everybody of PEOPLE. Whose password does not stand in the file (any more) gets a new one."""
    known = {one["email"]: one for one in json.loads(path.read_text())} if path.exists() else {}
    people = {}
    for seed in PEOPLE:
        person = Person.objects.filter(email=seed.email).first()
        if person is None or seed.email not in known:
            password = secrets.token_urlsafe(12)
            person = _with_password(person, seed, password)
            known[seed.email] = {"email": seed.email, "password": password, "role": seed.role, "name": seed.name}
        people[seed.role.value] = person
    _write_private(path, json.dumps(list(known.values()), indent=2))
    return people


def seed_team(people: dict[str, Person]) -> Team:
    slug, name = TEAM
    admin = people[Role.ADMIN]
    team = Team.objects.filter(slug=slug).first() or lifecycle.create_team(slug, name, admin)
    for role, person in people.items():
        if not Membership.objects.filter(team=team, person=person, role=role, ended_at=None).exists():
            lifecycle.grant_role(team, person, Role(role), admin)
    return team


def seed_agent(team: Team, owner: Person, path: Path) -> Agent:
    """The agent, with a live key in the file. A key that is not in the file is nobody's, and is revoked."""
    agent = Agent.objects.filter(team=team, name=AGENT).first() or lifecycle.register_agent(
        team, owner, AGENT, Framework.OTHER
    )
    live = AgentKey.objects.filter(agent=agent, revoked_at=None)
    if path.exists() and live.exists():
        return agent
    for stale in live:
        lifecycle.revoke_agent_key(stale.id, owner)
    _, key = lifecycle.issue_agent_key(agent, owner)
    _write_private(path, key)
    return agent


def seed_gateway(admin: Person, path: Path) -> Gateway:
    """The gateway whose token is in the file. One whose token is lost is retired, and another made."""
    digest = tokens.digest(path.read_text().strip()) if path.exists() else ""
    known = Gateway.objects.filter(token_digest=digest, retired_at=None).first()
    if known is not None:
        return known
    ours = Gateway.objects.filter(name__regex=rf"^{GATEWAY}(-\d+)?$")
    for stale in ours.filter(retired_at=None):
        lifecycle.retire_gateway(stale.id, admin)
    name = f"{GATEWAY}-{ours.count() + 1}" if ours.exists() else GATEWAY
    made, token = lifecycle.add_gateway(name, admin.reference)
    _write_private(path, token)
    return made


def seed_profile(team: Team, people: dict[str, Person], named: tuple[str, str], content: dict[str, Any]) -> Profile:
    """Proposed by the admin, published by the lead, as any profile is."""
    slug, name = named
    admin = people[Role.ADMIN]
    profile = Profile.objects.filter(team=team, slug=slug).first() or lifecycle.create_profile(team, slug, name, admin)
    if profile.current is None:
        version = profile.versions.first() or lifecycle.propose_profile_version(profile, content, admin)
        lifecycle.publish_profile_version(version.id, people[Role.LEAD])
    return profile


def _with_password(person: Person | None, seed: Seed, password: str) -> Person:
    if person is None:
        return Person.objects.create_user(seed.email, password, name=seed.name)
    person.set_password(password)
    person.save(update_fields=["password"])
    return person


def _write_private(path: Path, text: str) -> None:
    """Readable by its owner alone from the first byte, and never half-written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = path.with_suffix(".new")
    half.unlink(missing_ok=True)
    with open(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    half.replace(path)
