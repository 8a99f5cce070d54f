"""Pruning takes what is past retention, says so, and leaves every proof valid."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from audit import canonical, retention, sequencing
from audit.checkpoint import open_checkpoint
from audit.errors import ProofError
from audit.event import LOG_STREAM
from audit.models import Block, Density, Event, Health, LeftBundle, Pruned
from audit.proofs import Prover
from tests.audit.retention.conftest import KEY, OLD, ORIGIN, Aged, Two, bodies


def said() -> list[dict]:  # type: ignore[type-arg]
    rows = Event.objects.filter(stream=LOG_STREAM, kind="log.pruned").order_by("seq")
    return [canonical.loads(bytes(row.body))["data"] for row in rows]


def test_old_entries_go_by_whole_bundles(aged: Aged, two: Two) -> None:
    size = aged.verified().opened.checkpoint.size
    assert retention.prune() == 512
    assert aged.bundles() == [f"{index:03}" for index in range(2, size // 256)]
    assert (Pruned.objects.get().minimum, LeftBundle.objects.count()) == (512, 0)
    assert sorted(path.name for path in (aged.folder / "tile/0").iterdir())[:2] == ["000", "001"]


def test_event_says_what_went(aged: Aged, two: Two) -> None:
    before = retention.cutoff(400, datetime.now(UTC))
    retention.prune()
    assert said() == [
        {
            "first": 0,
            "end": 512,
            "minimum": 512,
            "pruned": 512,
            "held": 0,
            "kept": 0,
            "holds": [],
            "holds_count": 0,
            "recorded_before": before.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "retain_days": 400,
        }
    ]


def test_second_run_finds_nothing(aged: Aged, two: Two) -> None:
    retention.prune()
    assert (retention.prune(), retention.plan(datetime.now(UTC)), len(said())) == (0, [], 1)


def test_whole_log_verifies_and_says_what_is_gone(aged: Aged, two: Two) -> None:
    size = aged.verified().opened.checkpoint.size
    retention.prune()
    with pytest.raises(ProofError, match="no entry says that it was pruned"):
        aged.verified()  # until what says so is signed for
    aged.grow()
    found = aged.verified()
    assert (found.gaps.entries, found.gaps.minimum, found.gaps.said_by) == (512, 512, size)
    assert found.entries == size + 1 - 512


def test_proofs_made_before_and_after_verify(aged: Aged, two: Two) -> None:
    stream = two[0]
    body, leaf = bodies(stream)[0], sequencing.leaf_of(stream, 1)
    before = Prover().proof(leaf)
    retention.prune()
    aged.grow()
    after = Prover().proof(sequencing.leaf_of(stream, 1))
    for proof in (before, after):
        assert proof is not None
        proof.verify(body, ORIGIN, [KEY.verifier])
    assert Event.objects.filter(stream=stream, seq=1).count() == 0


def test_head_continues_after_pruning(aged: Aged, two: Two) -> None:
    last = open_checkpoint((aged.folder / "checkpoint").read_bytes(), ORIGIN, [KEY.verifier]).checkpoint
    retention.prune()
    aged.entries_at(datetime.now(UTC), [two[0]], 10)
    aged.grow()
    assert aged.verified(last=last).continues == last


def test_what_pages_search_and_count_by_goes_too(aged: Aged, two: Two) -> None:
    retention.prune()
    left = {
        stream: Event.objects.filter(stream=stream).values_list("seq", flat=True).order_by("seq")[0] for stream in two
    }
    for stream in two:
        assert not Block.objects.filter(stream=stream, last_seq__lt=left[stream]).exists()
    assert not Density.objects.filter(stream=aged.world.team.id).exists()
    assert Density.objects.filter(stream=two[0]).exists()


def test_month_without_entries_is_dropped(aged: Aged, two: Two) -> None:
    part = f"audit_event_{OLD:%Y%m}"
    retention.prune()
    assert exists(part)  # what is left of the third bundle is in it
    aged.entries_at(OLD + timedelta(days=1), [two[0]], 160)
    aged.grow()
    retention.prune()
    assert Event.objects.filter(recorded_at__lt=OLD + timedelta(days=2)).exists() == exists(part)


def test_empty_month_is_dropped(aged: Aged) -> None:
    aged.act_as("integrator")
    month = (OLD - timedelta(days=62)).date().replace(day=1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_make_partition(%s)", [month])
    assert month in retention.drop_months(OLD.date())
    assert not exists(f"audit_event_{month:%Y%m}")


def test_dry_run_says_the_same_and_changes_nothing(aged: Aged, two: Two) -> None:
    aged.hold("session", two[0])
    rows = Event.objects.count()
    [would] = retention.plan(datetime.now(UTC))
    assert (Event.objects.count(), Pruned.objects.get().minimum, said()) == (rows, 0, [])
    retention.prune()
    assert [(one["first"], one["end"], one["pruned"], one["held"]) for one in said()] == [
        (would.first, would.end, would.pruned, would.held)
    ]


def test_nothing_goes_before_its_months_are_past(aged: Aged, two: Two) -> None:
    assert retention.prune(at=OLD + timedelta(days=400)) == 0
    assert retention.prune(at=OLD + timedelta(days=440)) == 512


def test_nothing_goes_before_it_is_archived(aged: Aged, two: Two, settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from audit import archiving

    settings.ARCHIVE_STORE = str(tmp_path / "archive")
    assert retention.prune() == 0
    archiving.archive_closed(force=True)
    assert retention.prune() == 512


def test_other_entries_than_archived_ones_stay(aged: Aged, two: Two, settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from audit import archiving

    settings.ARCHIVE_STORE = str(tmp_path / "archive")
    archiving.archive_closed(force=True)
    [manifest] = (tmp_path / "archive/manifest").iterdir()
    manifest.unlink()
    assert retention.prune() == 0


@pytest.mark.parametrize(
    ("days", "at", "kept"),
    [
        (30, "2026-03-31T00:00:00", "2026-03-01"),
        (31, "2026-03-31T00:00:00", "2026-02-01"),
        (400, "2026-11-25T23:59:59", "2025-10-01"),
    ],
)
def test_cutoff_is_the_beginning_of_a_month(days: int, at: str, kept: str) -> None:
    found = retention.cutoff(days, datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert found.isoformat() == f"{kept}T00:00:00+00:00"


def test_too_short_a_retention_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="at least 30 days"):
        retention.cutoff(29, datetime.now(UTC))


def test_failure_is_on_the_pages_until_a_run_goes_well(aged: Aged, two: Two, settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    settings.LOG_RETAIN_DAYS = 7
    with pytest.raises(ImproperlyConfigured):
        retention.prune()
    assert "LOG_RETAIN_DAYS is 7" in Health.objects.get(part="retention").problem
    settings.LOG_RETAIN_DAYS = 400
    retention.prune()
    assert not Health.objects.filter(part="retention").exists()


def exists(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        return bool(cursor.fetchone()[0])
