"""The check names every file of an archive that is not what was archived, and why."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from audit import archive as archives
from audit import archive_drift, canonical
from audit.archive_drift import Checked
from audit.archive_manifest import File, Manifest, Span
from audit.archive_store import FolderArchive, RetentionError, S3Archive
from audit.checkpoint import Checkpoint, sign
from audit.errors import UnreachableError
from audit.note import SigningKey
from audit.verify import Policy
from tests.audit.archive.archives import (
    POLICY,
    PREFIX,
    UNTIL,
    archive,
    check,
    client,
    drifts,
    grow,
    log_of,
    rewrite,
    s3_archive,
)
from tests.audit.archive.locked_s3 import Handler, LockedBucket, Version
from tests.audit.formats.logs import KEY, ORIGIN
from tests.audit.formats.s3_server import serving

FIRST, SECOND = Span(0, 512), Span(512, 1024)
BUNDLE = f"{FIRST.folder}tile/entries/001"
SOONER = UNTIL - timedelta(days=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LEAST", 256)
    monkeypatch.setattr(archives, "LONGEST", 512)


@pytest.fixture
def top(folder: FolderArchive, tmp_path: Path) -> Path:
    """A folder with two segments, under two checkpoints."""
    log = log_of(tmp_path / "log", 600)
    archive(log, folder)
    grow(log, 1100)
    archive(log, folder)
    return tmp_path / "archive"


def said(top: Path) -> dict[Span, str]:
    return {span: canonical.sha256((top / span.manifest).read_bytes()) for span in (FIRST, SECOND)}


def change(path: Path, edit: Callable[[bytes], bytes] = lambda data: data[:-1] + b"!") -> None:
    rewrite(path, edit(path.read_bytes()))


def test_a_whole_archive_has_no_drift(folder: FolderArchive, top: Path) -> None:
    seen: list[tuple[int, int]] = []
    checked = archive_drift.check(folder, POLICY, said(top), lambda done, total: seen.append((done, total)))
    assert checked == Checked(2, 14, ())
    assert seen == [(1, 2), (2, 2)]


def test_an_empty_archive_has_no_drift(folder: FolderArchive) -> None:
    assert check(folder) == Checked(0, 0, ())


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/1/000.p/2", "tile/0/002.p/88", "tile/entries/001"])
def test_a_changed_byte_is_named(folder: FolderArchive, top: Path, name: str) -> None:
    path = top / FIRST.folder / name
    change(path)
    found = File.of(path.read_bytes())
    assert drifts(folder) == [f"{FIRST.folder}{name} was changed: {found.length} bytes with the SHA-256 {found.sha256}"]


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/1/000.p/2", "tile/entries/001"])
def test_a_missing_file_is_named(folder: FolderArchive, top: Path, name: str) -> None:
    (top / FIRST.folder / name).unlink()
    assert drifts(folder) == [f"{FIRST.folder}{name} is missing"]


@pytest.mark.parametrize("name", [BUNDLE, f"{SECOND.folder}checkpoint", SECOND.manifest])
def test_a_date_that_was_brought_forward_is_named(folder: FolderArchive, top: Path, name: str) -> None:
    os.utime(top / name, (SOONER.timestamp(), SOONER.timestamp()))
    expected = f"was to be kept until {UNTIL:%Y-%m-%d %H:%M:%S} UTC, and is until {SOONER:%Y-%m-%d %H:%M:%S} UTC"
    assert drifts(folder) == [f"{name} {expected}"]


@pytest.mark.parametrize("name", [BUNDLE, SECOND.manifest])
def test_a_file_that_can_be_written_is_named(folder: FolderArchive, top: Path, name: str) -> None:
    (top / name).chmod(0o644)
    assert drifts(folder) == [f"{name} was to be kept until {UNTIL:%Y-%m-%d %H:%M:%S} UTC, and is by nothing"]


def test_all_that_drifted_is_named(folder: FolderArchive, top: Path) -> None:
    """Also what lies behind the first that is bad, and in other segments."""
    change(top / FIRST.folder / "tile/0/000")
    (top / FIRST.folder / "tile/entries/001").unlink()
    (top / SECOND.folder / "checkpoint").chmod(0o600)
    (top / SECOND.folder / "tile/entries/002").unlink()
    found = [(drift.name, drift.what.split(":")[0].split(" until ")[0]) for drift in check(folder).drifts]
    assert found == [
        (f"{FIRST.folder}tile/0/000", "was changed"),
        (f"{FIRST.folder}tile/entries/001", "is missing"),
        (f"{SECOND.folder}checkpoint", "was to be kept"),
        (f"{SECOND.folder}tile/entries/002", "is missing"),
    ]


# Manifests


def test_a_manifest_that_the_log_knows_of_is_missed(folder: FolderArchive, top: Path) -> None:
    known = said(top)
    (top / SECOND.manifest).unlink()
    assert drifts(folder) == []
    checked = archive_drift.check(folder, POLICY, known)
    assert list(map(str, checked.drifts)) == [f"{SECOND.manifest} is missing, and the log says that it was archived"]


def test_a_manifest_between_others_is_missed_without_the_log(folder: FolderArchive, top: Path) -> None:
    (top / FIRST.manifest).unlink()
    assert drifts(folder) == [f"{FIRST.manifest} is missing: these entries are in no segment"]


def test_segments_that_are_past_their_date_may_be_gone(folder: FolderArchive, top: Path) -> None:
    known = {SECOND: said(top)[SECOND]}
    (top / FIRST.manifest).unlink()
    assert archive_drift.check(folder, POLICY, known).drifts == ()


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff"])
def test_a_damaged_manifest_is_named(folder: FolderArchive, top: Path, data: bytes) -> None:
    rewrite(top / FIRST.manifest, data)
    [drift] = check(folder).drifts
    assert (drift.name, drift.what.split(":")[0]) == (FIRST.manifest, "is damaged")


def test_a_manifest_of_another_segment_is_named(folder: FolderArchive, top: Path) -> None:
    rewrite(top / FIRST.manifest, (top / SECOND.manifest).read_bytes())
    assert drifts(folder) == [f"{FIRST.manifest} is the manifest of entries 512 to 1,023"]


def test_a_strange_file_among_the_manifests_is_named(folder: FolderArchive, top: Path) -> None:
    (top / "manifest/notes.txt").write_bytes(b"")
    assert drifts(folder) == ["manifest/notes.txt is not the name of a manifest"]


def remade(top: Path, name: str, edit: Callable[[bytes], bytes]) -> None:
    """A file of the first segment is changed, and the manifest with it."""
    change(top / FIRST.folder / name, edit)
    manifest = Manifest.parse((top / FIRST.manifest).read_bytes())
    files = {**manifest.files, name: File.of((top / FIRST.folder / name).read_bytes())}
    made = Manifest(manifest.span, manifest.tree, manifest.archived_at, manifest.retain_until, files)
    rewrite(top / FIRST.manifest, made.encode())


def test_entries_changed_together_with_the_manifest_do_not_verify(folder: FolderArchive, top: Path) -> None:
    remade(top, "tile/entries/001", lambda data: data.replace(b'"seq":300', b'"seq":301'))
    [drift] = check(folder).drifts
    assert (drift.name, drift.what[:50]) == (FIRST.folder, "does not verify: entry 300 is not what the log com")


def test_a_manifest_changed_with_its_files_is_not_the_one_in_the_log(folder: FolderArchive, top: Path) -> None:
    known = said(top)
    remade(top, "tile/entries/001", lambda data: data.replace(b'"seq":300', b'"seq":301'))
    names = [drift.name for drift in archive_drift.check(folder, POLICY, known).drifts]
    assert names == [FIRST.manifest, FIRST.folder]


def test_a_segment_under_another_key_does_not_verify(folder: FolderArchive, top: Path) -> None:
    other = Policy(ORIGIN, (SigningKey(ORIGIN, bytes(32)).verifier,))
    found = [str(drift) for drift in archive_drift.check(folder, other).drifts]
    assert [drift.partition(":")[0] for drift in found] == [
        f"{FIRST.folder} does not verify", f"{SECOND.folder} does not verify"
    ]  # fmt: skip


def test_a_manifest_that_says_another_tree_than_its_checkpoint_is_named(folder: FolderArchive, top: Path) -> None:
    manifest = Manifest.parse((top / SECOND.manifest).read_bytes())
    tree = Checkpoint(ORIGIN, manifest.tree.size, bytes(32))
    made = Manifest(SECOND, tree, manifest.archived_at, manifest.retain_until, manifest.files)
    rewrite(top / SECOND.manifest, made.encode())
    assert drifts(folder) == [f"{SECOND.folder} was archived under another checkpoint than its manifest says"]


def test_a_segment_that_does_not_continue_the_one_before_is_named(folder: FolderArchive, top: Path) -> None:
    """Each is whole and signed, of two logs with the same key: only between them does it show."""
    forged = Checkpoint(ORIGIN, 600, bytes(32))
    manifest = Manifest.parse((top / FIRST.manifest).read_bytes())
    signed = sign(forged, [KEY])
    files = {**manifest.files, "checkpoint": File.of(signed)}
    rewrite(top / FIRST.folder / "checkpoint", signed)
    made = Manifest(FIRST, forged, manifest.archived_at, manifest.retain_until, files)
    rewrite(top / FIRST.manifest, made.encode())
    found = [(drift.name, drift.what.partition(":")[2][:40]) for drift in check(folder).drifts]
    assert found == [
        (FIRST.folder, " entries and tiles agree with one anothe"),
        (SECOND.folder, " the first 600 entries are not those tha"),
    ]


# S3


@pytest.fixture
def bucket(tmp_path: Path) -> LockedBucket:
    """With the same two segments."""
    made = LockedBucket()
    log = log_of(tmp_path / "log", 600)
    with s3_archive(made) as store:
        archive(log, store)
        grow(log, 1100)
        archive(log, store)
    return made


@pytest.fixture
def s3(bucket: LockedBucket) -> Iterator[S3Archive]:
    with serving(bucket, Handler) as address:
        yield S3Archive(client(address), "archive", PREFIX)


def test_s3_archive_has_no_drift(s3: S3Archive) -> None:
    assert check(s3) == Checked(2, 14, ())


def test_s3_object_behind_a_delete_marker_is_named(s3: S3Archive, bucket: LockedBucket) -> None:
    bucket.add(PREFIX + BUNDLE, Version(None, None, None))
    assert drifts(s3) == [f"{BUNDLE} is hidden by a delete marker: remove the marker"]


def test_s3_object_that_was_written_over_is_named(s3: S3Archive, bucket: LockedBucket) -> None:
    """The archived version is still below it, and locked."""
    bucket.add(PREFIX + BUNDLE, Version(b"other", "COMPLIANCE", UNTIL))
    assert drifts(s3) == [f"{BUNDLE} was changed: 5 bytes with the SHA-256 {canonical.sha256(b'other')}"]
    assert bucket.versions[PREFIX + BUNDLE][0].locked


@pytest.mark.parametrize(
    ("mode", "until", "kept"),
    [
        (None, None, "by nothing"),
        ("GOVERNANCE", UNTIL, "by nothing"),
        ("COMPLIANCE", SOONER, f"until {SOONER:%Y-%m-%d %H:%M:%S} UTC"),
    ],
)
def test_s3_object_that_is_kept_less_is_named(
    s3: S3Archive, bucket: LockedBucket, mode: str, until: object, kept: str
) -> None:
    [version] = bucket.versions[PREFIX + BUNDLE]
    version.mode, version.until = mode, until
    assert drifts(s3) == [f"{BUNDLE} was to be kept until {UNTIL:%Y-%m-%d %H:%M:%S} UTC, and is {kept}"]


def test_s3_object_that_rotted_is_named(s3: S3Archive, bucket: LockedBucket) -> None:
    bucket.rotten.add(PREFIX + BUNDLE)
    [drift] = check(s3).drifts
    assert (drift.name, drift.what[:44]) == (BUNDLE, f"is damaged: {BUNDLE}"[:44])


def test_s3_that_is_away_is_no_drift(bucket: LockedBucket) -> None:
    with s3_archive(bucket) as store:
        pass
    with pytest.raises(UnreachableError, match="cannot be reached"):
        check(store)


def test_a_bucket_whose_object_lock_is_gone_is_an_error(s3: S3Archive, bucket: LockedBucket) -> None:
    bucket.locking = False
    with pytest.raises(RetentionError, match="has no Object Lock"):
        check(s3)
