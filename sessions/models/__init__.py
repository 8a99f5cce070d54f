"""The rows of the control plane, by what they are about."""

from sessions.models.additions import Addition
from sessions.models.agents import Agent, AgentKey
from sessions.models.canaries import CanaryRun
from sessions.models.credentials import Credential, Fingerprint, Revocation, RevocationStep
from sessions.models.gateways import Gateway, GatewayCut
from sessions.models.orders import KillOrder
from sessions.models.people import Membership, Person, Role, Team
from sessions.models.profiles import Profile, ProfileVersion
from sessions.models.reconciliations import Reconciliation
from sessions.models.runs import AgentSession, Approval, Grant, Transition
from sessions.models.verifications import Verification

__all__ = [
    "Addition",
    "Agent",
    "AgentKey",
    "AgentSession",
    "Approval",
    "CanaryRun",
    "Credential",
    "Fingerprint",
    "Gateway",
    "GatewayCut",
    "Grant",
    "KillOrder",
    "Membership",
    "Person",
    "Profile",
    "ProfileVersion",
    "Reconciliation",
    "Revocation",
    "RevocationStep",
    "Role",
    "Team",
    "Transition",
    "Verification",
]
