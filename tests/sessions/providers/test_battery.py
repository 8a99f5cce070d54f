"""What every provider has to keep, each against its far end behind a proxy that misbehaves when told to."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from sessions.providers.contract import CredentialError, Held, Intent, Minted
from tests.sessions.providers.case import Case
from tests.sessions.providers.cases import NAMES, case
from tests.sessions.providers.engines import Engines, engines
from tests.sessions.providers.faulty import ANSWERS, FAULTS, LOST_AFTER, LOST_BEFORE, SLOW

MOST_REQUESTS, TRIES = 8, 4
SECRET = ("password", "token", "private_key", "secret_access_key", "session_token")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with engines(tmp_path_factory.mktemp("engines")) as running:
        yield running


@pytest.fixture(scope="module", params=NAMES)
def one(request: pytest.FixtureRequest, found: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with case(request.param, found, tmp_path_factory.mktemp("case")) as made:
        yield made


@pytest.fixture(autouse=True)
def well(one: Case) -> Iterator[None]:
    one.far.forget()
    yield
    one.far.forget()


def intent(one: Case) -> Intent:
    return Intent(f"dbr_{uuid.uuid4().hex}", one.details, 900, one.labels)


def mint(one: Case, asked: Intent | None = None) -> tuple[Held, Minted]:
    asked = asked or intent(one)
    made = one.provider.mint(asked, lambda handle: None)
    return Held(asked.name, asked.details, made.handle, made.secret), made


def end(one: Case, held: Held, tries: int = TRIES) -> set[str]:
    """Take each step until it is done, as a revocation does. The names of those that never were."""
    left = {step.name for step in one.provider.steps(held)}
    for _ in range(tries):
        for step in one.provider.steps(held):
            if step.name in left:
                try:
                    left -= {step.name} if step.run().done else set()
                except CredentialError:
                    continue
    return left


def ended(one: Case, held: Held) -> bool:
    """As far as a kill can end it: what dies by itself alone has its one step left."""
    return end(one, held) == (set() if one.takes_back else {"certificate"})


def test_what_was_approved_works_and_nothing_beyond_it(one: Case) -> None:
    held, made = mint(one)
    assert one.inside(made.secret)
    assert not one.outside(made.secret)
    assert ended(one, held)


def test_it_lives_no_longer_than_the_lead_was_told(one: Case) -> None:
    life = one.provider.life(one.details)
    held, made = mint(one)
    longest = max(900, life.shortest_s)
    assert datetime.now(UTC) < made.expires_at <= datetime.now(UTC) + timedelta(seconds=longest + 2)
    assert life.dies
    assert life.left
    assert ended(one, held)


def test_a_kill_ends_it_and_the_far_end_agrees(one: Case) -> None:
    held, made = mint(one)
    before = one.alive(held.name)
    assert ended(one, held)
    assert one.alive(held.name) < before
    assert one.inside(made.secret) is not one.takes_back


def test_it_may_be_ended_twice_and_when_it_is_gone(one: Case) -> None:
    held, _ = mint(one)
    assert ended(one, held)
    assert ended(one, held)


def test_rotation_leaves_the_newer_one_alive(one: Case) -> None:
    (older, _), (newer, made) = mint(one), mint(one)
    assert ended(one, older)
    assert one.inside(made.secret)
    assert ended(one, newer)


def test_what_was_never_made_can_be_ended(one: Case) -> None:
    held = Held(f"dbr_{uuid.uuid4().hex}", one.details, {}, None)
    if one.by_name and one.takes_back:
        assert end(one, held) == set()
    else:
        assert {step.name for step in one.provider.steps(held) if step.kind == "revoke"} & end(one, held, tries=1)


@pytest.mark.parametrize("number", range(MOST_REQUESTS))
def test_a_crash_after_each_request_leaves_nothing_that_is_not_found(one: Case, number: int) -> None:
    """The far end does as it was told, and we never hear of it. Only what was recorded before is known."""
    asked, recorded = intent(one), [{}]
    before = one.alive(asked.name)
    one.far.happens(LOST_AFTER, number, number + one.attempts)
    hopeless = False
    try:
        made = one.provider.mint(asked, recorded.append)
        held = Held(asked.name, asked.details, made.handle, made.secret)
    except CredentialError as error:
        hopeless = error.permanent
        held = Held(asked.name, asked.details, recorded[-1], None)
    one.far.forget()
    assert not hopeless
    left = end(one, held)
    if one.by_name:
        assert left <= (set() if one.takes_back else {"certificate"})
        assert one.alive(asked.name) == 0
    else:
        # Nobody but who shows the token can take it back, or see it refused: it is never called revoked.
        assert one.alive(asked.name) == before or left & {
            step.name for step in one.provider.steps(held) if step.kind == "revoke"
        }


@pytest.mark.parametrize("fault", [each for each in FAULTS if each != LOST_AFTER])
def test_a_fault_while_it_is_made_is_told_and_passes(one: Case, fault: str) -> None:
    """`garbage` may be called hopeless; everything else is tried again."""
    asked = intent(one)
    one.far.happens(fault)
    with pytest.raises(CredentialError) as refusal:
        one.provider.mint(asked, lambda handle: None)
    assert not refusal.value.permanent or fault == "garbage"
    assert refusal.value.silent == (fault in (LOST_BEFORE, SLOW))
    one.far.forget()
    held, made = mint(one)
    assert one.inside(made.secret)
    assert ended(one, held)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_while_it_is_ended_is_never_called_dead(one: Case, fault: str) -> None:
    held, made = mint(one)
    one.far.happens(fault)
    done = {step.name: outcome(step) for step in one.provider.steps(held)}
    if fault in (*ANSWERS, LOST_BEFORE, SLOW):
        assert not any(done[name] for name in done.keys() - one.past), done
        assert one.inside(made.secret) is not bool(one.past)
    one.far.forget()
    assert ended(one, held)
    assert one.inside(made.secret) is not one.takes_back


def outcome(step: Any) -> bool:
    try:
        return bool(step.run().done)
    except CredentialError:
        return False


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_clock_that_is_wrong_harms_nothing(one: Case, minutes: int) -> None:
    """Ours is; the far end's is not, where it is a process of its own. Lives are counted from when we asked."""
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=minutes)):
        held, made = mint(one)
        life = one.provider.life(one.details)
        assert made.expires_at <= datetime.now(UTC) + timedelta(seconds=max(900, life.shortest_s) + 2)
        assert one.inside(made.secret)
        assert ended(one, held)
        assert one.inside(made.secret) is not one.takes_back


def test_secrets_are_in_no_handle_and_no_text(one: Case) -> None:
    held, made = mint(one)
    secrets = [value for name, value in made.secret.items() if name in SECRET]
    assert secrets
    said = repr(made) + repr(held.handle) + repr([outcome_text(step) for step in one.provider.steps(held)])
    assert not any(secret in said for secret in secrets)


def outcome_text(step: Any) -> str:
    try:
        return repr(step.run())
    except CredentialError as error:
        return repr(error)
