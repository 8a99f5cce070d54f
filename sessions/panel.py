"""What the panel of a session shows: what the viewer may do, and each credential from intent to proof of death."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from audit.event import now
from sessions import policy, words
from sessions.models import Addition, AgentSession, Approval, Credential, GatewayCut, Revocation, RevocationStep
from sessions.models.additions import AdditionState
from sessions.models.credentials import CredentialState
from sessions.models.runs import State
from sessions.policy import Verdict, Viewer
from sessions.providers import registry

NOT_ASKED = Verdict(False)


@dataclass(frozen=True)
class May:
    """What the viewer may do with a session as it is now; a refusal says why where that helps."""

    approve: Verdict
    deny: Verdict
    withdraw: Verdict
    kill: Verdict

    @classmethod
    def of(cls, viewer: Viewer, agent_session: AgentSession) -> "May":
        team, person = agent_session.team_id, agent_session.person_id
        waits = agent_session.state == State.REQUESTED
        return cls(
            approve=policy.may_decide(viewer, team, person) if waits else NOT_ASKED,
            deny=policy.may_deny(viewer, team, person) if waits else NOT_ASKED,
            withdraw=policy.may_withdraw(viewer, person) if waits else NOT_ASKED,
            kill=policy.may_kill(viewer, team, person) if agent_session.live else NOT_ASKED,
        )


@dataclass(frozen=True)
class StepTaken:
    """The newest try of one step of a revocation."""

    label: str
    kind: str
    done: bool
    took: str
    evidence: Mapping[str, str]


@dataclass(frozen=True)
class Ending:
    """How far the end of a credential has come. Requested, revoked and proven are three different moments.

    `next_attempt_at` is None while the first try is under way.
    """

    requested_at: datetime
    revoked_after: str
    proven_after: str
    given_up: bool
    attempts: int
    next_attempt_at: datetime | None
    problem: str
    steps: tuple[StepTaken, ...]

    @property
    def to_do(self) -> str:
        """The steps that were tried and are not done, by their labels."""
        return ", ".join(step.label for step in self.steps if not step.done)

    @classmethod
    def of(cls, revocation: Revocation) -> "Ending":
        newest = {step.name: step for step in revocation.steps.all()}
        waits = revocation.next_attempt_at > revocation.requested_at
        problems = [str(step.evidence["problem"]) for step in newest.values() if "problem" in step.evidence]
        return cls(
            requested_at=revocation.requested_at,
            revoked_after=_after(revocation, revocation.revoked_at),
            proven_after=_after(revocation, revocation.proven_at),
            given_up=revocation.given_up_at is not None,
            attempts=revocation.attempts,
            next_attempt_at=revocation.next_attempt_at if waits else None,
            problem=words.plain(problems[-1]) if problems else "",
            steps=tuple(_taken(step) for step in newest.values()),
        )


@dataclass(frozen=True)
class Lane:
    """One credential as the panel shows it."""

    credential: Credential
    ending: Ending | None

    @property
    def state(self) -> str:
        return self.credential.state

    @property
    def proven(self) -> bool:
        return self.state == CredentialState.PROVEN

    @property
    def long_lived(self) -> bool:
        """It does not end by itself: gateways alone ever hold it."""
        return self.credential.provider in registry.FOR_GATEWAYS

    @property
    def dying(self) -> bool:
        """Its end was asked for, and it is not known to be dead."""
        return self.ending is not None and self.credential.alive


@dataclass(frozen=True)
class Passing:
    """One gateway that had the session, and whether it still passes anything on for it."""

    name: str
    text: str
    sign: str
    tone: str
    at: datetime | None = None

    @classmethod
    def of(cls, hold: GatewayCut, serves: bool, over_at: datetime | None) -> "Passing":
        gateway = hold.gateway
        if hold.acknowledged_at is not None:
            return cls(gateway.name, _cut(hold, hold.acknowledged_at, over_at), "tick", "proven")
        if hold.lapsed_at is not None or gateway.lease_until is None or gateway.lease_until < now():
            lapsed_at = hold.lapsed_at or gateway.lease_until
            return cls(gateway.name, "passes nothing: its lease lapsed", "shut", "over", lapsed_at)
        if serves:
            return cls(gateway.name, "passes on what the grant allows, since", "open", "live", hold.held_since)
        return cls(gateway.name, "has not acknowledged the cut yet", "bang", "refused")


@dataclass(frozen=True)
class More:
    """What a session asked for in its middle, in words."""

    addition: Addition
    allows: tuple[str, ...]
    reason: str
    duration: str

    @classmethod
    def of(cls, addition: Addition) -> "More":
        content = addition.content
        allows = tuple(words.allowed(content["authorization_details"]))
        return cls(addition, allows, words.plain(content["reason"]), words.span(content["duration"]))


@dataclass(frozen=True)
class Verdicts:
    """What became of the credentials of a session that is over: how many are proven dead, and how long it took."""

    credentials: int
    proven: int
    dying: int
    expired: int
    took: str
    unprovable: int = 0


def lanes(agent_session: AgentSession) -> list[Lane]:
    """Every credential of the session, newest generation first within its slot."""
    rows = agent_session.credentials.select_related("revocation").prefetch_related("revocation__steps")
    return [Lane(row, _ending(row)) for row in rows.order_by("slot", "-generation")]


def verdicts(agent_session: AgentSession, credentials: Sequence[Credential]) -> Verdicts:
    """`took` is from the session's end to the last proof; empty as long as anything may still be alive."""
    dying = sum(credential.alive for credential in credentials)
    proven = [credential for credential in credentials if credential.state == CredentialState.PROVEN]
    proofs = [credential.revocation.proven_at for credential in proven]
    last = max((at for at in proofs if at is not None), default=None)
    return Verdicts(
        credentials=len(credentials),
        proven=len(proven),
        dying=dying,
        expired=sum(credential.state == CredentialState.EXPIRED_UNREVOKED for credential in credentials),
        took=_since_end(agent_session, last) if not dying else "",
        unprovable=sum(credential.state == CredentialState.UNPROVABLE for credential in credentials),
    )


def _since_end(agent_session: AgentSession, moment: datetime | None) -> str:
    """Empty where it came before the end, as with a credential that a rotation had replaced."""
    if moment is None or agent_session.ended_at is None or moment < agent_session.ended_at:
        return ""
    return words.elapsed(moment - agent_session.ended_at)


def additions(agent_session: AgentSession) -> list[More]:
    """Those that wait, and those that hold now."""
    found = agent_session.additions.filter(
        Q(state=AdditionState.REQUESTED) | Q(state=AdditionState.APPROVED, ends_at__gt=now())
    )
    return [More.of(one) for one in found.order_by("number")]


def gateways(agent_session: AgentSession) -> list[Passing]:
    """The newest hold of each gateway that had the session."""
    rows = (
        agent_session.gateway_cuts.select_related("gateway").order_by("gateway__name", "-pk").distinct("gateway__name")
    )
    holds = list(rows)
    serves = agent_session.state == State.ACTIVE
    return [Passing.of(hold, serves, _over_at(agent_session) if holds else None) for hold in holds]


def _over_at(agent_session: AgentSession) -> datetime | None:
    """Since when gateways must pass nothing for it."""
    if agent_session.ended_at is not None or agent_session.state == State.ACTIVE:
        return agent_session.ended_at
    newest = agent_session.transitions.filter(to_state=State.SUSPENDED).last()
    return newest.at if newest else None


def _cut(hold: GatewayCut, at: datetime, over_at: datetime | None) -> str:
    count = hold.connections or 0
    took = words.elapsed(timedelta(microseconds=hold.elapsed_us or 0))
    closed = f"{count} {'connection' if count == 1 else 'connections'} closed in {took}" if count else "none was open"
    after = f" {words.elapsed(at - over_at)} after the end" if over_at is not None and at >= over_at else ""
    return f"cut{after}: {closed}"


def decision(agent_session: AgentSession) -> Approval | None:
    return agent_session.approvals.select_related("person").order_by("decided_at").last()


def _ending(credential: Credential) -> Ending | None:
    try:
        return Ending.of(credential.revocation)
    except Revocation.DoesNotExist:
        return None


def _after(revocation: Revocation, moment: datetime | None) -> str:
    return words.elapsed(moment - revocation.requested_at) if moment else ""


def _taken(step: RevocationStep) -> StepTaken:
    return StepTaken(
        label=step.label,
        kind=step.kind,
        done=step.done,
        took=words.elapsed(timedelta(microseconds=step.elapsed_us)),
        evidence=dict(_readable(step.evidence)),
    )


def _readable(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in evidence.items():
        yield name.replace("_", " "), words.plain(str(value))
