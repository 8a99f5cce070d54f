"""The promises of an archive's store, kept by S3 with Object Lock, and by a folder as far as it can."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from audit.archive_store import ArchiveStore, FolderArchive, HiddenError, Kept, RetentionError, S3Archive
from audit.errors import FormatError, MissingError, OverwriteError, UnreachableError
from tests.audit.archive.archives import PREFIX, UNTIL, client, rewrite, s3_archive
from tests.audit.archive.locked_s3 import Handler, LockedBucket, Version
from tests.audit.formats.s3_server import serving

LATER = UNTIL + timedelta(days=1)


def test_what_was_written_is_read_with_its_date(store: ArchiveStore) -> None:
    store.ready()
    store.write("segment/a/tile/0/000", b"hashes", UNTIL)
    assert store.read("segment/a/tile/0/000") == Kept(b"hashes", UNTIL)


def test_other_bytes_are_refused(store: ArchiveStore) -> None:
    store.write("a", b"hashes", UNTIL)
    with pytest.raises(OverwriteError) as caught:
        store.write("a", b"hasheS", UNTIL)
    assert (caught.value.expected, caught.value.found) == (b"hasheS", b"hashes")
    assert store.read("a").data == b"hashes"


def test_the_same_bytes_again_put_the_date_off(store: ArchiveStore) -> None:
    store.write("a", b"hashes", UNTIL)
    store.write("a", b"hashes", LATER)
    assert store.read("a") == Kept(b"hashes", LATER)


def test_the_same_bytes_again_bring_no_date_forward(store: ArchiveStore) -> None:
    store.write("a", b"hashes", LATER)
    store.write("a", b"hashes", UNTIL)
    assert store.read("a") == Kept(b"hashes", LATER)


def test_what_is_not_there_is_missing(store: ArchiveStore) -> None:
    store.write("a/b", b"", UNTIL)
    for name in ("b", "a", "a/b/c"):
        with pytest.raises(MissingError) as caught:
            store.read(name)
        assert caught.value.name == name


def test_names_are_those_that_begin_so_over_many_pages(store: ArchiveStore) -> None:
    names = [f"segment/1-{end}/tile/0/{place:03}" for end in (5, 9) for place in range(10)]
    for name in [*names, "manifest/1.json", "segment/2-9/checkpoint"]:
        store.write(name, b"x", UNTIL)
    assert store.names("segment/1-") == names
    assert store.names("segment/1-9") == names[10:]
    assert store.names("manifest/") == ["manifest/1.json"]
    assert store.names("other/") == []


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a/../../x", ".lock", "A"])
def test_a_name_that_leaves_the_archive_is_refused(store: ArchiveStore, name: str) -> None:
    with pytest.raises(FormatError):
        store.write(name, b"", UNTIL)
    with pytest.raises(FormatError):
        store.read(name)


# S3


def test_s3_keeps_in_compliance_mode_with_a_date_and_a_checksum() -> None:
    bucket = LockedBucket()
    with s3_archive(bucket) as store:
        store.write("a", b"hashes", UNTIL)
    [version] = bucket.versions[f"{PREFIX}a"]
    assert (version.data, version.mode, version.until) == (b"hashes", "COMPLIANCE", UNTIL)


def test_s3_without_object_lock_is_refused_before_anything_is_written() -> None:
    bucket = LockedBucket(locking=False)
    with s3_archive(bucket) as store:
        with pytest.raises(RetentionError, match="the bucket archive has no Object Lock.* enable it"):
            store.ready()
        with pytest.raises(UnreachableError, match="InvalidRequest"):
            store.write("a", b"hashes", UNTIL)
    assert bucket.versions == {}


@pytest.mark.parametrize(("failures", "requests"), [(["before"], 2), (["after"], 2), (["before", "after"], 3)])
def test_s3_that_fails_and_recovers_has_one_version(failures: list[str], requests: int) -> None:
    """After "after" the object is there, and the client's next try meets it."""
    bucket = LockedBucket()
    with s3_archive(bucket, attempts=3) as store:
        bucket.failures = list(failures)
        store.write("a", b"hashes", UNTIL)
        assert store.read("a") == Kept(b"hashes", UNTIL)
    assert (len(bucket.versions[f"{PREFIX}a"]), len(bucket.requests)) == (1, requests)


@pytest.mark.parametrize("failure", ["before", "after"])
def test_s3_that_goes_on_failing_is_unreachable(failure: str) -> None:
    bucket = LockedBucket()
    with s3_archive(bucket) as store:
        bucket.failures = [failure]
        with pytest.raises(UnreachableError, match="the bucket archive refused a: .*InternalError"):
            store.write("a", b"hashes", UNTIL)
        store.write("a", b"hashes", UNTIL)
        assert store.read("a") == Kept(b"hashes", UNTIL)


def test_s3_that_cannot_be_reached_says_nothing_about_the_archive() -> None:
    with serving(LockedBucket(), Handler) as address:
        store = S3Archive(client(address), "archive", PREFIX)
    attempts = (
        store.ready,
        lambda: store.write("a", b"", UNTIL),
        lambda: store.read("a"),
        lambda: store.names("manifest/"),
    )
    for attempt in attempts:
        with pytest.raises(UnreachableError, match="the bucket archive cannot be reached"):
            attempt()


def test_s3_object_that_was_deleted_by_name_is_hidden_and_not_gone() -> None:
    bucket = LockedBucket()
    with serving(bucket, Handler) as address:
        s3 = client(address)
        store = S3Archive(s3, "archive", PREFIX)
        store.write("a", b"hashes", UNTIL)
        s3.delete_object(Bucket="archive", Key=f"{PREFIX}a")
        with pytest.raises(HiddenError, match="a was deleted; .* remove the marker"):
            store.read("a")
    assert bucket.versions[f"{PREFIX}a"][0].data == b"hashes"


@pytest.mark.parametrize("mode", [None, "GOVERNANCE"])
def test_s3_object_that_somebody_could_delete_is_kept_by_nothing_until_it_is_written_again(mode: str | None) -> None:
    bucket = LockedBucket()
    with s3_archive(bucket) as store:
        bucket.add(f"{PREFIX}a", Version(b"hashes", mode, UNTIL if mode else None))
        assert store.read("a") == Kept(b"hashes", None)
        store.write("a", b"hashes", UNTIL)
        assert store.read("a") == Kept(b"hashes", UNTIL)


def test_s3_reads_bytes_and_date_of_one_version() -> None:
    bucket = LockedBucket()
    with s3_archive(bucket) as store:
        store.write("a", b"hashes", UNTIL)
        bucket.add(f"{PREFIX}a", Version(b"other", "COMPLIANCE", LATER))
        assert store.read("a") == Kept(b"other", LATER)


def test_s3_refuses_to_shorten_what_the_archive_wrote() -> None:
    with serving(LockedBucket(), Handler) as address:
        s3 = client(address)
        S3Archive(s3, "archive").write("a", b"hashes", UNTIL)
        retention = {"Mode": "COMPLIANCE", "RetainUntilDate": UNTIL - timedelta(days=1)}
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object_retention(Bucket="archive", Key="a", Retention=retention)
        assert S3Archive(s3, "archive").read("a").until == UNTIL


# A folder


def test_folder_says_that_it_only_promises(folder: FolderArchive) -> None:
    assert folder.keeping.startswith("A folder: its files are read-only, but whoever owns it can delete them.")


def test_folder_keeps_files_read_only_and_their_date_as_their_time(folder: FolderArchive, tmp_path: Path) -> None:
    folder.write("a", b"hashes", UNTIL)
    found = (tmp_path / "archive/a").stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o444, UNTIL.timestamp())


def test_folder_file_that_can_be_written_is_kept_by_nothing(folder: FolderArchive, tmp_path: Path) -> None:
    folder.write("a", b"hashes", UNTIL)
    (tmp_path / "archive/a").chmod(0o644)
    assert folder.read("a") == Kept(b"hashes", None)
    folder.write("a", b"hashes", UNTIL)
    assert folder.read("a") == Kept(b"hashes", UNTIL)


def test_folder_shows_a_date_that_was_brought_forward(folder: FolderArchive, tmp_path: Path) -> None:
    folder.write("a", b"hashes", UNTIL)
    sooner = UNTIL - timedelta(days=399)
    os.utime(tmp_path / "archive/a", (sooner.timestamp(), sooner.timestamp()))
    assert folder.read("a").until == sooner


def test_folder_that_was_rewritten_in_secret_refuses_the_right_bytes(folder: FolderArchive, tmp_path: Path) -> None:
    folder.write("a", b"hashes", UNTIL)
    rewrite(tmp_path / "archive/a", b"HASHES")
    with pytest.raises(OverwriteError):
        folder.write("a", b"hashes", UNTIL)


@pytest.mark.parametrize("call", ["link", "utime", "fchmod", "fsync"])
def test_folder_writer_that_dies_promised_nothing(
    folder: FolderArchive, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, call, die)
        with pytest.raises(KeyboardInterrupt):
            folder.write("a", b"hashes", UNTIL)
    folder.write("a", b"hashes", UNTIL)
    assert folder.read("a") == Kept(b"hashes", UNTIL)


def test_folder_on_a_disk_that_fails_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"a file where the folder should be")
    folder = FolderArchive(tmp_path / "archive")
    with pytest.raises(UnreachableError, match="the archive's folder failed"):
        folder.ready()
    with pytest.raises(UnreachableError, match="the archive's folder failed at a"):
        folder.write("a", b"", UNTIL)


def test_folder_leaves_out_what_is_no_file_of_the_archive(folder: FolderArchive, tmp_path: Path) -> None:
    folder.write("manifest/a", b"", UNTIL)
    (tmp_path / "archive/.unfinished/left").write_bytes(b"half")
    assert folder.names("") == ["manifest/a"]
