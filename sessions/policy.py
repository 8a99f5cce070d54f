"""Who may do what: pure functions over plain values. Deny is where each begins; an exception is a denial too."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

ROLES_THAT_SEE = frozenset({"requester", "lead", "security", "auditor", "admin"})


@dataclass(frozen=True)
class Viewer:
    """A signed-in person as the policy sees them: who they are, and their roles by team."""

    id: uuid.UUID
    roles: Mapping[uuid.UUID, frozenset[str]]

    def has(self, team: uuid.UUID, *roles: str) -> bool:
        return not self.roles.get(team, frozenset()).isdisjoint(roles)

    def has_anywhere(self, *roles: str) -> bool:
        return any(self.has(team, *roles) for team in self.roles)


@dataclass(frozen=True)
class Verdict:
    allowed: bool
    why: str = ""

    def __bool__(self) -> bool:
        return self.allowed


ALLOW = Verdict(True)


def deny(why: str) -> Verdict:
    return Verdict(False, why)


def may_see(viewer: Viewer, team: uuid.UUID) -> Verdict:
    """A stranger to the team sees nothing of it, not even that it exists."""
    if viewer.has(team, *ROLES_THAT_SEE):
        return ALLOW
    return deny("You have no role in this team.")


def may_decide(viewer: Viewer, team: uuid.UUID, on_behalf_of: uuid.UUID) -> Verdict:
    """A lead of the team decides, but nobody for an agent that runs on their own behalf."""
    if viewer.id == on_behalf_of:
        return deny("This agent runs on your behalf, so somebody else has to decide.")
    if viewer.has(team, "lead"):
        return ALLOW
    return deny("Only a lead of this team can decide.")


def may_deny(viewer: Viewer, team: uuid.UUID, on_behalf_of: uuid.UUID) -> Verdict:
    """Whoever may approve may deny, and security may always."""
    if viewer.has(team, "security"):
        return ALLOW
    return may_decide(viewer, team, on_behalf_of)


def may_withdraw(viewer: Viewer, on_behalf_of: uuid.UUID) -> Verdict:
    if viewer.id == on_behalf_of:
        return ALLOW
    return deny("Only the person for whom the agent asks can withdraw the request.")


def may_kill(viewer: Viewer, team: uuid.UUID, on_behalf_of: uuid.UUID) -> Verdict:
    """Stopping is easy: leads, security, admins, and the person for whom the agent runs."""
    if viewer.has(team, "lead", "security", "admin") or viewer.id == on_behalf_of:
        return ALLOW
    return deny("Only a lead, security, an admin, or the person for whom the agent runs can kill a session.")


def may_order_kill(viewer: Viewer) -> Verdict:
    """Everything, of all their teams at once. A second person confirms it."""
    if viewer.has_anywhere("lead", "security", "admin"):
        return ALLOW
    return deny("Only a lead, security or an admin of some team can order that everything is killed.")


def may_confirm_kill(viewer: Viewer, ordered_by: uuid.UUID) -> Verdict:
    if viewer.id == ordered_by:
        return deny("You ordered it, so somebody else has to confirm it.")
    return may_order_kill(viewer)


def may_look_up(viewer: Viewer) -> Verdict:
    """Whose a leaked string is: for those who can do something about it."""
    if viewer.has_anywhere("lead", "security", "admin"):
        return ALLOW
    return deny("Only a lead, security or an admin of some team can look up a leaked string.")


def may_resume(viewer: Viewer, team: uuid.UUID, on_behalf_of: uuid.UUID) -> Verdict:
    return may_decide(viewer, team, on_behalf_of)


def may_register_agent(viewer: Viewer, team: uuid.UUID) -> Verdict:
    if viewer.has(team, "requester", "lead", "admin"):
        return ALLOW
    return deny("Only a requester, a lead or an admin of this team can register agents.")


def may_manage_agent(viewer: Viewer, team: uuid.UUID, owner: uuid.UUID) -> Verdict:
    """Keys of an agent: its owner makes them; its owner, admins and security end them."""
    if viewer.has(team, "admin") or (viewer.id == owner and viewer.has(team, *ROLES_THAT_SEE)):
        return ALLOW
    return deny("Only the agent's owner or an admin of this team can do this.")


def may_revoke_key(viewer: Viewer, team: uuid.UUID, owner: uuid.UUID) -> Verdict:
    if viewer.has(team, "lead", "security"):
        return ALLOW
    return may_manage_agent(viewer, team, owner)


def may_propose_profile(viewer: Viewer, team: uuid.UUID) -> Verdict:
    if viewer.has(team, "lead", "admin", "security"):
        return ALLOW
    return deny("Only a lead, security or an admin of this team can propose a profile.")


def may_publish_profile(viewer: Viewer, team: uuid.UUID, proposed_by: uuid.UUID) -> Verdict:
    """A version is published by somebody other than the one who wrote it."""
    if viewer.id == proposed_by:
        return deny("You proposed this version, so somebody else has to publish it.")
    return may_propose_profile(viewer, team)


def may_manage_people(viewer: Viewer, team: uuid.UUID) -> Verdict:
    if viewer.has(team, "admin"):
        return ALLOW
    return deny("Only an admin of this team can change roles.")


def may_export(viewer: Viewer, team: uuid.UUID) -> Verdict:
    """An evidence file leaves Drawbridge, with everything that the team's events say."""
    if viewer.has(team, "security", "auditor", "admin", "lead"):
        return ALLOW
    return deny("Only a lead, security, an auditor or an admin of this team can export evidence.")


def may_erase(viewer: Viewer, person: uuid.UUID, teams: Collection[uuid.UUID]) -> Verdict:
    """An admin of each team in which the person has a role. Nobody erases themselves: somebody has to be left."""
    if viewer.id == person:
        return deny("Somebody else has to erase you.")
    if teams and all(viewer.has(team, "admin") for team in teams):
        return ALLOW
    return deny("Only somebody who is an admin of each of this person's teams can erase them.")


def may_see_gateways(viewer: Viewer) -> Verdict:
    """Gateways serve all teams: who decides or watches in one of them sees what stands between."""
    if viewer.has_anywhere("lead", "security", "admin"):
        return ALLOW
    return deny("Only a lead, security or an admin of some team sees the gateways.")


def may_retire_gateway(viewer: Viewer) -> Verdict:
    if viewer.has_anywhere("security", "admin"):
        return ALLOW
    return deny("Only security or an admin of some team can retire a gateway.")


def may_hold(viewer: Viewer, teams: Collection[uuid.UUID]) -> Verdict:
    """Security and admins of a team that the hold concerns place and release it."""
    if any(viewer.has(team, "security", "admin") for team in teams):
        return ALLOW
    return deny("Only security or an admin of the team can place and release legal holds.")


def may_see_holds(viewer: Viewer, team: uuid.UUID) -> Verdict:
    if viewer.has(team, "security", "admin", "auditor"):
        return ALLOW
    return deny("Only security, auditors and admins of the team see its legal holds.")
