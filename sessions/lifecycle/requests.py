"""From a request to a decision."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from audit import canonical, log, notices
from audit.event import DENIED, now
from sessions import grant, policy, tokens
from sessions.errors import GrantChanged, Invalid, StateConflict
from sessions.lifecycle.changes import demand, event_of, locked, mintable, move
from sessions.lifecycle.credentials import activate
from sessions.lifecycle.verifications import lacking
from sessions.models import Agent, AgentSession, Approval, Credential, Grant, Person, Profile, Transition
from sessions.models.runs import State
from sessions.parties import SWEEP, viewer
from sessions.providers import registry

USER_CODE_TRIES = 5


@dataclass(frozen=True)
class Request:
    """What an agent asks for. `details` narrower than the profile, or None for all that it offers."""

    profile: Profile
    purpose: str
    duration_s: int | None = None
    details: Sequence[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Requested:
    """A new session, and the device code with which its agent polls (RFC 8628). The code is not stored."""

    agent_session: AgentSession
    device_code: str


@transaction.atomic(durable=True)
def request_session(agent: Agent, request: Request) -> Requested:
    """Ask for a session. Raises Invalid with a sentence for each thing that the profile does not offer."""
    version = request.profile.current
    if version is None or request.profile.retired_at or request.profile.team_id != agent.team_id:
        raise Invalid([f"The team offers no profile {request.profile.slug!r}."])
    content = version.content
    duration = request.duration_s or content["limits"]["duration"]
    details = list(request.details) if request.details is not None else content["authorization_details"]
    problems = registry.problems_of(details) or list(grant.excess(details, content["authorization_details"]))
    if not 60 <= duration <= content["limits"]["duration"]:
        problems.append(f"The duration must be between 60 and {content['limits']['duration']} seconds.")
    if not request.purpose.strip():
        problems.append("Say what the session is for: the lead reads it.")
    if problems:
        raise Invalid(problems)
    at = now()
    device_code = tokens.new(tokens.DEVICE_CODE)
    agent_session = AgentSession(
        team_id=agent.team_id,
        agent=agent,
        person_id=agent.owner_id,
        profile_version=version,
        purpose=request.purpose.strip()[:500],
        duration_s=duration,
        device_code_digest=tokens.digest(device_code),
        requested_at=at,
        decide_by=at + timedelta(seconds=content["limits"].get("decide_within", 3600)),
    )
    limits = {"duration": duration, "credential_ttl": min(content["limits"]["credential_ttl"], duration)}
    built = grant.build(_parties(agent_session), agent_session.purpose, details, limits, version.conditions)
    agent_session.grant_hash = built.sha256
    _save_with_user_code(agent_session)
    Grant.objects.create(agent_session=agent_session, sha256=built.sha256, body=built.body)
    event = event_of(
        agent_session,
        "session.requested",
        agent.reference,
        {"purpose": agent_session.purpose, "grant": built.content},
        at=at,
    )
    Transition.objects.create(
        agent_session=agent_session, to_state=State.REQUESTED, act=event.act, event=event.id, at=at
    )
    log.append(event)
    notices.after_commit(notices.FLEET)
    return Requested(agent_session, device_code)


@dataclass(frozen=True)
class Narrower:
    """What a lead approves instead: fewer things, or for a shorter time."""

    details: Sequence[dict[str, Any]]
    duration_s: int


@transaction.atomic(durable=True)
def approve(agent_session_id: uuid.UUID, by: Person, grant_hash: str, narrower: Narrower | None = None) -> AgentSession:
    """Approve exactly the grant with this hash, or less of it. The intents of its credentials are written with it."""
    agent_session = locked(agent_session_id)
    demand(policy.may_decide(viewer(by), agent_session.team_id, agent_session.person_id))
    _demand_hash(agent_session, grant_hash)
    _demand_verified(agent_session)
    data: dict[str, Any] = {}
    if narrower is not None:
        data["asked_hash"] = agent_session.grant_hash
        _narrow(agent_session, narrower)
    at = now()
    Approval.objects.create(
        agent_session=agent_session,
        grant_hash=agent_session.grant_hash,
        person=by,
        on_behalf_of_id=agent_session.person_id,
        decision=Approval.Decision.APPROVED,
        decided_at=at,
    )
    content = agent_session.grant.content
    intents = _write_intents(agent_session, content)
    mintable(credential.id for credential in intents)
    event = event_of(agent_session, "session.approved", by.reference, {**data, "grant": content}, at=at)
    move(
        agent_session,
        [State.REQUESTED],
        State.APPROVED,
        event,
        approved_at=at,
        grant_hash=agent_session.grant_hash,
        duration_s=agent_session.duration_s,
    )
    if not intents:
        transaction.on_commit(partial(_begin, agent_session_id), robust=True)
    return agent_session


def _begin(agent_session_id: uuid.UUID) -> None:
    """Nothing is to be minted, so the clock starts at once; where this is lost, the sweep does it."""
    with suppress(StateConflict):
        activate(agent_session_id)


@transaction.atomic(durable=True)
def deny(agent_session_id: uuid.UUID, by: Person, grant_hash: str, reason: str = "") -> AgentSession:
    agent_session = locked(agent_session_id)
    demand(policy.may_deny(viewer(by), agent_session.team_id, agent_session.person_id))
    _demand_hash(agent_session, grant_hash)
    at = now()
    Approval.objects.create(
        agent_session=agent_session,
        grant_hash=grant_hash,
        person=by,
        on_behalf_of_id=agent_session.person_id,
        decision=Approval.Decision.DENIED,
        reason=reason[:500],
        decided_at=at,
    )
    event = event_of(agent_session, "session.denied", by.reference, {"reason": reason[:500]}, outcome=DENIED, at=at)
    move(agent_session, [State.REQUESTED], State.DENIED, event, ended_at=at)
    return agent_session


@transaction.atomic(durable=True)
def withdraw(agent_session_id: uuid.UUID, act: str) -> AgentSession:
    """Take a request back: the agent itself, or the person for whom it asks (the caller has checked which)."""
    agent_session = locked(agent_session_id)
    event = event_of(agent_session, "session.withdrawn", act)
    move(agent_session, [State.REQUESTED], State.WITHDRAWN, event, ended_at=event.occurred_at)
    return agent_session


@transaction.atomic(durable=True)
def lapse(agent_session_id: uuid.UUID) -> AgentSession:
    """Nobody decided in time."""
    agent_session = locked(agent_session_id)
    event = event_of(agent_session, "session.lapsed", SWEEP)
    move(agent_session, [State.REQUESTED], State.LAPSED, event, ended_at=event.occurred_at)
    return agent_session


def _parties(agent_session: AgentSession) -> grant.Parties:
    agent, version = agent_session.agent, agent_session.profile_version
    return grant.Parties(
        session=agent_session.id,
        team=agent.team.slug,
        agent={"id": str(agent.id), "name": agent.name, "framework": agent.framework},
        person={"id": str(agent.owner_id), "name": agent.owner.name},
        profile={"slug": version.profile.slug, "version": version.number},
    )


def _save_with_user_code(agent_session: AgentSession) -> None:
    for _ in range(USER_CODE_TRIES):
        agent_session.user_code = tokens.new_user_code()
        try:
            with transaction.atomic():
                agent_session.save(force_insert=True)
        except IntegrityError:
            continue
        return
    raise RuntimeError("no free user code was found")


def _demand_hash(agent_session: AgentSession, grant_hash: str) -> None:
    if agent_session.state != State.REQUESTED:
        raise StateConflict("request", expected=[State.REQUESTED], found=agent_session.state)
    if agent_session.decide_by < now():
        raise StateConflict("request", expected=[State.REQUESTED], found=State.LAPSED)
    if agent_session.grant_hash != grant_hash:
        raise GrantChanged(expected=grant_hash, found=agent_session.grant_hash)


def _demand_verified(agent_session: AgentSession) -> None:
    days = agent_session.grant.content.get("conditions", {}).get("verified_within_days")
    if why := lacking(agent_session.agent, days):
        raise Invalid([why])


def _narrow(agent_session: AgentSession, narrower: Narrower) -> None:
    try:
        built = grant.narrowed(agent_session.grant.content, narrower.details, narrower.duration_s)
    except ValueError as error:
        raise Invalid([str(error)]) from error
    if problems := registry.problems_between(narrower.details):
        raise Invalid(problems)
    Grant.objects.get_or_create(agent_session=agent_session, sha256=built.sha256, defaults={"body": built.body})
    agent_session.grant_hash = built.sha256
    agent_session.duration_s = narrower.duration_s


def _write_intents(agent_session: AgentSession, content: Mapping[str, Any]) -> list[Credential]:
    """One intent for each credential, from the approved bytes and nothing else."""
    at = now()
    return Credential.objects.bulk_create(
        Credential(
            agent_session=agent_session,
            provider=kind,
            slot=slot,
            details=canonical.dumps(list(details)),
            grant_hash=agent_session.grant_hash,
            ttl_s=content["limits"]["credential_ttl"],
            created_at=at,
            next_attempt_at=at,
        )
        for (kind, slot), details in registry.slots_of(content["authorization_details"]).items()
    )
