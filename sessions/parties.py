"""Roles as the policy sees them, and names as events use them."""

import re
import unicodedata
from collections import defaultdict
from uuid import UUID

from sessions.models import AgentSession, Membership, Person
from sessions.policy import Viewer

ISSUER = "service:issuer"
REVOKER = "service:revoker"
SWEEP = "service:sweep"
# Words by which the timeline names what is ours.
OURS = frozenset({"drawbridge", "issuer", "revoker", "sweep", "system"})


def viewer(person: Person) -> Viewer:
    """The person with the roles that they have now."""
    roles: dict[UUID, set[str]] = defaultdict(set)
    if person.is_active:
        for team, role in Membership.objects.filter(person=person, ended_at=None).values_list("team_id", "role"):
            roles[team].add(role)
    return Viewer(person.id, {team: frozenset(held) for team, held in roles.items()})


def agent_of(agent_session: AgentSession) -> str:
    return f"agent:{agent_session.agent_id}"


def person_of(agent_session: AgentSession) -> str:
    return f"person:{agent_session.person_id}"


def looks_like_ours(name: str) -> bool:
    """Whether a name would pass for one of our services, in whatever width, case or punctuation it is written."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).casefold())
    return not OURS.isdisjoint(words)
