"""The database itself refuses what must not be pruned, whoever asks."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import ProgrammingError, connection, transaction

from audit import retention
from audit.models import Event, Pruned
from stack import Stack
from tests.audit.retention.conftest import Aged, Two


def prune(first: int, end: int) -> Any:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pruned FROM audit_prune(%s, %s)", [first, end])
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("first", "end", "why"),
    [
        (0, 100, "not one of up to 256 whole bundles"),
        (100, 256, "not one of up to 256 whole bundles"),
        (-256, 256, "not one of up to 256 whole bundles"),
        (256, 256, "not one of up to 256 whole bundles"),
        (0, 65_536 + 256, "not one of up to 256 whole bundles"),
        (256, 512, "entries from 0 on would be left out"),
        (0, 2_560, "not signed for up to entry 2560"),
        (0, 768, "younger than thirty days"),
    ],
)
def test_integrator_is_refused(aged: Aged, two: Two, first: int, end: int, why: str) -> None:
    rows = Event.objects.count()
    with pytest.raises(ProgrammingError, match=f"pruning is refused: .*{re.escape(why)}"):
        prune(first, end)
    assert (Event.objects.count(), Pruned.objects.get().minimum) == (rows, 0)


def test_unsigned_entries_are_refused(aged: Aged, two: Two) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_head SET published_size = 255")
    with pytest.raises(ProgrammingError, match="not signed for up to entry 256"):
        prune(0, 256)


def test_pruning_does_not_hide_what_is_missing_already(aged: Aged, two: Two, stack: Stack) -> None:
    with stack.postgres.connect(aged.database) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("DELETE FROM audit_event WHERE stream = %s AND seq = 7", [two[0]])
    with pytest.raises(ProgrammingError, match="entries between 0 and 512 are missing already"):
        prune(0, 512)


@pytest.mark.parametrize("statement", ["SELECT audit_prune(0, 256)", "SELECT audit_drop_month('2020-01-01')"])
def test_app_role_may_not_prune(aged: Aged, two: Two, statement: str) -> None:
    aged.act_as("app")
    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(statement)
    with pytest.raises(retention.NotHereError, match="integrator's DATABASE_URL"):
        retention.prune()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_event",
        "UPDATE audit_pruned SET minimum = 900",
        "DELETE FROM audit_hold",
        "UPDATE audit_hold SET released_at = now()",
        "DELETE FROM audit_block",
        "INSERT INTO audit_leftbundle VALUES (1)",
    ],
)
def test_integrator_has_no_other_way(aged: Aged, two: Two, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_month_that_is_young_or_full_is_not_dropped(aged: Aged, two: Two) -> None:
    with connection.cursor() as cursor, pytest.raises(ProgrammingError, match="younger than thirty days"):
        cursor.execute("SELECT audit_drop_month(%s)", [datetime.now(UTC).date().replace(day=1)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_drop_month(%s)", [(datetime.now(UTC) - timedelta(days=500)).date()])
        assert cursor.fetchone() == (False,)


def test_trigger_lets_even_a_superuser_delete_only_what_was_pruned(aged: Aged, two: Two, stack: Stack) -> None:
    aged.hold("session", two[0])
    retention.prune()
    with stack.postgres.connect(aged.database) as superuser:
        for stream in (two[0], two[1]):  # held; above the minimum index
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                superuser.execute("DELETE FROM audit_event WHERE stream = %s", [stream])


def test_hold_that_is_being_placed_is_waited_for(aged: Aged, two: Two, stack: Stack) -> None:
    with stack.postgres.connect(aged.database) as superuser, superuser.transaction():
        superuser.execute(
            "INSERT INTO audit_hold (id, what, value, by, since, released_by) "
            "VALUES (gen_random_uuid(), 'session', %s, 'person:x', now(), '')",
            [two[0]],
        )
        with pytest.raises(Exception, match="lock timeout"):
            prune(0, 512)
    assert 0 < prune(0, 512) < 512
