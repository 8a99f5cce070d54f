"""Archives to test with: a log that grows, both kinds of store, and a store that dies."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from audit import archive_drift
from audit.archive import Archiver
from audit.archive_drift import Checked
from audit.archive_manifest import Manifest
from audit.archive_store import ArchiveStore, Kept, S3Archive
from audit.verify import Policy
from tests.audit.archive.locked_s3 import Handler, LockedBucket
from tests.audit.formats.logs import KEY, ORIGIN, Log, entries_of
from tests.audit.formats.s3_server import serving

POLICY = Policy(ORIGIN, (KEY.verifier,))
KEEP = timedelta(days=400)
NOW = datetime.now(UTC).replace(microsecond=0)
UNTIL = NOW + KEEP
PREFIX = "team/"


def client(address: str, attempts: int = 1) -> Any:
    config = Config(retries={"total_max_attempts": attempts}, s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}
    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", config=config, **keys)


@contextmanager
def s3_archive(bucket: LockedBucket, attempts: int = 1) -> Iterator[S3Archive]:
    with serving(bucket, Handler) as address:
        yield S3Archive(client(address, attempts), "archive", PREFIX)


def log_of(folder: Path, size: int) -> Log:
    log = Log(folder)
    log.append(entries_of(size))
    return log


def grow(log: Log, size: int) -> None:
    """To `size` entries."""
    log.append(entries_of(size)[len(log.entries) :])


def archiver(log: Log, store: ArchiveStore, *, at: datetime = NOW, policy: Policy = POLICY) -> Archiver:
    return Archiver(store, log.store.read, policy, KEEP, clock=lambda: at)


def archive(log: Log, store: ArchiveStore, *, force: bool = False, at: datetime = NOW) -> list[Manifest]:
    return list(archiver(log, store, at=at).run(force=force))


def spans(manifests: list[Manifest]) -> list[tuple[int, int]]:
    return [(one.span.first, one.span.end) for one in manifests]


def check(store: ArchiveStore) -> Checked:
    return archive_drift.check(store, POLICY)


def drifts(store: ArchiveStore) -> list[str]:
    return [str(drift) for drift in check(store).drifts]


class Killed(KeyboardInterrupt):
    """The process ends here."""


class Dying:
    """A store whose process dies at its n-th write: before it, or after it when the file is there."""

    def __init__(self, store: ArchiveStore, at: int, *, after: bool = False) -> None:
        self.keeping, self.ready, self.names = store.keeping, store.ready, store.names
        self._store, self._at, self._after = store, at, after
        self._lock = threading.Lock()
        self.writes = 0

    def write(self, name: str, data: bytes, until: datetime) -> None:
        with self._lock:
            self.writes += 1
            dies = self.writes == self._at
            dead = self.writes > self._at
        if dead or (dies and not self._after):
            raise Killed
        self._store.write(name, data, until)
        if dies:
            raise Killed

    def read(self, name: str) -> Kept:
        if self.writes >= self._at:
            raise Killed
        return self._store.read(name)


def rewrite(path: Path, data: bytes) -> None:
    """As an administrator of the folder would: the file's mode and time stay as they were."""
    found = path.stat()
    path.unlink()
    path.write_bytes(data)
    path.chmod(found.st_mode)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
