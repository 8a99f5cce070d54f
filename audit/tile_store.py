"""Where a log's files lie: a folder, or S3. Imports no Django; the S3 client is given."""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from audit.errors import FormatError, MissingError, MovedError, OverwriteError
from audit.tiles import ENTRIES, WIDTH, Tile

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*")


@dataclass(frozen=True)
class Versioned:
    """The bytes of a file that changes, and the store's own mark of this version."""

    data: bytes
    tag: str


class TileStore(Protocol):
    """Tiles and bundles never change; the checkpoint only by compare and swap.

    What a method wrote is durable when it returns. Interrupted, it may have written some of the files: calling it
    again with the same bytes finishes the work. Any number of processes may use one store.
    """

    def read(self, name: str) -> bytes:
        """Raises MissingError."""

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes files that never change. The same bytes again are welcome, others raise OverwriteError."""

    def drop_partials(self, name: str) -> None:
        """Removes the partial tiles below the full tile `name`, which must exist: else MissingError."""

    def drop(self, name: str) -> None:
        """Removes a full entry bundle and its partial ones; it may be gone already. FormatError for any other file."""

    def read_versioned(self, name: str) -> Versioned | None: ...

    def swap(self, name: str, expected: Versioned | None, data: bytes) -> Versioned:
        """Replaces `expected` (None: there is no such file). MovedError if somebody else was first."""


def checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise FormatError("not the name of a file in a log", name)
    return name


def bundle(name: str) -> str:
    """The name, if it is a full entry bundle's: hash tiles and checkpoints are never removed."""
    tile = Tile.parse(name)
    if tile.level != ENTRIES or tile.width != WIDTH:
        raise FormatError("only a full entry bundle may be removed", name)
    return name


class FolderStore:
    """A folder of a local file system, with fsync of files and of the folders that name them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unfinished = folder / ".unfinished"

    def read(self, name: str) -> bytes:
        try:
            return (self._folder / checked(name)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise MissingError(name) from None

    def write(self, files: Mapping[str, bytes]) -> None:
        changed: set[Path] = set()
        for name, data in files.items():
            path = self._folder / checked(name)
            changed.update(self._make_folders(path))
            with self._temporary(data) as temporary:
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    if (found := path.read_bytes()) != data:
                        raise OverwriteError(name, data, found) from None
        for folder in sorted(changed):
            _sync(folder)

    def drop_partials(self, name: str) -> None:
        full = self._folder / checked(name)
        if not full.is_file():
            raise MissingError(name)
        shutil.rmtree(full.with_name(full.name + ".p"), ignore_errors=True)

    def drop(self, name: str) -> None:
        path = self._folder / bundle(name)
        shutil.rmtree(path.with_name(path.name + ".p"), ignore_errors=True)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync(path.parent)

    def read_versioned(self, name: str) -> Versioned | None:
        try:
            return _versioned(self.read(name))
        except MissingError:
            return None

    def swap(self, name: str, expected: Versioned | None, data: bytes) -> Versioned:
        path = self._folder / checked(name)
        folders = self._make_folders(path)
        with self._locked(), self._temporary(data) as temporary:
            found = self.read_versioned(name)
            if found != expected:
                raise MovedError(name, _data(expected), _data(found))
            temporary.replace(path)
            for folder in sorted(folders):
                _sync(folder)
        return _versioned(data)

    def sweep(self) -> None:
        """Removes what a killed writer left unfinished. Only while no other process writes."""
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _make_folders(self, path: Path) -> set[Path]:
        """Makes the folders above a file and returns them: all are synced, a killed writer may have synced none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return {folder for folder in path.parents if folder.is_relative_to(self._folder)}

    @contextmanager
    def _temporary(self, data: bytes) -> Iterator[Path]:
        self._unfinished.mkdir(parents=True, exist_ok=True)
        path = self._unfinished / secrets.token_hex(8)
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Held by one process or thread at a time; a killed holder lets go."""
        with (self._folder / ".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _data(version: Versioned | None) -> bytes | None:
    return version.data if version else None


def _versioned(data: bytes) -> Versioned:
    return Versioned(data, hashlib.sha256(data).hexdigest())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Store:
    """A bucket's prefix. Needs conditional writes: If-None-Match, and for the checkpoint If-Match."""

    THREADS = 8

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def read(self, name: str) -> bytes:
        found = self.read_versioned(name)
        if found is None:
            raise MissingError(name)
        return found.data

    def write(self, files: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(self.THREADS) as pool:
            list(pool.map(self._write_one, files, files.values()))

    def _write_one(self, name: str, data: bytes) -> None:
        if self._put(name, data, IfNoneMatch="*") is None and (found := self.read(name)) != data:
            raise OverwriteError(name, data, found)

    def drop_partials(self, name: str) -> None:
        self.read(name)
        self._drop_partials(name)

    def drop(self, name: str) -> None:
        self._drop_partials(bundle(name))
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def _drop_partials(self, name: str) -> None:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + checked(name) + ".p/"):
            for found in page.get("Contents", []):
                self._client.delete_object(Bucket=self._bucket, Key=found["Key"])

    def read_versioned(self, name: str) -> Versioned | None:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + checked(name))
        except self._client.exceptions.NoSuchKey:
            return None
        return Versioned(answer["Body"].read(), answer["ETag"])

    def swap(self, name: str, expected: Versioned | None, data: bytes) -> Versioned:
        condition = {"IfMatch": expected.tag} if expected else {"IfNoneMatch": "*"}
        tag = self._put(name, data, **condition)
        if tag is not None:
            return Versioned(data, tag)
        found = self.read_versioned(name)
        if found is not None and found.data == data:  # an earlier try of ours got through, and its answer was lost
            return found
        raise MovedError(name, _data(expected), _data(found))

    def _put(self, name: str, data: bytes, **condition: str) -> str | None:
        """The new version's mark, or None if the condition does not hold."""
        key = self._prefix + checked(name)
        try:
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **condition)
        except self._client.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            # 409: another conditional write of this key is under way. 404: If-Match, and there is no such key.
            if status == 412 or (status in (404, 409) and error.response["Error"]["Code"] != "NoSuchBucket"):
                return None
            raise
        tag: str = answer["ETag"]
        return tag
