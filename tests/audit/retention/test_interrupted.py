"""Killed between any two steps, the next run goes on: nothing is lost, nothing is said twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from audit import retention
from audit.models import Event, LeftBundle, Pruned
from audit.tile_store import FolderStore
from tests.audit.retention.conftest import Aged, Two
from tests.audit.retention.test_retention import said


class Killed(KeyboardInterrupt):
    """The process ends here."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, time: int, after: bool) -> Iterator[None]:
    """At the `time`-th call of a function: before it did anything, or when it was done."""
    real: Callable[..., Any] = getattr(where, name)
    calls = 0

    def dies(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == time and not after:
            raise Killed
        answer = real(*args, **kwargs)
        if calls == time:
            raise Killed
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(where, name, dies)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("where", "name", "time"),
    [
        (retention, "take", 1),
        (retention, "take", 2),
        (retention.log, "append", 1),
        (retention, "clear", 1),
        (retention, "clear", 2),
        (FolderStore, "drop", 1),
        (FolderStore, "drop", 2),
        (retention, "drop_months", 1),
    ],
    ids=str,
)
def test_killed_run_is_finished_by_the_next(
    aged: Aged, two: Two, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, time: int, after: bool
) -> None:
    monkeypatch.setattr(retention, "MOST", 256)
    with killed_at(monkeypatch, where, name, time, after):
        retention.prune()
    aged.act_as("integrator")
    retention.prune()
    assert [(one["first"], one["end"], one["pruned"]) for one in said()] == [(0, 256, 256), (256, 512, 256)]
    assert (aged.bundles()[0], Pruned.objects.get().minimum, LeftBundle.objects.count()) == ("002", 512, 0)
    aged.grow()
    assert aged.verified().gaps.entries == 512


def test_step_without_its_event_takes_nothing(aged: Aged, two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Event.objects.count()

    def broken(*args: Any) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr(retention.log, "append", broken)
    with pytest.raises(RuntimeError, match="no log"):
        retention.prune()
    assert (Event.objects.count(), Pruned.objects.get().minimum, aged.bundles()[0]) == (rows, 0, "000")
