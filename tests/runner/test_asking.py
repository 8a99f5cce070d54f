"""Waiting for a decision keeps to the interval that the server asks for."""

import httpx
import pytest

from runner.asking import wait_for_token
from runner.client import Client
from runner.errors import Denied, Usage
from runner.terminal import seconds

TOKEN = {"access_token": "dbs_sample", "session_id": "s", "expires_in": 60, "grant_hash": "h"}


def waited(*answers: str | None) -> list[float]:
    """How long it slept between polls that are answered like this; None is a server that is away."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        error = left.pop(0) if left else "token"
        if error is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=TOKEN) if error == "token" else httpx.Response(400, json={"error": error})

    slept: list[float] = []
    client = Client("http://drawbridge", httpx.MockTransport(answer))
    wait_for_token(client, "dbd_sample", 5, sleep=lambda one: slept.append(round(one)))
    return slept


def test_the_interval_is_kept_and_grows_by_five() -> None:
    assert waited("authorization_pending", "slow_down", "authorization_pending", "slow_down") == [5, 10, 10, 15]


def test_a_server_that_is_away_is_waited_for() -> None:
    assert waited(None, None, "authorization_pending") == [5, 5, 5]


def test_a_denial_ends_the_waiting() -> None:
    with pytest.raises(Denied):
        waited("authorization_pending", "access_denied")


@pytest.mark.parametrize(
    ("text", "expected"), [("900", 900), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2h", 7200), ("1h5s", 3605)]
)
def test_a_duration_is_read(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-5", "1d", "m", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        seconds(text)
