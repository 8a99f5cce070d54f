"""A clock that jumped is told, and one that differs from the database's."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine

from audit.clock import Clock

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture
def traveller() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime.now(UTC), tick=True) as moved:
        yield moved


@pytest.mark.django_db
def test_a_clock_that_runs_with_the_databases_is_well() -> None:
    assert Clock().problem() is None


@pytest.mark.parametrize(
    ("seconds", "told"), [(7200, "forward by 2 h"), (-7200, "back by 2 h"), (61, "forward by 1 min")]
)
@pytest.mark.django_db
def test_a_jump_is_told_from_then_on(traveller: time_machine.Traveller, seconds: int, told: str) -> None:
    clock = Clock()
    traveller.shift(seconds)
    first, again = clock.problem(), clock.problem()
    assert first is not None
    assert f"This machine's clock jumped {told}" in first
    assert again == first


@pytest.mark.django_db
def test_a_clock_apart_from_the_databases_is_told() -> None:
    with time_machine.travel(datetime.now(UTC).replace(year=2027), tick=True):
        problem = Clock().problem()
    assert problem is not None
    assert "are 8760 h apart. Set both by NTP." in problem
