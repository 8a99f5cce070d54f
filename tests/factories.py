"""A team with people, an agent and a profile, made the way the product makes them."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from audit import canonical, personal
from audit.event import now
from audit.models import Event
from sessions import lifecycle
from sessions.lifecycle.additions import Wish
from sessions.models import (
    Agent,
    AgentSession,
    Credential,
    Gateway,
    Membership,
    Person,
    Profile,
    ProfileVersion,
    Role,
    Team,
)
from sessions.models.agents import Framework
from sessions.providers.contract import Minted

PASSWORD = "correct horse battery staple"
READ_ORDERS = {
    "type": "postgresql",
    "locations": ["postgresql://warehouse/public.customers", "postgresql://warehouse/public.orders"],
    "actions": ["read"],
    "limits": {"connections": 4},
}
WRITE_SHIPMENTS = {
    "type": "postgresql",
    "locations": ["postgresql://warehouse/public.shipments"],
    "actions": ["read", "write"],
    "limits": {"connections": 4},
}
TO_GITHUB = {
    "type": "egress",
    "locations": ["https://api.github.com/repos/acme/"],
    "actions": ["GET", "POST"],
    "inject": {"slot": "secret:github", "as": "bearer"},
}
TO_DATABASE = {
    "type": "egress",
    "locations": ["tcp://db.corp.example:5432"],
    "actions": ["forward"],
    "network": "10.20.0.0/16",
    "listen": 15432,
}
GITHUB = {"type": "secret", "locations": ["kv:github"], "actions": ["inject"]}
CONTENT: dict[str, Any] = {
    "authorization_details": [READ_ORDERS, WRITE_SHIPMENTS],
    "limits": {"duration": 3600, "credential_ttl": 900, "decide_within": 3600},
    "on_suspend": "revoke",
    "sandbox": "optional",
    "summary": "Read orders and customers, work on shipments.",
}


@dataclass(frozen=True)
class World:
    """One team and all who matter in it. `stranger` has no role there."""

    team: Team
    admin: Person
    lead: Person
    second_lead: Person
    security: Person
    auditor: Person
    requester: Person
    stranger: Person
    agent: Agent
    key: str
    profile: Profile
    version: ProfileVersion

    def request(self, purpose: str = "Find late shipments", **asked: Any) -> lifecycle.Requested:
        return lifecycle.request_session(self.agent, lifecycle.Request(self.profile, purpose, **asked))

    def approved(self, **asked: Any) -> AgentSession:
        requested = self.request(**asked).agent_session
        return lifecycle.approve(requested.id, self.lead, requested.grant_hash)


def person(name: str) -> Person:
    address = f"{name}-{uuid.uuid4().hex[:8]}@example.test"
    return Person.objects.create_user(address, PASSWORD, name=name.title())


def world(content: dict[str, Any] | None = None) -> World:
    """A fresh team; safe to make any number of."""
    admin = person("admin")
    slug = f"team-{uuid.uuid4().hex[:8]}"
    team = lifecycle.create_team(slug, slug.title(), admin)
    people = {role: person(role) for role in ("lead", "security", "auditor", "requester")}
    for role, one in people.items():
        lifecycle.grant_role(team, one, Role(role), admin)
    second_lead = person("second")
    lifecycle.grant_role(team, second_lead, Role.LEAD, admin)
    agent = lifecycle.register_agent(team, people["requester"], "shipping-bot", Framework.CLAUDE_CODE)
    _, key = lifecycle.issue_agent_key(agent, people["requester"])
    profile = lifecycle.create_profile(team, "warehouse-orders", "Warehouse: orders", admin)
    version = lifecycle.propose_profile_version(profile, content or CONTENT, admin)
    lifecycle.publish_profile_version(version.id, people["lead"])
    return World(
        team=team,
        admin=admin,
        lead=people["lead"],
        second_lead=second_lead,
        security=people["security"],
        auditor=people["auditor"],
        requester=people["requester"],
        stranger=person("stranger"),
        agent=agent,
        key=key,
        profile=profile,
        version=version,
    )


def egress_only() -> dict[str, Any]:
    """A profile whose sessions have no credential."""
    return {**CONTENT, "authorization_details": [TO_DATABASE]}


def roles_of(one: Person) -> set[str]:
    return set(Membership.objects.filter(person=one, ended_at=None).values_list("role", flat=True))


def minted(lifetime_s: int = 900) -> Minted:
    """What a provider would have answered."""
    return Minted(
        secret={"type": "postgresql", "username": "dbr_x", "password": f"canary-{uuid.uuid4().hex}"},
        handle={"accessor": "a", "lease_id": "l"},
        expires_at=now() + timedelta(seconds=lifetime_s),
    )


def issue(agent_session: AgentSession) -> Credential:
    """Bring an approved session to active, as the issuing worker does."""
    credential = agent_session.credentials.get()
    lifecycle.record_issued(credential.id, minted())
    lifecycle.activate(agent_session.id)
    credential.refresh_from_db()
    return credential


def wish(location: str = "https://api.example.org/v1/", duration_s: int = 600, **more: Any) -> Wish:
    """What a session asks for in its middle."""
    details = {"type": "egress", "locations": [location], "actions": ["GET"], **more}
    return Wish([details], "The tests need the schema from there", duration_s)


def verified(*outcomes: str, **changed: Any) -> dict[str, Any]:
    """A report of `drawbridge verify`; one probe for each outcome."""
    report = [
        {
            **dict.fromkeys(("tries", "saw", "source", "why"), ""),
            "id": f"N{number:02}",
            "title": f"Probe {number}",
            "outcome": outcome,
            "control": "crossed" if outcome in ("held", "crossed") else "held",
        }
        for number, outcome in enumerate(outcomes or ("held", "held"), 1)
    ]
    said = {"sandbox": "bubblewrap", "version": "0.8.0", "framework": "", "framework_version": "", "host": "Linux"}
    counts = {"probes": len(report), "crossed": [], "skipped": [], "report": report}
    return {**said, **counts, **changed}


def gateway(lease_s: float | None = 10) -> tuple[Gateway, str]:
    """A gateway with a lease, and its token."""
    made, token = lifecycle.add_gateway(f"gw-{uuid.uuid4().hex[:8]}", "service:operator")
    if lease_s is not None:
        made.started_at, made.lease_until = now(), now() + timedelta(seconds=lease_s)
        made.save()
    return made, token


def cut(agent_session_id: uuid.UUID, connections: int = 2, elapsed_us: int = 1_500) -> lifecycle.Cut:
    """A gateway's word that it passes nothing more."""
    return lifecycle.Cut(agent_session_id, now(), connections, elapsed_us)


def events_of(stream: uuid.UUID) -> list[dict[str, Any]]:
    """The bodies of a stream's events, in order, with their personal fields readable."""
    rows = Event.objects.filter(stream=stream).order_by("seq")
    return [dict(content) for content in personal.reveal([canonical.loads(bytes(row.body)) for row in rows])]


def kinds_of(stream: uuid.UUID) -> list[str]:
    return [event["kind"] for event in events_of(stream)]
