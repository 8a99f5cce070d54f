"""Archiving as Drawbridge does it: what the log says of it, what the pages say, and what the command answers."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit import archiving, canonical, tasks
from audit.archive import Archiver
from audit.archive_manifest import File, Manifest, Span
from audit.archive_store import FolderArchive, S3Archive
from audit.errors import ProofError, RollbackError, UnreachableError
from audit.event import LOG_STREAM, now
from audit.models import Event, Health
from stack import Stack
from tests.audit.archive.archives import grow, log_of, rewrite
from tests.audit.archive.locked_s3 import Handler, LockedBucket
from tests.audit.formats.logs import KEY, ORIGIN, Log
from tests.audit.formats.s3_server import serving

pytestmark = pytest.mark.django_db
FIRST = Span(0, 4096)


@pytest.fixture
def top(tmp_path: Path, settings: Any) -> Path:
    """The archive that the settings name, not made yet."""
    settings.LOG_ORIGIN, settings.LOG_VERIFIER_KEYS = ORIGIN, [str(KEY.verifier)]
    settings.LOG_STORE, settings.ARCHIVE_STORE = str(tmp_path / "log"), str(tmp_path / "archive")
    settings.ARCHIVE_RETAIN_DAYS, settings.S3_ENDPOINT_URL = 400, ""
    return tmp_path / "archive"


@pytest.fixture
def log(top: Path, tmp_path: Path) -> Log:
    return log_of(tmp_path / "log", 4100)


@pytest.fixture
def bucket(top: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[LockedBucket]:
    """Named by the settings instead of the folder."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    with serving(made := LockedBucket(), Handler) as address:
        settings.ARCHIVE_STORE, settings.S3_ENDPOINT_URL = "s3://archive/team", address
        yield made


def events(place: object) -> list[tuple[str, str, dict[str, Any]]]:
    """Kind, outcome and data of what the log says of this archive."""
    bodies = Event.objects.filter(stream=LOG_STREAM).order_by("seq").values_list("body", flat=True)
    contents = [canonical.loads(bytes(body)) for body in bodies]
    return [(one["kind"], one["outcome"], one["data"]) for one in contents if one["data"].get("place") == str(place)]


def problem(part: str) -> str | None:
    return Health.objects.filter(part=part).values_list("problem", flat=True).first()


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("archive_log", *arguments, stdout=out)
    return out.getvalue()


def test_archived_segment_is_an_event(top: Path, log: Log) -> None:
    assert archiving.archive_closed() == 1
    data = (top / FIRST.manifest).read_bytes()
    manifest = Manifest.parse(data)
    [(kind, outcome, said)] = events(top)
    assert (kind, outcome) == ("log.archived", "success")
    assert said == {
        "place": str(top),
        "first": 0,
        "end": 4096,
        "size": 4100,
        "root": log.checkpoint.root.hex(),
        "manifest_sha256": canonical.sha256(data),
        "retain_until": f"{manifest.retain_until:%Y-%m-%dT%H:%M:%S}.000000Z",
        "files": len(manifest.files),
        "bytes": sum(path.stat().st_size for path in (top / FIRST.folder).rglob("*") if path.is_file()),
    }
    assert manifest.retain_until - manifest.archived_at == timedelta(days=400)


def test_nothing_new_is_no_event(top: Path, log: Log) -> None:
    archiving.archive_closed()
    assert archiving.archive_closed() == 0
    assert len(events(top)) == 1


def test_segment_whose_event_was_lost_with_the_process_gets_it_from_the_next_run(top: Path, log: Log) -> None:
    """The manifest was written, and then the process ended."""
    archiver = Archiver(FolderArchive(top), log.store.read, archiving.policy(), timedelta(days=400))
    [manifest] = archiver.run()
    assert archiving.archive_closed() == 0
    [(kind, _, said)] = events(top)
    assert (kind, said["manifest_sha256"]) == ("log.archived", canonical.sha256(manifest.encode()))


def test_segment_that_somebody_else_put_there_is_not_said_to_be_archived(top: Path, log: Log) -> None:
    """Its manifest is well made, and nothing that was signed stands behind it."""
    moment = now().replace(microsecond=0)
    forged = Manifest(FIRST, log.checkpoint, moment, moment + timedelta(days=400), {"checkpoint": File.of(b"")})
    FolderArchive(top).write(FIRST.manifest, forged.encode(), forged.retain_until)
    archiving.archive_closed()
    assert [kind for kind, _, _ in events(top)] == ["log.archive_drifted"]
    assert f"{FIRST.folder}checkpoint is missing" in problem("archive check")


def test_each_place_has_its_own_archive(top: Path, log: Log, settings: Any, tmp_path: Path) -> None:
    archiving.archive_closed()
    settings.ARCHIVE_STORE = str(tmp_path / "other")
    assert archiving.archive_closed() == 1
    assert archiving.check_archive().drifts == ()
    assert len(events(tmp_path / "other")) == 1


def test_place_is_a_folder_or_a_bucket(bucket: LockedBucket) -> None:
    assert isinstance(archiving.archive_store("/var/archive"), FolderArchive)
    assert isinstance(archiving.archive_store("s3://archive/team"), S3Archive)


def test_archive_in_s3_is_kept_until_its_date(bucket: LockedBucket, log: Log) -> None:
    assert archiving.archive_closed() == 1
    assert archiving.check_archive().drifts == ()
    [manifest] = bucket.versions[f"team/{FIRST.manifest}"]
    assert manifest.locked
    assert manifest.until == Manifest.parse(manifest.data).retain_until


# What the pages say


def test_lost_s3_is_on_the_pages_and_the_archive_goes_on_when_it_is_back(bucket: LockedBucket, log: Log) -> None:
    bucket.failures = ["before"] * 20
    with pytest.raises(UnreachableError):
        tasks.archive_segments()
    shown = problem("archive")
    assert shown.startswith(
        "Archiving stopped: the bucket archive refused segment/000000000000-000000004096/checkpoint:"
    )
    assert shown.endswith("Events stay in the log, and this is tried again every hour.")
    assert events("s3://archive/team") == []
    bucket.failures = []
    tasks.archive_segments()
    assert (problem("archive"), len(events("s3://archive/team"))) == (None, 1)


def test_s3_that_cannot_be_reached_is_on_the_pages(bucket: LockedBucket, log: Log, settings: Any) -> None:
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:1"
    for task, part in ((tasks.archive_segments, "archive"), (tasks.check_archive, "archive check")):
        with pytest.raises(UnreachableError):
            task()
        assert "the bucket archive cannot be reached: Could not connect" in problem(part)


def test_bucket_without_object_lock_is_on_the_pages(bucket: LockedBucket, log: Log) -> None:
    bucket.locking = False
    with pytest.raises(CommandError) as caught:
        run()
    assert caught.value.returncode == 3
    assert "has no Object Lock, so it could not keep an archive: enable it" in problem("archive")


def test_damaged_log_is_on_the_pages(top: Path, log: Log, tmp_path: Path) -> None:
    path = tmp_path / "log/tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b'"seq":300', b'"seq":301'))
    with pytest.raises(ProofError):
        tasks.archive_segments()
    assert problem("archive").startswith("Archiving stopped: entry 300 is not what the log committed to in tile/0/001")


def test_log_restored_from_an_older_copy_is_on_the_pages(top: Path, log: Log, tmp_path: Path, settings: Any) -> None:
    archiving.archive_closed()
    log_of(tmp_path / "older", 4000)
    settings.LOG_STORE = str(tmp_path / "older")
    with pytest.raises(RollbackError):
        tasks.archive_segments()
    assert problem("archive").startswith("Archiving stopped: the log has 4000 entries, and had 4100. ")


def test_drift_is_an_event_and_on_the_pages_until_it_is_mended(top: Path, log: Log) -> None:
    archiving.archive_closed()
    path = top / FIRST.folder / "tile/entries/001"
    whole = path.read_bytes()
    rewrite(path, whole[:-1] + b"!")
    tasks.check_archive()
    drift = f"{FIRST.folder}tile/entries/001 was changed: "
    assert problem("archive check").startswith(f"The archive is not what it was: {drift}")
    tasks.archive_segments()
    assert problem("archive check")
    kind, outcome, data = events(top)[-1]
    assert (kind, outcome, data["count"]) == ("log.archive_drifted", "failure", 1)
    assert [f"{one['name']} {one['what']}".startswith(drift) for one in data["files"]] == [True]
    rewrite(path, whole)
    tasks.check_archive()
    assert problem("archive check") is None


def test_many_drifts_are_counted_and_the_first_are_named(top: Path, log: Log) -> None:
    archiving.archive_closed()
    files = [path for path in (top / FIRST.folder).rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o644)
        path.unlink()
    for number in range(60):
        (top / f"manifest/{number}").write_bytes(b"")
    checked = archiving.check_archive()
    [_, (_, _, data)] = events(top)
    assert (len(checked.drifts), data["count"], len(data["files"])) == (60 + len(files), 60 + len(files), 50)
    assert problem("archive check").endswith(f" and {59 + len(files)} more. Run: manage.py archive_log --check")


def test_manifest_that_the_log_knows_is_missed_by_the_check(top: Path, log: Log) -> None:
    archiving.archive_closed()
    (top / FIRST.manifest).unlink()
    [drift] = archiving.check_archive().drifts
    assert str(drift) == f"{FIRST.manifest} is missing, and the log says that it was archived"


def test_segment_past_its_date_may_be_deleted(top: Path, log: Log, time_machine: Any) -> None:
    archiving.archive_closed()
    (top / FIRST.manifest).unlink()
    time_machine.move_to(now() + timedelta(days=401))
    assert archiving.check_archive().drifts == ()


def test_segment_that_was_written_again_is_told_and_then_well(top: Path, log: Log) -> None:
    archiving.archive_closed()
    (top / FIRST.manifest).unlink()
    assert archiving.archive_closed() == 1
    assert [kind for kind, _, _ in events(top)] == ["log.archived", "log.archived", "log.archive_drifted"]
    assert "was archived, was not there any more, and was written again" in problem("archive check")
    assert archiving.check_archive().drifts == ()
    assert problem("archive check") is None


def test_without_an_archive_the_tasks_do_nothing(top: Path, log: Log, settings: Any) -> None:
    settings.ARCHIVE_STORE = ""
    tasks.archive_segments()
    tasks.check_archive()
    assert (events(""), problem("archive"), problem("archive check")) == ([], None, None)


# One at a time


@pytest.fixture
def held(committed: None, stack: Stack) -> Iterator[None]:
    """Another process archives."""
    with stack.postgres.connect("drawbridge") as other:
        other.execute("SELECT pg_advisory_lock(%s)", [archiving.LOCK])
        yield


def test_second_archiver_is_told_and_writes_nothing(top: Path, log: Log, held: None) -> None:
    with pytest.raises(CommandError, match="another process is archiving") as caught:
        run()
    assert caught.value.returncode == 6
    assert (top.exists(), problem("archive")) == (False, None)


def test_second_archiver_that_is_a_task_leaves_it_to_the_first(top: Path, log: Log, held: None) -> None:
    tasks.archive_segments()
    assert not top.exists()


def test_lock_is_given_back_after_a_failure(top: Path, log: Log, tmp_path: Path, committed: None, stack: Stack) -> None:
    (tmp_path / "log/tile/0/000").unlink()
    with pytest.raises(ProofError):
        archiving.archive_closed()
    with stack.postgres.connect("drawbridge") as other:
        assert other.execute("SELECT pg_try_advisory_lock(%s)", [archiving.LOCK]).fetchone()[0] is True


# The command


def test_command_says_what_it_archived(top: Path, log: Log) -> None:
    said = run().splitlines()
    files = len(list((top / FIRST.folder).rglob("*"))) - len([p for p in (top / FIRST.folder).rglob("*") if p.is_dir()])
    [manifest] = [Manifest.parse(path.read_bytes()) for path in (top / "manifest").iterdir()]
    until = f"{manifest.retain_until:%Y-%m-%d}"
    assert said == [
        f"Archived entries 0 to 4,095: {files + 1} files, kept until {until}.",
        "A folder: its files are read-only, but whoever owns it can delete them. Use S3 with Object Lock.",
    ]
    assert run().splitlines()[0] == "Nothing to archive."


def test_command_with_force_archives_the_rest(top: Path, log: Log) -> None:
    assert run("--force").startswith("Archived entries 0 to 4,099: ")
    grow(log, 4101)
    assert run("--force").startswith("Archived entries 4,100 to 4,100: ")


def test_command_checks(top: Path, log: Log) -> None:
    run("--force")
    files = len(Manifest.parse((top / Span(0, 4100).manifest).read_bytes()).files)
    assert run("--check") == f"All is as it was archived: 1 segments, {files} files.\n"


def test_command_names_what_drifted(top: Path, log: Log) -> None:
    run()
    (top / FIRST.folder / "checkpoint").unlink()
    with pytest.raises(CommandError) as caught:
        run("--check")
    assert str(caught.value) == f"{FIRST.folder}checkpoint is missing\n1 files are not what they were."
    assert caught.value.returncode == 1


@pytest.mark.parametrize(
    ("damage", "code"),
    [("tile/0/000", 1), ("checkpoint", 3)],
)
def test_command_answers_as_the_verifier_does(top: Path, log: Log, tmp_path: Path, damage: str, code: int) -> None:
    (tmp_path / "log" / damage).write_bytes(bytes(8192))
    with pytest.raises(CommandError) as caught:
        run()
    assert caught.value.returncode == code


def test_command_without_an_archive_says_what_to_set(top: Path, settings: Any) -> None:
    settings.ARCHIVE_STORE = ""
    with pytest.raises(CommandError, match="Set it to a folder, or to s3://bucket/prefix") as caught:
        run()
    assert caught.value.returncode == 2
