"""What the probes said of an agent's sandbox, and whether that is enough for a profile."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction

from audit import canonical, log
from audit.event import FAILURE, SUCCESS, NewEvent, now
from sessions.models import Agent, Verification

MOST_IDS = 50


@transaction.atomic(durable=True)
def record_verification(agent: Agent, said: Mapping[str, Any]) -> Verification:
    """`said` was checked by the API. Nothing of it is believed but that the agent's machine says so."""
    report: Sequence[Mapping[str, str]] = said["report"]
    crossed = [one["id"] for one in report if one["outcome"] == "crossed"]
    held = sum(one["outcome"] == "held" and one["control"] == "crossed" for one in report)
    made = Verification.objects.create(
        agent=agent,
        held=held,
        crossed=len(crossed),
        unknown=len(report) - held - len(crossed),
        report=list(report),
        reported_at=now(),
        **{name: said[name] for name in ("sandbox", "version", "framework", "framework_version", "host")},
    )
    data = {
        "verification": str(made.id),
        "sandbox": made.sandbox,
        "version": made.version,
        "held": held,
        "probes": len(report),
        "crossed": crossed[:MOST_IDS],
        "report_sha256": canonical.sha256(canonical.dumps(list(report))),
    }
    log.append(_event(agent, data, SUCCESS if made.passed else FAILURE))
    return made


def newest(agent: Agent) -> Verification | None:
    return agent.verifications.defer("report").order_by("-reported_at").first()


def lacking(agent: Agent, days: int | None) -> str:
    """Why an agent does not have the verification that a profile demands; empty if it has, or none is demanded."""
    if not days:
        return ""
    found = newest(agent)
    again = "Run drawbridge verify --report on its machine."
    if found is None:
        return f"The sandbox of {agent.name} was never verified. {again}"
    if found.crossed:
        return f"In the sandbox of {agent.name} {found.crossed} probes crossed the boundary when it was verified last."
    if not found.passed:
        return f"The last verification of {agent.name} proved nothing. {again}"
    if found.reported_at < now() - timedelta(days=days):
        return f"The sandbox of {agent.name} was verified more than {days} days ago. {again}"
    return ""


def _event(agent: Agent, data: Mapping[str, Any], outcome: str) -> NewEvent:
    """In the stream of the team, like all that is about agents."""
    return NewEvent(
        kind="sandbox.verified",
        stream=agent.team_id,
        sub=agent.owner.reference,
        act=agent.reference,
        agent=agent.reference,
        data={"team": agent.team.slug, **data},
        outcome=outcome,
    )
