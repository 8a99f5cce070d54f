"""Prunes entries that are past retention, as C2SP tlog-tiles prescribes: the tree, and so every proof, stays.

    step        up to 64 bundles: rows go, the minimum index moves, and log.pruned says so (one transaction)
    clear       bundles below the minimum index leave the store, but for those with an entry that a hold covers

Killed anywhere, the next run goes on: a step happened with its event or not at all, and the bundles that are still to
be removed are rows. What may go is decided again in the database (`audit_prune`, migration 0005).

Retention is one for the whole log, since only its beginning can be pruned; a team that must keep longer is held.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction

from audit import archive, archiving, health, log
from audit.advisory import alone
from audit.errors import LogError
from audit.event import LOG_STREAM, NewEvent, now, timestamp
from audit.models import Head, Hold, LeftBundle, Pruned
from audit.stores import tile_store
from audit.tile_store import TileStore
from audit.tiles import ENTRIES, WIDTH, Tile

logger = structlog.get_logger()

ACTOR = "service:retention"
PRUNED = "log.pruned"
PART = "retention"
LEAST_DAYS = 30
MOST = 64 * WIDTH
NAMED = 100
LOCK = 0x6C_6F_67_70


class NotHereError(LogError):
    """This process may not prune, or another one does."""


@dataclass(frozen=True)
class Step:
    """What one step took, or would take: entries [first, end), of which `pruned` went and `held` stay.

    `own` are the log's own events, whose rows stay; `minimum` is the minimum index after it.
    """

    first: int
    end: int
    minimum: int
    pruned: int
    held: int
    own: int
    holds: tuple[uuid.UUID, ...] = ()


def cutoff(days: int, at: datetime) -> datetime:
    """The beginning of the month that is still kept: entries recorded before it may go, whole months at a time."""
    if days < LEAST_DAYS:
        raise ImproperlyConfigured(f"LOG_RETAIN_DAYS is {days}: entries are kept for at least {LEAST_DAYS} days.")
    kept = at.astimezone(UTC) - timedelta(days=days)
    return kept.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def plan(at: datetime) -> list[Step]:
    """What a run would take now; changes nothing. Raises LogError."""
    before, limit = cutoff(settings.LOG_RETAIN_DAYS, at), _limit()
    steps = [_would(span.start, span.stop) for span in _released()]
    first = Pruned.objects.get(pk=1).minimum
    while end := _end(first, before, limit):
        steps.append(_would(first, end))
        first = end
    return steps


def prune(at: datetime | None = None, *, each: Callable[[Step], None] = lambda step: None) -> int:
    """Prunes all that is past retention; `each` is called after each step. Returns how many entries went.

    Needs the integrator's role. Raises LogError, or what the log's store raises; the pages say it too.
    """
    at = at or now()
    with _alone(), _shown():
        before, limit = cutoff(settings.LOG_RETAIN_DAYS, at), _limit()
        store, pruned = tile_store(settings.LOG_STORE), 0
        clear(store, range(limit))
        for step in _steps(before, limit):
            clear(store, range(step.first, step.end))
            pruned += step.pruned
            each(step)
        drop_months(before.date())
        health.report(PART, None)
    return pruned


def _steps(before: datetime, limit: int) -> Iterator[Step]:
    """First what a released hold had kept, then onward from the minimum index."""
    for span in _released():
        yield take(span.start, span.stop, before)
    while end := _end(first := Pruned.objects.get(pk=1).minimum, before, limit):
        yield take(first, end, before)


@transaction.atomic(durable=True)
def take(first: int, end: int, before: datetime) -> Step:
    """One step: the rows and its event, together or not at all. Raises DatabaseError where the database refuses."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pruned, held, own, holds FROM audit_prune(%s, %s)", [first, end])
        pruned, held, own, holds = cursor.fetchone()
    step = Step(first, end, Pruned.objects.get(pk=1).minimum, pruned, held, own, tuple(holds))
    data = {
        "first": first,
        "end": end,
        "minimum": step.minimum,
        "pruned": pruned,
        "held": held,
        "kept": own,
        "holds": [str(hold) for hold in step.holds[:NAMED]],
        "holds_count": len(step.holds),
        "recorded_before": timestamp(before),
        "retain_days": settings.LOG_RETAIN_DAYS,
    }
    log.append(NewEvent(kind=PRUNED, stream=LOG_STREAM, sub=ACTOR, act=ACTOR, data=data))
    return step


def clear(store: TileStore, entries: range) -> int:
    """Removes bundles of these entries that are below the minimum index and have no entry to keep. Returns how many."""
    first, end = entries.start // WIDTH, -(-entries.stop // WIDTH)
    kept = _bundles(KEPT, first, end)
    left = LeftBundle.objects.filter(index__gte=first, index__lt=end).values_list("index", flat=True)
    going = [index for index in left if index not in kept]
    for index in going:
        store.drop(Tile(ENTRIES, index).path)
        LeftBundle.objects.filter(pk=index).delete()
    return len(going)


def drop_months(before: date) -> list[date]:
    """Drops the partitions of past months that have nothing left in them. A month that is in use waits for a night."""
    dropped = []
    with connection.cursor() as cursor:
        cursor.execute(MONTHS)
        months = [datetime.strptime(name[-6:], "%Y%m").date() for (name,) in cursor.fetchall()]
        for month in sorted(month for month in months if month < before):
            cursor.execute("SELECT audit_drop_month(%s)", [month])
            if cursor.fetchone()[0]:
                dropped.append(month)
    return dropped


def _limit() -> int:
    """The entry up to which all are signed for, and archived where there is an archive."""
    signed = Head.objects.get(pk=1).published_size
    if not settings.ARCHIVE_STORE:
        return signed
    spans = archive.find(archiving.archive_store(settings.ARCHIVE_STORE)).spans
    first = Pruned.objects.get(pk=1).minimum
    if not spans or spans[0].first > first:
        return min(signed, first)
    return min(signed, archive.reach(spans).end)


def _end(first: int, before: datetime, limit: int) -> int | None:
    """Where the step from `first` on ends: before the first entry that is kept, at the end of a bundle."""
    most = min(first + MOST, limit // WIDTH * WIDTH)
    if most <= first:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(leaf) FROM audit_at(%s, %s) WHERE recorded_at >= %s", [first, most, before])
        [kept] = cursor.fetchone()
    end = most if kept is None else kept // WIDTH * WIDTH
    return end if end > first else None


def _released() -> list[range]:
    """Spans of bundles below the minimum index with entries that a hold had kept, and none covers any more."""
    spans: list[range] = []
    for index in sorted(_bundles(RELEASED, 0, Pruned.objects.get(pk=1).minimum // WIDTH)):
        first, end = index * WIDTH, (index + 1) * WIDTH
        if spans and spans[-1].stop == first and len(spans[-1]) < MOST:
            spans[-1] = range(spans[-1].start, end)
        else:
            spans.append(range(first, end))
    return spans


def _bundles(statement: str, first: int, end: int) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [WIDTH, WIDTH, WIDTH, first, end, LOG_STREAM])
        return {row[0] for row in cursor.fetchall()}


def _would(first: int, end: int) -> Step:
    with connection.cursor() as cursor:
        cursor.execute(WOULD, [LOG_STREAM, LOG_STREAM, LOG_STREAM, first, end])
        pruned, held, own = cursor.fetchone()
    holds = tuple(Hold.objects.filter(released_at=None).values_list("pk", flat=True)) if held else ()
    return Step(first, end, max(end, Pruned.objects.get(pk=1).minimum), pruned, held, own, holds)


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except DatabaseError:
        raise  # where the pages look is what fails
    except Exception as error:  # whatever it is, a page must not say that all is well; it is raised again
        health.report(PART, f"Pruning stopped: {error}"[:400].rstrip(".") + ". It goes on with the next night's run.")
        raise


@contextmanager
def _alone() -> Iterator[None]:
    """Raises NotHereError."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_function_privilege('audit_prune(bigint, bigint)', 'EXECUTE')")
        if not cursor.fetchone()[0]:
            raise NotHereError(
                f"the database's role {settings.DATABASES['default']['USER']} may not prune: run this with the "
                "integrator's DATABASE_URL"
            )
    with alone(LOCK) as ours:
        if not ours:
            raise NotHereError("another process is pruning at this moment; try again when it is done")
        yield


_LEFT = """
SELECT DISTINCT bundle.index FROM audit_leftbundle AS bundle,
    LATERAL audit_at(bundle.index * %s, bundle.index * %s + %s) AS entry
WHERE bundle.index >= %s AND bundle.index < %s AND entry.stream <> %s
"""
KEPT = _LEFT
RELEASED = f"{_LEFT.rstrip()} AND NOT audit_held(entry.stream, entry.body)"
WOULD = """
SELECT count(*) FILTER (WHERE stream <> %s AND NOT audit_held(stream, body)),
    count(*) FILTER (WHERE stream <> %s AND audit_held(stream, body)), count(*) FILTER (WHERE stream = %s)
FROM audit_at(%s, %s)
"""
MONTHS = """
SELECT part.relname FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
WHERE inhparent = 'audit_event'::regclass AND part.relname ~ '^audit_event_[0-9]{6}$'
"""
