"""What is wrong with the log, for the pages. Whoever finds a problem reports it, and reports again when it is over."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, connection

from audit.event import now
from audit.models import Event, Head, Health

logger = structlog.get_logger()

SILENT = timedelta(seconds=10)
REMEMBERED = timedelta(seconds=60)


@dataclass(frozen=True)
class Problem:
    part: str
    problem: str
    since: datetime


_unwritten: Problem | None = None


def report(part: str, problem: str | None) -> None:
    """Say what is wrong with a part ("log", "witness", "archive" ...), in a sentence; None once it is well."""
    if problem is None:
        Health.objects.filter(part=part).delete()
        return
    at = now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_health AS h (part, problem, since, seen_at) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (part) DO UPDATE SET problem = EXCLUDED.problem, seen_at = EXCLUDED.seen_at",
            [part, problem, at, at],
        )
    logger.error("log_problem", part=part, problem=problem)


def unwritten(error: DatabaseError) -> None:
    """This process could not write to the database, a full disk it may be: its pages say so for a while."""
    global _unwritten
    _unwritten = Problem("database", f"The database cannot be written to: {error}".strip()[:300], now())
    logger.error("database_not_written", error=str(error))


def problems() -> list[Problem]:
    """All that is wrong now, the integrator's own silence included."""
    found = [Problem(row.part, row.problem, row.since) for row in Health.objects.order_by("since")]
    if _unwritten is not None and now() - _unwritten.since < REMEMBERED:
        found.insert(0, _unwritten)
    silent_since = _silent_since()
    if silent_since is not None and not any(one.part == "log" for one in found):
        text = "The integrator is not running: events are kept, and none of them is signed for until it is back."
        found.insert(0, Problem("log", text, silent_since))
    return found


def _silent_since() -> datetime | None:
    """Since when the integrator has not been heard of; None where it was, or there is nothing to do for it yet."""
    since = Head.objects.values_list("beat_at", flat=True).get(pk=1)
    if since is None:
        since = Event.objects.order_by("id").values_list("recorded_at", flat=True).first()
    return since if since is not None and now() - since > SILENT else None
