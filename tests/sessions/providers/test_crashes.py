"""A mint or an end that stops anywhere leaves nothing that the name alone does not find."""

import time

import psycopg
import pytest

from sessions.providers.contract import Held
from sessions.providers.openbao import OpenBao

MINTING = ["write_database_role", "write_policy", "create_token", "generate"]


class Crash(Exception):
    """Stands for kill -9."""


class CrashingApi:
    """OpenBao's API, dead just after one of its calls has worked."""

    def __init__(self, api, last):
        self._api = api
        self._last = last

    def __getattr__(self, name):
        def call(*values):
            answer = getattr(self._api, name)(*values)
            if name == self._last:
                raise Crash
            return answer

        return call


@pytest.mark.parametrize("last", MINTING)
@pytest.mark.parametrize("recorded", [True, False])
def test_mint_that_dies_after_a_call_is_ended_from_its_name(ground, last, recorded):
    intent, handles = ground.intent(), [{}]
    with pytest.raises(Crash):
        OpenBao(CrashingApi(ground.api, last), ground.targets).mint(intent, handles.append)
    held = Held(intent.name, intent.details, handles[-1] if recorded else {}, None)
    assert all(outcome.done for outcome in ground.end(held).values())
    assert ground.left(intent.name) == {}


def test_mint_that_dies_while_recording_is_ended_from_its_name(ground):
    intent = ground.intent()

    def record(handle):
        raise Crash

    with pytest.raises(Crash):
        ground.provider.mint(intent, record)
    assert ground.left(intent.name)["tokens"] == 1
    outcomes = ground.end(ground.nameless(intent))
    assert outcomes["token"].evidence == {"tokens_ended": 1, "found": "by name"}
    assert outcomes["token_lookup"].evidence == {"answer": "no token of this name in OpenBao's list"}
    assert ground.left(intent.name) == {}


def test_intent_that_reached_nobody_ends_too(ground, all_done):
    outcomes = ground.end(ground.nameless(ground.intent()))
    assert [name for name, outcome in outcomes.items() if outcome.done] == all_done
    assert outcomes["cut"].evidence["role_existed"] is False


@pytest.mark.parametrize("taken", range(8))
@pytest.mark.parametrize("lost", [True, False])
def test_end_that_dies_after_some_steps_is_finished_by_the_next(ground, taken, lost):
    held, _ = ground.mint()
    for step in ground.provider.steps(held)[:taken]:
        step.run()
    outcomes = ground.end(ground.nameless(held) if lost else held)
    assert all(outcome.done for outcome in outcomes.values())
    assert ground.left(held.name) == {}


def test_mint_that_comes_through_during_the_end_is_found_by_the_proofs(ground):
    intent = ground.intent()
    early = ground.nameless(intent)
    steps = {step.name: step for step in ground.provider.steps(early)}
    assert steps["cut"].run().done
    assert steps["lease"].run().done
    ground.provider.mint(intent, lambda handle: None)
    assert not steps["login"].run().done
    assert steps["token"].run().evidence["tokens_ended"] == 1
    assert steps["role"].run().done
    assert steps["login"].run().done
    assert steps["tidy"].run().done
    assert ground.left(intent.name) == {}


def test_tidy_waits_for_the_last_lease(ground):
    held, _ = ground.mint()
    tidy = ground.provider.steps(held)[-1]
    assert (tidy.run().done, tidy.run().evidence) == (False, {"leases_left": 1})
    assert ground.left(held.name)["database roles"] == 1


def eventually(condition, seconds):
    """Whether a condition becomes true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def outlives(connection, seconds):
    """Whether an open session still answers after that time; returns as soon as it does not."""
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            connection.execute("SELECT count(*) FROM orders")
    except psycopg.OperationalError:
        return False
    return True


def test_expiry_cuts_an_open_session_without_us(ground):
    held, _ = ground.mint(ttl_s=2)
    with ground.connect(held) as agent:
        assert not outlives(agent, seconds=15)
    assert eventually(lambda: set(ground.left(held.name)) == {"database roles", "policies"}, seconds=15)
