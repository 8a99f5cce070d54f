"""What a poll is answered: the decision as a table, and the interval."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from sessions.api.polling import Error, Standing, answer, is_final, next_interval_s
from sessions.models.runs import EndReason, State

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def standing(state: str, end_reason: str = "", *, given_out: bool = False, agent_lives: bool = True) -> Standing:
    return Standing(uuid.UUID(int=1), state, end_reason, given_out, agent_lives)


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (standing(State.REQUESTED), Error.AUTHORIZATION_PENDING),
        (standing(State.APPROVED), None),
        (standing(State.SUSPENDED), Error.AUTHORIZATION_PENDING),
        (standing(State.ACTIVE), None),
        (standing(State.ACTIVE, given_out=True), Error.INVALID_GRANT),
        (standing(State.ACTIVE, agent_lives=False), Error.ACCESS_DENIED),
        (standing(State.DENIED), Error.ACCESS_DENIED),
        (standing(State.WITHDRAWN), Error.ACCESS_DENIED),
        (standing(State.LAPSED), Error.EXPIRED_TOKEN),
        (standing(State.ENDED, EndReason.KILLED), Error.ACCESS_DENIED),
        (standing(State.ENDED, EndReason.FINDING), Error.ACCESS_DENIED),
        (standing(State.ENDED, EndReason.FAILED), Error.ACCESS_DENIED),
        (standing(State.ENDED, EndReason.COMPLETED), Error.ACCESS_DENIED),
        (standing(State.ENDED, EndReason.EXPIRED), Error.EXPIRED_TOKEN),
        (standing(State.ENDED, EndReason.KILLED, given_out=True), Error.ACCESS_DENIED),
    ],
)
def test_a_poll_is_answered_by_the_state(found: Standing, error: Error | None) -> None:
    refused = answer(found)

    assert (refused.error if refused else None) == error


def test_every_state_and_end_has_an_answer() -> None:
    for state in State:
        for reason in EndReason if state == State.ENDED else [""]:
            answer(standing(state, reason))


def test_only_waiting_states_are_not_final() -> None:
    assert {state for state in State if state != State.ENDED and not is_final(standing(state))} == {
        State.REQUESTED,
        State.SUSPENDED,
    }


@pytest.mark.parametrize(
    ("seconds_since", "interval_s", "after"),
    [
        (None, 5, 5),
        (5.0, 5, 5),
        (4.6, 5, 5),
        (4.4, 5, 10),
        (0.0, 5, 10),
        (9.0, 10, 15),
        (10.0, 10, 10),
        (1.0, 300, 300),
    ],
)
def test_a_poll_that_comes_too_early_slows_down(seconds_since: float | None, interval_s: int, after: int) -> None:
    polled_at = None if seconds_since is None else AT - timedelta(seconds=seconds_since)

    assert next_interval_s(interval_s, polled_at, AT) == after
