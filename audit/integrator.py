"""The integrator: one process makes the tree out of what was committed, and signs for it.

    sequence      runs get their places (database, one transaction)
    grow          tiles, signature, swap of the head, cosignatures (outside the database)
    published     the database remembers what was signed

Killed between any two of these it goes on from where the head store says that it was. A second integrator waits for the
advisory lock; should both run, the row lock and the head's compare and swap let one of them through at a time.
"""

import threading
import time
from collections.abc import Callable
from datetime import date, timedelta

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from audit import health, retention, sequencing
from audit.advisory import alone
from audit.clock import Clock
from audit.cosignature import WitnessKey
from audit.errors import ForkError, LogError, MovedError, RollbackError
from audit.event import now
from audit.note import KeyList
from audit.publishing import Published, Publisher, WitnessAt
from audit.stores import tile_store

logger = structlog.get_logger()

LOCK = 0x6C_6F_67_31
PAUSE_S = 0.2
WAIT_S = 1.0
BEAT_S = 2.0
AHEAD_MONTHS, MONTHS_S = 3, 3600.0
INDEX_S = 0.3
PRUNE_HOUR, PRUNE_LOOK_S = 2, 300.0
# Those that no further try mends: somebody has to look.
REFUSED = (RollbackError, ForkError)


def publisher(signing_keys: str) -> Publisher:
    """As the settings say. Raises ImproperlyConfigured where the keys are not the log's."""
    keys = KeyList.parse(signing_keys)
    if {key.name for key in keys.keys} != {settings.LOG_ORIGIN}:
        raise ImproperlyConfigured(f"Each key in LOG_SIGNING_KEYS must have the name {settings.LOG_ORIGIN}.")
    witnesses = [WitnessAt(one["url"], WitnessKey.parse(one["key"])) for one in settings.LOG_WITNESSES]
    head, store = tile_store(settings.LOG_HEAD_STORE), tile_store(settings.LOG_STORE)
    return Publisher(settings.LOG_ORIGIN, keys, head, store, witnesses, settings.LOG_WITNESS_QUORUM)


class Integrator:
    """`run` until `stop` is set. Every failure is shown on the pages, and tried again."""

    def __init__(self, publisher: Publisher, stop: threading.Event, tell: Callable[[str], None] = print) -> None:
        self._publisher = publisher
        self._stop = stop
        self._tell = tell
        self._loaded = False
        self._beat_at = self._months_at = -BEAT_S * 10_000
        self._well: set[str] = set()
        self._clock = Clock()
        self._more = False

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                with alone(LOCK) as ours:
                    if ours:
                        self._serve()
            except DatabaseError as error:
                logger.warning("integrator_lost_database", error=str(error))
                connection.close()
                self._tell_of(error)
            self._stop.wait(WAIT_S)

    def _tell_of(self, error: DatabaseError) -> None:
        """Where the database is there and will not have it, the pages say so."""
        try:
            self._report("log", f"The integrator cannot go on with the database: {error}".strip()[:500])
        except DatabaseError:
            connection.close()

    def once(self) -> int:
        """One turn, without looking after what comes later. Returns the log's size. Raises LogError."""
        with alone(LOCK) as ours:
            if not ours:
                raise LogError("another integrator is at work on this database")
            self._make_partitions()
            while self.step():
                pass
            return self._publisher.tree.size

    def _serve(self) -> None:
        """While the lock is ours."""
        self._tell("integrating")
        self._loaded = False
        while not self._stop.is_set():
            well = self._turn()
            self._stop.wait((0 if self._more else PAUSE_S) if well else WAIT_S)

    def _turn(self) -> bool:
        """One turn; False where it failed for a reason outside the database, which is shown."""
        try:
            self._make_partitions()
            self._more = self.step()
        except MovedError as error:
            self._loaded = False
            logger.warning("integrator_overtaken", error=str(error))
        except REFUSED as error:
            self._loaded = False
            self._report("log", _refusal(error))
            return False
        except (LogError, OSError, BotoCoreError, ClientError) as error:
            self._loaded = False
            self._report("log", f"The log cannot be written: {error}. Events are kept, and signed for once it can.")
            return False
        else:
            self._report("log", None)
        return True

    def step(self) -> bool:
        """One growth of the log at most, then counts and words for a moment. False where nothing is left to do."""
        if not self._loaded:
            self._load()
        tree, size = self._publisher.tree, sequencing.head().size
        if tree.size == size:
            size = sequencing.sequence()
        if tree.size < size:
            found = self._publisher.grow(sequencing.entries(tree.size, size))
            sequencing.published(found.tree.size, found.tree.root)
            self._show(found)
        more = self._index()
        self._beat()
        return more or tree.size < size

    def _index(self) -> bool:
        """For INDEX_S and no longer: signing must not wait for it. Whether there is more."""
        ends = time.monotonic() + INDEX_S
        while sequencing.index():
            if time.monotonic() > ends:
                return True
        return False

    def _load(self) -> None:
        self._publisher.load()
        head = sequencing.head()
        self._publisher.continues(head.size, head.published_size, bytes(head.published_root), sequencing.entries)
        tree = self._publisher.tree
        if tree.size:
            self._show(self._publisher.publish())
        sequencing.published(tree.size, tree.root)
        self._loaded = True

    def _show(self, found: Published) -> None:
        self._report("checkpoint", ". ".join(found.problems) or None)

    def _beat(self) -> None:
        """Every BEAT_S: say that we live, and look whether what was published is still there."""
        if time.monotonic() - self._beat_at < BEAT_S:
            return
        if self._publisher.tree.size and not (self._publisher.watch() and "checkpoint" in self._well):
            self._show(self._publisher.publish())
        self._report("clock", self._clock.problem())
        sequencing.beat()
        self._beat_at = time.monotonic()

    def _report(self, part: str, problem: str | None) -> None:
        """The pages learn of each problem again every few seconds, of health once."""
        if problem is None and part in self._well:
            return
        health.report(part, problem)
        (self._well.discard if problem else self._well.add)(part)

    def _make_partitions(self) -> None:
        """The months ahead, looked after once an hour."""
        if time.monotonic() - self._months_at < MONTHS_S:
            return
        self._months_at = time.monotonic()
        try:
            for month in months_ahead(now().date(), AHEAD_MONTHS):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT audit_make_partition(%s)", [month])
        except DatabaseError as error:
            # Events find room in the partition for all other times; nothing else may wait for this one.
            self._report("partitions", f"The table of a coming month cannot be made: {error}")
            self._months_at += 60 - MONTHS_S
        else:
            self._report("partitions", None)


class Pruning(threading.Thread):
    """Takes out of the log what is past retention, once a night, beside the integrator: no other role may."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(name="pruning", daemon=True)
        self._stop_asked = stop
        self._pruned_on: date | None = None

    def run(self) -> None:
        while not self._stop_asked.wait(PRUNE_LOOK_S):
            at = now()
            if at.hour == PRUNE_HOUR and at.date() != self._pruned_on:
                self._pruned_on = at.date()
                self._prune()

    def _prune(self) -> None:
        try:
            logger.info("log_pruned", entries=retention.prune())
        except (LogError, OSError, DatabaseError, BotoCoreError, ClientError, ImproperlyConfigured) as error:
            logger.error("log_not_pruned", error=str(error))
        finally:
            connection.close()


def months_ahead(today: date, count: int) -> list[date]:
    """This month's first day, and those of the `count` months after it."""
    found = [today.replace(day=1)]
    for _ in range(count):
        found.append((found[-1] + timedelta(days=32)).replace(day=1))
    return found


def _refusal(error: LogError) -> str:
    return (
        f"The log is refused, and nothing more is signed: {error}. The database or the log's files were changed or "
        "restored from an older copy. Keep both as they are, and see docs/operations.md, A refused log."
    )
