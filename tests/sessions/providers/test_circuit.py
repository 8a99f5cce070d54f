"""A provider that is silent, or says to wait, holds up nobody but itself."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import time_machine

from sessions.providers import circuit as circuits
from sessions.providers.circuit import MOST_SILENT, SHUT_S, Circuit
from sessions.providers.contract import LONGEST_WAIT_S, CredentialError
from sessions.providers.waiting import retry_after_s

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Clock:
    at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def one(clock: Clock) -> Circuit:
    return Circuit(f"test {uuid.uuid4()}", clock)


def call(one: Circuit, error: BaseException | None = None) -> str:
    try:
        with one.call():
            if error is not None:
                raise error
    except CredentialError as met:
        return "refused" if met.untouched else "failed"
    except ValueError:
        return "broke"
    return "done"


SILENT = CredentialError("nobody answers", silent=True)


def test_it_shuts_after_silences_in_a_row_and_tries_with_one(one: Circuit, clock: Clock) -> None:
    assert [call(one, SILENT) for _ in range(MOST_SILENT)] == ["failed"] * MOST_SILENT
    assert call(one) == "refused"
    clock.at += SHUT_S
    with one.call():
        assert call(one) == "refused"
    assert call(one) == "done"


def test_a_try_that_is_silent_shuts_it_again(one: Circuit, clock: Clock) -> None:
    for _ in range(MOST_SILENT):
        call(one, SILENT)
    clock.at += SHUT_S
    assert call(one, SILENT) == "failed"
    clock.at += SHUT_S - 0.1
    assert call(one) == "refused"


@pytest.mark.parametrize("error", [CredentialError("refused", permanent=True), CredentialError("busy"), ValueError()])
def test_any_answer_opens_it(one: Circuit, error: BaseException) -> None:
    for _ in range(MOST_SILENT - 1):
        call(one, SILENT)
    call(one, error)
    assert [call(one, SILENT) for _ in range(MOST_SILENT)] == ["failed"] * MOST_SILENT


def test_what_one_worker_was_told_all_workers_know(one: Circuit) -> None:
    assert call(one, CredentialError("slow down", retry_after_s=0.3)) == "failed"
    other = Circuit(one.name)
    assert call(other) == "refused"
    with pytest.raises(CredentialError) as refusal, other.call():
        pass
    assert 0 < refusal.value.retry_after_s <= 0.3
    time.sleep(0.35)
    assert call(other) == "done"


def test_without_valkey_everybody_asks(one: Circuit, settings: Any) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    circuits._valkey.cache_clear()
    try:
        assert call(one, CredentialError("slow down", retry_after_s=60)) == "failed"
        assert call(Circuit(one.name)) == "done"
    finally:
        circuits._valkey.cache_clear()


def test_nobody_waits_for_ever() -> None:
    assert CredentialError("x", retry_after_s=1e9).retry_after_s == LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({}, 0, 0),
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after": "-7"}, 0, 0),
        ({"retry-after": "soon"}, 0, 0),
        ({"retry-after": format_datetime(NOON + timedelta(seconds=600))}, 600, 600),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(round(NOON.timestamp()) + 600)}, 600, 600),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": str(round(NOON.timestamp()) + 600)}, 0, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "never"}, 0, 0),
    ],
)
def test_when_to_ask_again_is_understood(headers: dict[str, str], least: float, most: float) -> None:
    with time_machine.travel(NOON, tick=False):
        assert least <= retry_after_s(headers) <= most
