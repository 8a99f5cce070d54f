"""Archives this Drawbridge's log and checks the archive; says so in the log, and on the pages what is wrong."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction

from audit import archive_drift, canonical, health, log
from audit.advisory import alone
from audit.archive import Archiver, find, read_manifest
from audit.archive_drift import Checked, Drift, Progress
from audit.archive_manifest import Manifest, Span
from audit.archive_store import ArchiveStore, FolderArchive, S3Archive
from audit.errors import LogError
from audit.event import FAILURE, LOG_STREAM, NewEvent, now, timestamp
from audit.models import Event
from audit.note import VerifierKey
from audit.stores import SCHEME, bucket_of, s3_client, tile_store
from audit.verify import Policy

logger = structlog.get_logger()

ACTOR = "service:archiver"
ARCHIVED, DRIFTED = "log.archived", "log.archive_drifted"
ARCHIVE, CHECK = "archive", "archive check"
LOCK = 0x6C_6F_67_61
NAMED = 50


class BusyError(LogError):
    """Another process archives at this moment."""


class Said(NamedTuple):
    """What the log says of a segment that was archived."""

    manifest_sha256: str
    retain_until: datetime


def archive_store(place: str) -> ArchiveStore:
    if place.startswith(SCHEME):
        return S3Archive(s3_client(), *bucket_of(place))
    return FolderArchive(Path(place))


def policy() -> Policy:
    return Policy(settings.LOG_ORIGIN, tuple(VerifierKey.parse(line) for line in settings.LOG_VERIFIER_KEYS))


def archive_closed(*, force: bool = False, each: Callable[[Manifest], None] = lambda manifest: None) -> int:
    """Archives what is closed, or with `force` all that is signed for; `each` is called after each segment.

    Returns how many segments. Raises BusyError, LogError, or what the log's own store raises; the pages say it too.
    """
    place = settings.ARCHIVE_STORE
    done = 0
    with _alone(), _shown(ARCHIVE, "Archiving stopped", "every hour"):
        store, said = archive_store(place), said_of(place)
        before = max((span.end for span in said), default=0)
        for span in find(store).spans:
            if span.first >= before:
                _record_found(place, store, span)
        keep = timedelta(days=settings.ARCHIVE_RETAIN_DAYS)
        for manifest in Archiver(store, tile_store(settings.LOG_STORE).read, policy(), keep).run(force=force):
            _record(place, manifest)
            if manifest.span.first < before:
                what = "was archived, was not there any more, and was written again"
                _drifted(place, [Drift(manifest.span.manifest, what)])
            done += 1
            each(manifest)
        health.report(ARCHIVE, None)
    return done


def check_archive(progress: Progress | None = None) -> Checked:
    """Reads all of the archive again. What drifted is in the answer, in the log and on the pages. Raises LogError."""
    place = settings.ARCHIVE_STORE
    with _shown(CHECK, "The archive could not be checked", "every night"):
        due = {span: said.manifest_sha256 for span, said in said_of(place).items() if said.retain_until > now()}
        checked = archive_drift.check(archive_store(place), policy(), due, progress)
        if checked.drifts:
            _drifted(place, checked.drifts)
        else:
            health.report(CHECK, None)
    return checked


def said_of(place: str) -> dict[Span, Said]:
    """What the log's events say is archived in this place; of a segment that was written again, the last time."""
    rows = Event.objects.filter(stream=LOG_STREAM, kind=ARCHIVED).order_by("seq")
    found = {}
    for body in rows.values_list("body", flat=True).iterator():
        data = canonical.loads(bytes(body))["data"]
        if data["place"] == place:
            until = datetime.fromisoformat(data["retain_until"])
            found[Span(data["first"], data["end"])] = Said(data["manifest_sha256"], until)
    return found


def _record_found(place: str, store: ArchiveStore, span: Span) -> None:
    """A segment that the log does not know: of a run that ended before it could say so, or somebody put it there."""
    manifest = read_manifest(store, span)
    if drifts := archive_drift.check_segment(store, manifest, policy()):
        _drifted(place, drifts)
    else:
        _record(place, manifest)


def _record(place: str, manifest: Manifest) -> None:
    data = {
        "place": place,
        "first": manifest.span.first,
        "end": manifest.span.end,
        "size": manifest.tree.size,
        "root": manifest.tree.root.hex(),
        "manifest_sha256": canonical.sha256(manifest.encode()),
        "retain_until": timestamp(manifest.retain_until),
        "files": len(manifest.files),
        "bytes": sum(file.length for file in manifest.files.values()),
    }
    with transaction.atomic(durable=True):
        log.append(NewEvent(kind=ARCHIVED, stream=LOG_STREAM, sub=ACTOR, act=ACTOR, data=data))


def _drifted(place: str, drifts: Sequence[Drift]) -> None:
    """`files` names the first NAMED of them; `count` counts all."""
    files = [{"name": drift.name, "what": drift.what} for drift in drifts[:NAMED]]
    data = {"place": place, "count": len(drifts), "files": files}
    with transaction.atomic(durable=True):
        log.append(NewEvent(kind=DRIFTED, stream=LOG_STREAM, sub=ACTOR, act=ACTOR, outcome=FAILURE, data=data))
    more = f" and {len(drifts) - 1} more" if len(drifts) > 1 else ""
    health.report(CHECK, f"The archive is not what it was: {drifts[0]}{more}. Run: manage.py archive_log --check")


@contextmanager
def _shown(part: str, stopped: str, again: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError:
        raise  # where the pages look is what fails
    except Exception as error:  # whatever it is, a page must not say that all is well; it is raised again
        what = f"{stopped}: {error}"[:500].rstrip(".")
        health.report(part, f"{what}. Events stay in the log, and this is tried again {again}.")
        raise


@contextmanager
def _alone() -> Iterator[None]:
    """Raises BusyError."""
    with alone(LOCK) as ours:
        if not ours:
            raise BusyError("another process is archiving at this moment; try again when it is done")
        yield
