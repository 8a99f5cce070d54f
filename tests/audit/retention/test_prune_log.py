"""The command: what it says, and the code that it ends with."""

import threading
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit import retention
from audit.integrator import Pruning
from audit.models import Pruned
from tests.audit.retention.conftest import Aged, Two


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("prune_log", *arguments, stdout=out)
    return out.getvalue()


def test_command_says_what_went(aged: Aged, two: Two) -> None:
    line = "512 of entries 0 to 511: 0 stay under 0 legal holds, 0 are the log's own.\n"
    assert said("--dry-run") == f"Would prune {line}"
    assert Pruned.objects.get().minimum == 0
    assert said() == f"Pruned {line}"
    assert said() == said("--dry-run") == "Nothing to prune.\n"


def test_another_role_is_told_what_to_do(aged: Aged, two: Two) -> None:
    aged.act_as("app")
    with pytest.raises(CommandError, match="integrator's DATABASE_URL") as caught:
        said()
    assert caught.value.returncode == 6


def test_setting_that_is_wrong_is_named(aged: Aged, settings: Any) -> None:
    settings.LOG_RETAIN_DAYS = 7
    aged.act_as("integrator")
    with pytest.raises(CommandError, match="LOG_RETAIN_DAYS is 7") as caught:
        said()
    assert caught.value.returncode == 2


def test_what_the_database_refuses_is_said(aged: Aged, two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_end", lambda first, before, limit: 768)
    with pytest.raises(CommandError, match="younger than thirty days") as caught:
        said()
    assert caught.value.returncode == 1


def test_the_integrator_prunes(aged: Aged, two: Two) -> None:
    Pruning(threading.Event())._prune()
    assert Pruned.objects.get().minimum == 512
