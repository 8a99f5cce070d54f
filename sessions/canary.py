"""The switch tests itself: a session of a team of its own lives and is killed as any other, every few minutes.

Its profile names whatever is to be tested: each credential of it has to be proven dead (or to be beyond proof, where it
never is more), and each gateway that has a lease has to pass it on before the kill and to refuse it afterwards.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import structlog
from django.conf import settings
from django.db import transaction

from audit import log
from audit.advisory import alone
from audit.event import FAILURE, LOG_STREAM, SUCCESS, NewEvent, now
from sessions import lifecycle, revoking, tokens
from sessions.errors import LifecycleError
from sessions.models import Agent, AgentSession, CanaryRun, Credential, Gateway, Person, Profile, Revocation, Role, Team
from sessions.models.agents import Framework
from sessions.models.credentials import DEAD, CredentialState
from sessions.models.runs import State

logger = structlog.get_logger()

TEAM, AGENT, PROFILE = "drawbridge-canary", "canary", "canary"
ACT = "service:canary"
LOCK = 0x63_61_6E_61
# How long it may take to start, to be known by each gateway, to be cut by it, to be proven dead.
START_S, KNOWN_S, CUT_S, PROOF_S = 30.0, 10.0, 15.0, 60.0
PAUSE_S = 0.05
ASKED = "http://gateway.drawbridge.internal/policy"
# Without a run for so many times the time between two, nobody knows whether the switch works.
MOST_MISSED = 3


@dataclass(frozen=True)
class Lane:
    """One way in which the kill had to work. `ms` from the kill to the end, where there was one."""

    lane: str
    passed: bool
    ms: float | None = None
    problem: str = ""


def set_up(details: Sequence[Mapping[str, Any]]) -> Profile:
    """The canary's team, its two people who never sign in, its agent, and a profile of what is to be tested."""
    asks, decides = (_nobody(name) for name in ("asks", "decides"))
    team = Team.objects.filter(slug=TEAM).first() or lifecycle.create_team(TEAM, "Canary of the switch", decides)
    for person, role in ((asks, Role.REQUESTER), (asks, Role.ADMIN), (decides, Role.LEAD)):
        if not team.memberships.filter(person=person, role=role, ended_at=None).exists():
            lifecycle.grant_role(team, person, role, decides)
    if not Agent.objects.filter(team=team, name=AGENT).exists():
        lifecycle.register_agent(team, asks, AGENT, Framework.OTHER)
    profile = Profile.objects.filter(team=team, slug=PROFILE).first()
    profile = profile or lifecycle.create_profile(team, PROFILE, "What the switch is tested with", asks)
    content = {
        "authorization_details": [dict(one) for one in details],
        "limits": {"duration": 300, "credential_ttl": 300, "decide_within": 300},
        "on_suspend": "revoke",
        "sandbox": "optional",
        "summary": "Live for a moment and be killed.",
    }
    if profile.current is None or profile.current.content != content:
        version = lifecycle.propose_profile_version(profile, content, asks)
        lifecycle.publish_profile_version(version.id, decides)
    return profile


def run() -> CanaryRun | None:
    """None where there is no canary, or another runs."""
    profile = Profile.objects.filter(team__slug=TEAM, slug=PROFILE, retired_at=None).first()
    agent = Agent.objects.filter(team__slug=TEAM, name=AGENT, retired_at=None).first()
    if profile is None or agent is None:
        return None
    with alone(LOCK) as ours:
        return _run(agent, profile) if ours else None


def problem() -> str:
    """Why the switch may not work now, for everybody to see; empty where it does, or where it never tested itself."""
    last = CanaryRun.objects.exclude(passed=None).order_by("-started_at").first()
    if last is None:
        return ""
    if not last.passed:
        failed = ", ".join(lane["lane"] for lane in last.lanes if not lane["passed"])
        return f"The kill switch would not have worked when it last tested itself: {failed}."
    most = timedelta(seconds=settings.CANARY_EVERY_S * MOST_MISSED)
    if settings.CANARY_EVERY_S and last.started_at < now() - most:
        return "The kill switch has not tested itself for too long: is beat running, and a worker for the queue log?"
    return ""


def _run(agent: Agent, profile: Profile) -> CanaryRun:
    CanaryRun.objects.filter(passed=None).update(
        passed=False, ended_at=now(), lanes=[asdict(Lane("test", False, problem="It was broken off."))]
    )
    test = CanaryRun.objects.create(started_at=now())
    lanes: list[Lane] = []
    try:
        lanes += _lived_and_died(test, agent, profile)
    except LifecycleError as error:
        lanes.append(Lane("start", False, problem=str(error)[:300]))
    except Exception as error:
        logger.exception("canary_broke")
        lanes.append(Lane("test", False, problem=f"It broke with {type(error).__name__}: see the log."))
    finally:
        _over(test)
    return _conclude(test, lanes)


def _lived_and_died(test: CanaryRun, agent: Agent, profile: Profile) -> Iterator[Lane]:
    decides = _nobody("decides")
    asked = lifecycle.request_session(agent, lifecycle.Request(profile, "Test the kill switch")).agent_session
    test.agent_session = asked
    test.save(update_fields=["agent_session"])
    lifecycle.approve(asked.pk, decides, asked.grant_hash)
    began = time.monotonic()
    if not _until(lambda: _state(asked) != State.APPROVED, START_S) or _state(asked) != State.ACTIVE:
        why = Credential.objects.filter(agent_session=asked).exclude(problem="").values_list("problem", flat=True)
        yield Lane("start", False, problem=next(iter(why), "No worker minted its credentials in time."))
        return
    yield Lane("start", True, _ms(began))
    secret = tokens.proxy_secret(lifecycle.issue_session_token(asked.pk))
    gateways = list(Gateway.objects.filter(retired_at=None, lease_until__gt=now()).exclude(address=""))
    deaf = {one.pk for one in gateways if not _until(partial(_passes, one, asked, secret), KNOWN_S)}
    killed = time.monotonic()
    lifecycle.kill(asked.pk, by=decides)
    revoking.start(Revocation.objects.filter(credential__agent_session=asked).values_list("pk", flat=True))
    for one in gateways:
        yield _gateway(one, asked, secret, killed, heard=one.pk not in deaf)
    yield from _credentials(asked, killed)


def _gateway(one: Gateway, run: AgentSession, secret: str, killed: float, *, heard: bool) -> Lane:
    lane = f"gateway {one.name}"
    if not heard:
        return Lane(lane, False, problem="It passed nothing on for a session that was live.")
    if _until(lambda: _passes(one, run, secret) is False, CUT_S):
        return Lane(lane, True, _ms(killed))
    return Lane(lane, False, problem="It went on passing on for a session that was killed, or answers no more.")


def _credentials(run: AgentSession, killed: float) -> Iterator[Lane]:
    mine = Credential.objects.filter(agent_session=run)
    _until(lambda: not mine.exclude(state__in=DEAD).exists(), PROOF_S)
    for one in mine.select_related("revocation").order_by("slot", "generation"):
        lane = f"{one.provider} {one.slot}"
        if one.state in (CredentialState.PROVEN, CredentialState.UNPROVABLE):
            ended_at = one.revocation.proven_at or one.revocation.given_up_at or now()
            took = ended_at - one.revocation.requested_at
            yield Lane(lane, True, round(took.total_seconds() * 1_000, 1))
            continue
        missing = one.revocation.steps.filter(done=False).order_by("-at").first()
        said = f" {missing.label}: {missing.evidence.get('problem', 'not yet')}" if missing else ""
        yield Lane(lane, False, problem=f"{one.get_state_display()}, {PROOF_S:.0f} seconds after the kill.{said}"[:300])
    yield Lane("kill", True, _ms(killed))


def _passes(one: Gateway, run: AgentSession, secret: str) -> bool | None:
    """Whether a gateway still serves the session; None where it does not answer."""
    proxy = httpx.Proxy(f"http://{one.address}", auth=(str(run.pk), secret))
    try:
        with httpx.Client(proxy=proxy, timeout=2, trust_env=False) as client:
            return client.get(ASKED).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return None


def _over(test: CanaryRun) -> None:
    """Whatever broke, nothing of it lives on."""
    run = test.agent_session
    if run is None:
        return
    try:
        if _state(run) == State.REQUESTED:
            lifecycle.withdraw(run.pk, run.person.reference)
        elif _state(run) != State.ENDED:
            lifecycle.kill(run.pk, by=_nobody("decides"))
    except LifecycleError as error:
        logger.warning("canary_was_over", error=str(error))


@transaction.atomic(durable=True)
def _conclude(test: CanaryRun, lanes: Sequence[Lane]) -> CanaryRun:
    test.passed = bool(lanes) and all(lane.passed for lane in lanes)
    test.ended_at, test.lanes = now(), [asdict(lane) for lane in lanes]
    test.save(update_fields=["passed", "ended_at", "lanes"])
    outcome = SUCCESS if test.passed else FAILURE
    data = {"run": str(test.pk), "lanes": test.lanes}
    log.append(NewEvent("switch.tested", LOG_STREAM, ACT, ACT, data=data, outcome=outcome))
    if not test.passed:
        logger.error("switch_would_not_have_worked", lanes=[lane.lane for lane in lanes if not lane.passed])
    return test


def _nobody(name: str) -> Person:
    """Somebody who cannot sign in."""
    email = f"canary-{name}@drawbridge.invalid"
    known = Person.objects.filter(email=email).first()
    return known or Person.objects.create_user(email, None, name=f"Canary ({name})")


def _state(run: AgentSession) -> str:
    state: str = AgentSession.objects.values_list("state", flat=True).get(pk=run.pk)
    return state


def _until(true: Callable[[], bool | None], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(PAUSE_S)
    return True


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1_000, 1)
