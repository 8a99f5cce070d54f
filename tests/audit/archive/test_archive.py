"""What is closed, what a segment holds, and that the next run makes good whatever interrupted this one."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from audit import archive as archives
from audit import verify_log
from audit.archive import LEAST, LONGEST, Reach, find, reach
from audit.archive_manifest import Manifest, Span
from audit.archive_store import ArchiveStore, FolderArchive, Kept, RetentionError
from audit.errors import (
    ForkError,
    FormatError,
    MissingError,
    ProofError,
    RollbackError,
    SignatureError,
    UnreachableError,
)
from audit.note import SigningKey
from tests.audit.archive.archives import (
    KEEP,
    NOW,
    POLICY,
    UNTIL,
    Dying,
    Killed,
    archive,
    check,
    grow,
    log_of,
    s3_archive,
    spans,
)
from tests.audit.archive.locked_s3 import LockedBucket
from tests.audit.formats.logs import KEY, Log, entries_of

SMALL = 600


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of one to two bundles, so that a crash can be tried at each of their writes."""
    monkeypatch.setattr(archives, "LEAST", 256)
    monkeypatch.setattr(archives, "LONGEST", 512)


def test_segments_are_some_thousand_entries() -> None:
    assert (LEAST, LONGEST) == (4096, 16384)


def test_full_bundles_are_archived_and_the_rest_waits(store: ArchiveStore, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", SMALL)
    assert spans(archive(log, store)) == [(0, 512)]
    assert spans(archive(log, store)) == []
    grow(log, 1500)
    assert spans(archive(log, store)) == [(512, 1024), (1024, 1280)]
    assert check(store).drifts == ()


def test_fewer_entries_than_the_least_wait(folder: FolderArchive, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", 255)
    assert archive(log, folder) == []
    grow(log, 256)
    assert spans(archive(log, folder)) == [(0, 256)]


def test_force_archives_all_that_is_signed_for(store: ArchiveStore, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", 5)
    assert spans(archive(log, store, force=True)) == [(0, 5)]
    assert archive(log, store, force=True) == []
    grow(log, SMALL)
    assert spans(archive(log, store)) == [(5, 512)]
    assert spans(archive(log, store, force=True)) == [(512, 600)]
    assert check(store).drifts == ()


def test_manifest_says_what_was_archived_and_until_when(store: ArchiveStore, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", SMALL)
    [manifest] = archive(log, store)
    span = Span(0, 512)
    assert (manifest.span, manifest.tree, manifest.archived_at, manifest.retain_until) == (
        span,
        log.checkpoint,
        NOW,
        UNTIL,
    )
    assert store.read("manifest/000000000000-000000000512.json") == Kept(manifest.encode(), UNTIL)
    tiles = ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]
    assert sorted(manifest.files) == ["checkpoint", *tiles, "tile/entries/000", "tile/entries/001"]
    for name, file in manifest.files.items():
        kept = store.read(span.folder + name)
        assert (kept.until, len(kept.data), kept.data) == (UNTIL, file.length, log.store.read(name))


def test_a_segment_verifies_with_the_verifier_that_auditors_use(folder: FolderArchive, tmp_path: Path) -> None:
    """One after the other, with the state that says that each continues the one before it."""
    log = log_of(tmp_path / "log", SMALL)
    archive(log, folder)
    grow(log, 1100)
    for manifest in [
        Manifest.parse(folder.read("manifest/000000000000-000000000512.json").data),
        *archive(log, folder),
    ]:
        first, last = str(manifest.span.first), str(manifest.span.end - 1)
        place = str(tmp_path / "archive" / manifest.span.folder)
        state = str(tmp_path / "state")
        arguments = [place, "--key", str(KEY.verifier), "--from", first, "--to", last, "--state", state, "--quiet"]
        assert verify_log.main(arguments) == 0
    assert spans([manifest]) == [(512, 1024)]


def test_a_segment_is_archived_where_partial_tiles_are_gone_already(store: ArchiveStore, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", SMALL)
    old = log.signed()
    grow(log, 1500)
    for name in ("tile/0/002", "tile/entries/002"):
        log.store.drop_partials(name)
    log.store.swap("checkpoint", log.store.read_versioned("checkpoint"), old)
    [manifest, _] = archive(log, store, force=True)
    assert "tile/0/002" in manifest.files
    assert check(store).drifts == ()


def test_a_log_that_has_not_begun_has_nothing_to_archive(folder: FolderArchive, tmp_path: Path) -> None:
    assert archive(Log(tmp_path / "log"), folder, force=True) == []


def test_a_log_that_lost_its_checkpoint_is_an_error(folder: FolderArchive, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", SMALL)
    archive(log, folder)
    (tmp_path / "log/checkpoint").unlink()
    with pytest.raises(MissingError):
        archive(log, folder)


# What is not archived


def test_a_damaged_log_is_not_archived(store: ArchiveStore, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", SMALL)
    path = tmp_path / "log/tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b'"seq":300', b'"seq":301'))
    with pytest.raises(ProofError) as caught:
        archive(log, store)
    assert caught.value.index == 300
    assert store.names("") == []


def test_a_log_signed_by_another_key_is_not_archived(store: ArchiveStore, tmp_path: Path) -> None:
    log = Log(tmp_path / "log", SigningKey(KEY.name, bytes(32)))
    log.append(entries_of(SMALL))
    with pytest.raises(SignatureError):
        archive(log, store)
    assert store.names("") == []


def test_a_log_that_is_shorter_than_its_archive_is_not_archived(folder: FolderArchive, tmp_path: Path) -> None:
    archive(log_of(tmp_path / "log", SMALL), folder)
    with pytest.raises(RollbackError) as caught:
        archive(log_of(tmp_path / "restored", SMALL - 1), folder)
    assert (caught.value.expected, caught.value.found) == (600, 599)


def test_a_log_that_does_not_continue_its_archive_is_not_archived(folder: FolderArchive, tmp_path: Path) -> None:
    archive(log_of(tmp_path / "log", SMALL), folder)
    fork = Log(tmp_path / "fork")
    fork.append(entries_of(1500, "other"))
    with pytest.raises(ForkError, match="the first 600 entries are not those that were signed before"):
        archive(fork, folder)
    assert find(folder).spans == (Span(0, 512),)


def test_a_bucket_without_object_lock_gets_nothing(tmp_path: Path) -> None:
    bucket = LockedBucket(locking=False)
    with s3_archive(bucket) as store, pytest.raises(RetentionError):
        archive(log_of(tmp_path / "log", SMALL), store)
    assert bucket.requests == []


class Forgetful:
    """A store that takes what it is given, and gives back something else."""

    def __init__(self, store: FolderArchive, forget: Callable[[Kept], Kept]) -> None:
        self.keeping, self.ready, self.names, self.write = store.keeping, store.ready, store.names, store.write
        self._store, self._forget = store, forget

    def read(self, name: str) -> Kept:
        return self._forget(self._store.read(name))


def test_what_comes_back_otherwise_is_not_archived(folder: FolderArchive, tmp_path: Path) -> None:
    with pytest.raises(ProofError, match="was archived, and other bytes came back"):
        archive(log_of(tmp_path / "log", SMALL), Forgetful(folder, lambda kept: Kept(kept.data + b"x", UNTIL)))
    assert find(folder).spans == ()


@pytest.mark.parametrize("until", [None, UNTIL - timedelta(seconds=1)])
def test_what_is_not_kept_as_long_as_it_should_is_not_archived(
    folder: FolderArchive, tmp_path: Path, until: datetime | None
) -> None:
    with pytest.raises(RetentionError, match="was written, but is kept"):
        archive(log_of(tmp_path / "log", SMALL), Forgetful(folder, lambda kept: Kept(kept.data, until)))
    assert find(folder).spans == ()


# Interrupted

WRITES = 8  # the checkpoint, six more files, the manifest


def test_a_segment_takes_this_many_writes(folder: FolderArchive, tmp_path: Path) -> None:
    counting = Dying(folder, 1000)
    archive(log_of(tmp_path / "log", SMALL), counting)
    assert counting.writes == WRITES


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
def test_killed_at_any_write_the_next_run_finishes(folder: FolderArchive, tmp_path: Path, at: int, after: bool) -> None:
    """The log has grown meanwhile, and the day is another."""
    log = log_of(tmp_path / "log", SMALL)
    with pytest.raises(Killed):
        archive(log, Dying(folder, at, after=after))
    written = at == WRITES and after
    assert find(folder).spans == ((Span(0, 512),) if written else ())
    grow(log, 1500)
    log.store.drop_partials("tile/0/002")
    archive(log, folder, at=NOW + timedelta(days=1))
    assert reach(find(folder).spans) == Reach(1280, find(folder).spans[-1], None)
    assert check(folder).drifts == ()


@pytest.mark.parametrize("failure", ["before", "after"])
@pytest.mark.parametrize("at", range(WRITES))
def test_s3_failing_at_any_write_is_made_good_by_the_next_run(tmp_path: Path, at: int, failure: str) -> None:
    bucket = LockedBucket()
    log = log_of(tmp_path / "log", SMALL)
    with s3_archive(bucket) as store:
        bucket.failures = [""] * at + [failure]
        with pytest.raises(UnreachableError):
            archive(log, store)
        grow(log, SMALL + 100)
        bucket.failures = []
        archive(log, store, at=NOW + timedelta(days=1))
        assert find(store).spans == (Span(0, 512),)
        assert check(store).drifts == ()
    assert {len(versions) for versions in bucket.versions.values()} == {1}


def test_a_segment_that_was_begun_is_finished_under_its_own_checkpoint(folder: FolderArchive, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", SMALL)
    begun = log.checkpoint
    with pytest.raises(Killed):
        archive(log, Dying(folder, 4))
    grow(log, 1500)
    first, *_ = archive(log, folder, at=NOW + timedelta(days=1))
    assert (first.span, first.tree, first.retain_until) == (Span(0, 512), begun, UNTIL + timedelta(days=1))
    assert folder.read(first.span.folder + "checkpoint").until == UNTIL + timedelta(days=1)


def test_a_bundle_that_changes_while_it_is_archived_is_noticed(folder: FolderArchive, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", SMALL)
    reads: list[str] = []

    def read(name: str) -> bytes:
        reads.append(name)
        return b"" if reads.count("tile/entries/000") > 1 and name == "tile/entries/000" else log.store.read(name)

    with pytest.raises(ProofError, match="tile/entries/000 changed after it was verified"):
        list(archives.Archiver(folder, read, POLICY, KEEP).run())
    assert find(folder).spans == ()


def test_s3_that_is_away_loses_nothing(tmp_path: Path) -> None:
    bucket = LockedBucket()
    log = log_of(tmp_path / "log", SMALL)
    with s3_archive(bucket) as store:
        pass
    with pytest.raises(UnreachableError, match="the bucket archive cannot be reached"):
        archive(log, store)
    grow(log, 1500)
    with s3_archive(bucket) as back:
        assert spans(archive(log, back)) == [(0, 512), (512, 1024), (1024, 1280)]
        assert check(back).drifts == ()


# Lost


def test_what_was_lost_at_the_end_or_within_is_written_again(folder: FolderArchive, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", 1536)
    archive(log, folder)
    for span in (Span(512, 1024), Span(1024, 1536)):
        (tmp_path / "archive" / span.manifest).unlink()
        assert spans(archive(log, folder)) == [(span.first, span.end)]
    assert check(folder).drifts == ()


def test_a_gap_is_filled_up_to_where_the_archive_goes_on(folder: FolderArchive, tmp_path: Path) -> None:
    """Its folder is gone too, and the log has grown: a young segment between older ones."""
    log = log_of(tmp_path / "log", 1280)
    archive(log, folder)
    gone = Span(512, 1024)
    for name in [*folder.names(gone.folder), gone.manifest]:
        (tmp_path / "archive" / name).unlink()
    grow(log, 1400)
    assert spans(archive(log, folder)) == [(512, 1024)]
    assert check(folder).drifts == ()


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], (0, None, None)),
        ([(0, 5)], (5, (0, 5), None)),
        ([(0, 5), (5, 9)], (9, (5, 9), None)),
        ([(0, 5), (6, 9)], (5, (0, 5), 6)),
        ([(5, 9)], (9, (5, 9), None)),
        ([(0, 9), (0, 5), (5, 7), (9, 10)], (10, (9, 10), None)),
    ],
)
def test_reach_ends_at_the_first_gap(spans: list[tuple[int, int]], expected: tuple[object, ...]) -> None:
    end, last, resumes = expected
    found = reach(sorted(Span(*span) for span in spans))
    assert found == Reach(end, Span(*last) if last else None, resumes)


def test_names_that_are_no_manifests_are_told_apart(folder: FolderArchive) -> None:
    folder.write("manifest/000000000000-000000000005.json", b"", UNTIL)
    for name in ("manifest/notes.txt", "manifest/000000000005-000000000005.json", "manifest/0-9.json"):
        folder.write(name, b"", UNTIL)
    found = find(folder)
    assert found.spans == (Span(0, 5),)
    assert found.strange == ("manifest/0-9.json", "manifest/000000000005-000000000005.json", "manifest/notes.txt")


def test_a_manifest_under_another_name_is_refused(folder: FolderArchive, tmp_path: Path) -> None:
    [manifest] = archive(log_of(tmp_path / "log", SMALL), folder)
    folder.write(Span(512, 1024).manifest, manifest.encode(), UNTIL)
    with pytest.raises(FormatError, match="is the manifest of another segment"):
        archives.read_manifest(folder, Span(512, 1024))
