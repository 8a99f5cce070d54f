"""Where an archive lies: S3 with Object Lock, or a folder that can only promise it. Imports no Django.

    LogError
    ├── RetentionError   a place that cannot keep what it is given until a date
    └── MissingError
        └── HiddenError  deleted by name; the version that was archived is kept under a delete marker

Of audit.errors the stores raise FormatError, MissingError, OverwriteError and UnreachableError.
"""

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

from audit.errors import FormatError, LogError, MissingError, OverwriteError, UnreachableError
from audit.tile_store import FolderStore, checked

COMPLIANCE = "COMPLIANCE"


class RetentionError(LogError):
    """Nothing was written."""


class HiddenError(MissingError):
    def __str__(self) -> str:
        return f"{self.name} was deleted; the archived version is kept under the delete marker: remove the marker"


@dataclass(frozen=True)
class Kept:
    """An archived file, and until when nobody can change or delete it; None: nothing keeps them from it."""

    data: bytes
    until: datetime | None

    @property
    def words(self) -> str:
        return f"until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else "by nothing"


class ArchiveStore(Protocol):
    """Files that never change and cannot be deleted before a date, which can only be put off.

    What `write` wrote is durable when it returns. Interrupted, calling it again with the same bytes finishes the
    work. Every method may be called from many threads, and raises UnreachableError where nothing can be said.
    """

    @property
    def keeping(self) -> str:
        """One sentence for people: what keeps others from deleting."""

    def ready(self) -> None:
        """Raises RetentionError, saying what to do, if this place cannot keep files until a date."""

    def write(self, name: str, data: bytes, until: datetime) -> None:
        """Keeps these bytes until `until` (whole seconds) or longer. Raises OverwriteError if others are there."""

    def read(self, name: str) -> Kept:
        """Raises MissingError, and FormatError if the place itself says that the bytes are damaged."""

    def names(self, prefix: str) -> list[str]:
        """The names of all files that begin so, sorted."""


class FolderArchive:
    """A folder. Its retention is only a promise: whoever owns the folder can break it, and no more than that shows.

    A file is read-only, and its modification time is the moment until which it is kept.
    """

    keeping = "A folder: its files are read-only, but whoever owns it can delete them. Use S3 with Object Lock."

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = FolderStore(folder)

    def ready(self) -> None:
        with _disk(str(self._folder)):
            self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, data: bytes, until: datetime) -> None:
        with _disk(name):
            self._store.write({name: data})
            self._promise(self._folder / name, until.timestamp())

    def read(self, name: str) -> Kept:
        with _disk(name):
            try:
                data = self._store.read(name)
            except IsADirectoryError:
                raise MissingError(name) from None
            found = (self._folder / name).stat()
        writable = found.st_mode & 0o222
        return Kept(data, None if writable else datetime.fromtimestamp(found.st_mtime, UTC))

    def names(self, prefix: str) -> list[str]:
        above, _, start = prefix.rpartition("/")
        with _disk(prefix):
            return sorted(
                str(path.relative_to(self._folder))
                for top in (self._folder / above).glob(f"{start}*")
                for path in ([top] if top.is_file() else top.rglob("*"))
                if path.is_file() and not path.relative_to(self._folder).parts[0].startswith(".")
            )

    @staticmethod
    def _promise(path: Path, until: float) -> None:
        """The time first: a writable file counts as not kept, whatever its time."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            found = os.fstat(descriptor)
            if found.st_mode & 0o222 or found.st_mtime < until:
                os.utime(descriptor, (until, until))
                os.fchmod(descriptor, 0o444)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _disk(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreachableError(f"the archive's folder failed at {name}: {error}") from error


class S3Archive:
    """A bucket's prefix, in compliance mode: until the date not even the account's owner can delete a version."""

    keeping = "S3 with Object Lock in compliance mode: nobody can delete the files before their date."

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def ready(self) -> None:
        try:
            with self._asking("the bucket"):
                found = self._client.get_object_lock_configuration(Bucket=self._bucket)
        except _Refused as error:
            if error.code != "ObjectLockConfigurationNotFoundError":
                raise error.unreachable() from error
            found = {}
        if found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise RetentionError(
                f"the bucket {self._bucket} has no Object Lock, so it could not keep an archive: "
                "enable it in the bucket's properties, or name a bucket that was made with it"
            )

    def write(self, name: str, data: bytes, until: datetime) -> None:
        try:
            with self._asking(name):
                self._client.put_object(
                    **self._at(name),
                    Body=data,
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(hashlib.sha256(data).digest()).decode(),
                    ObjectLockMode=COMPLIANCE,
                    ObjectLockRetainUntilDate=until,
                )
        except _Refused as error:
            if error.status != 412:  # 412: it is there, from an earlier try or an earlier run
                raise error.unreachable() from error
            self._keep_longer(name, data, until)

    def _keep_longer(self, name: str, data: bytes, until: datetime) -> None:
        found, version = self._read(name)
        if found.data != data:
            raise OverwriteError(name, data, found.data)
        if found.until is None or found.until < until:
            retention = {"Mode": COMPLIANCE, "RetainUntilDate": until}
            try:
                with self._asking(name):
                    self._client.put_object_retention(**self._at(name), **version, Retention=retention)
            except _Refused as error:
                raise error.unreachable() from error

    def read(self, name: str) -> Kept:
        return self._read(name)[0]

    def _read(self, name: str) -> tuple[Kept, dict[str, str]]:
        """With the version that was read, so that bytes and retention are those of one and the same."""
        try:
            with self._asking(name):
                answer = self._client.get_object(**self._at(name), ChecksumMode="ENABLED")
                data = answer["Body"].read()
        except _Refused as error:
            if error.code != "NoSuchKey":
                raise error.unreachable() from error
            raise (HiddenError if error.hidden else MissingError)(name) from None
        except FlexibleChecksumError as error:
            raise FormatError(f"{name} is not what the bucket's own checksum says: {error}") from error
        version = {"VersionId": answer["VersionId"]} if "VersionId" in answer else {}
        return Kept(data, self._until(name, version)), version

    def _until(self, name: str, version: dict[str, str]) -> datetime | None:
        try:
            with self._asking(name):
                found = self._client.get_object_retention(**self._at(name), **version)["Retention"]
        except _Refused as error:
            if error.code != "NoSuchObjectLockConfiguration":
                raise error.unreachable() from error
            return None
        until: datetime = found["RetainUntilDate"]
        return until if found["Mode"] == COMPLIANCE else None

    def names(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2")
        try:
            with self._asking(prefix):
                return sorted(
                    found["Key"].removeprefix(self._prefix)
                    for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
                    for found in page.get("Contents", [])
                )
        except _Refused as error:
            raise error.unreachable() from error

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + checked(name)}

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """What the bucket answers becomes _Refused; not to be reached is UnreachableError."""
        try:
            yield
        except ClientError as error:
            raise _Refused(self._bucket, name, error) from error
        except FlexibleChecksumError:
            raise
        except BotoCoreError as error:
            raise UnreachableError(f"the bucket {self._bucket} cannot be reached: {error}") from error


class _Refused(Exception):
    """The bucket answered with an error. Never leaves this file."""

    def __init__(self, bucket: str, name: str, error: ClientError) -> None:
        answer = error.response["ResponseMetadata"]
        self.code = error.response["Error"]["Code"]
        self.status = answer["HTTPStatusCode"]
        self.hidden = answer.get("HTTPHeaders", {}).get("x-amz-delete-marker") == "true"
        super().__init__(f"the bucket {bucket} refused {name}: {error}")

    def unreachable(self) -> UnreachableError:
        return UnreachableError(str(self))
