"""Both kinds of archive."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.archive_store import ArchiveStore, FolderArchive
from tests.audit.archive.archives import s3_archive
from tests.audit.archive.locked_s3 import LockedBucket


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArchiveStore]:
    if request.param == "folder":
        yield FolderArchive(tmp_path / "archive")
    else:
        with s3_archive(LockedBucket(page=7)) as archive:
            yield archive


@pytest.fixture
def folder(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path / "archive")
