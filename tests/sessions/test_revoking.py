"""Whatever one step, one key or one far end does: the others are tried, and nothing is called what it is not."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
import time_machine
from django.db import OperationalError

from audit.event import now
from sessions import claims, lifecycle, revoking
from sessions.errors import StateConflict
from sessions.models import Credential, Revocation
from sessions.providers.contract import CredentialError, Held, Outcome, Step
from tests.factories import World, issue, kinds_of, minted

Use = Callable[..., list[str]]


def step(name: str, kind: str = "revoke", act: Callable[[], Outcome] | None = None, system: str = "database") -> Step:
    return Step(name, kind, name, act or (lambda: Outcome(True)), system)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Revoke with these steps; the list tells which were taken."""

    def use(*steps: Step) -> list[str]:
        taken: list[str] = []

        def note(one: Step) -> Outcome:
            taken.append(one.name)
            return one.run()

        class Scripted:
            def steps(self, held: Held) -> list[Step]:
                return [replace(one, run=partial(note, one)) for one in steps]

        monkeypatch.setattr("sessions.providers.registry.provider", lambda kind: Scripted())
        return taken

    return use


def dying(world: World) -> Revocation:
    credential = issue(world.approved())
    lifecycle.kill(credential.agent_session_id, world.security)
    return Revocation.objects.get(credential=credential)


def state_of(revocation: Revocation) -> str:
    return Credential.objects.get(pk=revocation.credential_id).state


def fails(error: Exception) -> Callable[..., Outcome]:
    def act(**_: object) -> Outcome:
        raise error

    return act


def test_all_steps_done_is_proven(world: World, provider: Use) -> None:
    revocation = dying(world)
    taken = provider(step("cut"), step("login", "proof"), step("tidy", "tidy"))
    revoking.run(revocation.id)
    assert (taken, state_of(revocation)) == (["cut", "login", "tidy"], "proven")


def test_missing_proof_is_revoked_and_no_more(world: World, provider: Use) -> None:
    revocation = dying(world)
    provider(step("cut"), step("login", "proof", lambda: Outcome(False)))
    revoking.run(revocation.id)
    assert state_of(revocation) == "revoked"


def test_end_that_no_step_can_prove_is_never_called_proven(world: World, provider: Use) -> None:
    revocation = dying(world)
    provider(step("cut"), step("tidy", "tidy"))
    revoking.run(revocation.id)
    revocation.refresh_from_db()
    assert (state_of(revocation), revocation.proven_at) == ("unprovable", None)
    assert revocation.given_up_at is not None
    assert kinds_of(revocation.credential.agent_session_id)[-2:] == ["credential.revoked", "credential.unprovable"]


def test_step_that_was_done_is_not_taken_again(world: World, provider: Use) -> None:
    revocation = dying(world)
    taken = provider(step("cut"), step("lease", act=lambda: Outcome(False)))
    revoking.run(revocation.id)
    Revocation.objects.filter(pk=revocation.pk).update(next_attempt_at=now())
    revoking.run(revocation.id)
    assert taken == ["cut", "lease", "lease"]


def test_lost_envelope_key_does_not_keep_the_credential_alive(world: World, provider: Use) -> None:
    revocation = dying(world)
    Credential.objects.filter(pk=revocation.credential_id).update(sealed_with="gone")
    assert provider(step("cut"), step("login", "proof")) == []
    revoking.run(revocation.id)
    assert state_of(revocation) == "proven"


def test_step_that_breaks_does_not_stop_the_others(world: World, provider: Use) -> None:
    revocation = dying(world)
    taken = provider(step("lease", act=fails(TypeError("canary-secret"))), step("cut"))
    revoking.run(revocation.id)
    assert taken == ["lease", "cut"]
    assert revocation.steps.get(name="lease").evidence == {"problem": "It broke with TypeError: see the log."}


def test_silent_far_end_is_asked_once_in_a_try(world: World, provider: Use) -> None:
    revocation = dying(world)
    silent = fails(CredentialError("OpenBao does not answer", silent=True))
    taken = provider(step("cut"), step("lease", act=silent, system="bao"), step("token", act=silent, system="bao"))
    revoking.run(revocation.id)
    assert (taken, state_of(revocation)) == (["cut", "lease"], "revoking")


def test_cut_does_not_wait_for_a_silent_vault(world: World, provider: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """More kills than threads, and each of them waits for the vault: all are cut at once."""
    go, cut = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(revoking.Attempt, "begin", lambda revocation_id: Waiting(go, cut))
    ids = [issue(world.approved()).id for _ in range(revoking.AT_ONCE + 8)]
    revoking.start(ids)
    try:
        assert all(cut.acquire(timeout=5) for _ in ids)
    finally:
        go.set()


class Waiting:
    """An attempt whose end waits for a vault."""

    def __init__(self, go: threading.Event, done: threading.Semaphore) -> None:
        self.go, self.done = go, done

    def cut(self) -> None:
        self.done.release()

    def finish(self) -> None:
        self.go.wait(20)


def test_same_row_is_not_queued_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    go, cut = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(revoking.Attempt, "begin", lambda revocation_id: Waiting(go, cut))
    row = issue(world.approved()).id
    try:
        assert [len(revoking.start([row])) for _ in range(3)] == [1, 0, 0]
    finally:
        go.set()


def test_tries_go_on_until_what_a_lost_claim_may_have_minted_is_dead(world: World, provider: Use) -> None:
    credential = world.approved(duration_s=60).credentials.get()
    Credential.objects.filter(pk=credential.pk).update(created_at=now() - timedelta(minutes=5))
    claims.mint(credential.id)
    provider(step("lease", act=fails(CredentialError("OpenBao does not answer"))))
    with time_machine.travel(now() + timedelta(seconds=claims.CLAIM_S + 1)) as clock:
        lifecycle.replace(credential.id, "The worker that minted it was lost.", 0)
        revoking.run(credential.revocation.id)
        assert state_of(credential.revocation) == "revoking"
        clock.shift(90)
        revoking.run(credential.revocation.id)
        assert state_of(credential.revocation) == "expired_unrevoked"


def test_late_credential_has_an_owner_even_after_we_gave_up(world: World) -> None:
    revocation = dying(world)
    lifecycle.record_expired_unrevoked(revocation.id, {})
    lifecycle.record_late(revocation.credential_id, minted())
    revocation.refresh_from_db()
    assert (state_of(revocation), revocation.given_up_at) == ("revoking", None)


def test_credential_that_comes_during_its_own_revocation_is_not_proven(world: World, provider: Use) -> None:
    revocation = dying(world)

    def late() -> Outcome:
        lifecycle.record_late(revocation.credential_id, minted())
        return Outcome(True)

    provider(step("cut"), step("login", "proof"), step("tidy", "tidy", late))
    revoking.run(revocation.id)
    revocation.refresh_from_db()
    assert (state_of(revocation), revocation.proven_at) == ("revoking", None)


def test_evidence_that_no_longer_stands_proves_nothing(world: World) -> None:
    revocation = dying(world)
    with pytest.raises(StateConflict, match="to be done again"):
        lifecycle.record_revoked(revocation.id, {"cut": {}})


def test_a_provider_that_hangs_delays_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of its revocations than there are threads for it; the other's is done meanwhile."""
    over = threading.Event()
    kinds = {}
    for _ in range(revoking.AT_ONCE + 2):
        kinds[dying(world).pk] = "hangs"
    other = dying(world)
    kinds[other.pk] = "answers"
    taken: list[str] = []

    monkeypatch.setattr(revoking, "_pools", {})
    monkeypatch.setattr(revoking, "_under_way", set())

    def begin(revocation_id: object) -> None:
        kind = kinds[revocation_id]
        if kind == "hangs":
            over.wait(20)
        taken.append(kind)

    monkeypatch.setattr(revoking.Attempt, "begin", begin)
    chains = [revoking._chain(pk, kind) for pk, kind in kinds.items()]
    try:
        chains[-1].result(5)
        assert taken == ["answers"]
    finally:
        over.set()
        for chain in chains:
            chain.result(20)


def test_a_far_end_that_the_settings_know_no_more_is_said_until_it_died(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost:
        def steps(self, held: Held) -> list[Step]:
            raise CredentialError("crm is not in OAUTH_SERVERS any more.")

    revocation = dying(world)
    monkeypatch.setattr("sessions.providers.registry.provider", lambda kind: Lost())
    revoking.run(revocation.pk)
    assert state_of(revocation) == "revoking"
    assert revocation.steps.get().evidence == {"problem": "crm is not in OAUTH_SERVERS any more."}
    with time_machine.travel(now() + timedelta(hours=1)):
        revoking.run(revocation.pk)
    assert state_of(revocation) == "expired_unrevoked"


def test_what_could_not_be_begun_is_begun_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails for a moment must not leave a revocation to nobody."""
    revocation = dying(world)
    begun: list[object] = []
    monkeypatch.setattr(revoking, "_chain", lambda pk, kind: begun.append((pk, kind)))
    monkeypatch.setattr(revoking, "_under_way", set())
    with monkeypatch.context() as broken:
        broken.setattr(Revocation.objects, "filter", fails(OperationalError("gone")))
        with pytest.raises(OperationalError):
            revoking.start([revocation.pk])
    revoking.start([revocation.pk])
    assert begun == [(revocation.pk, "openbao")]
