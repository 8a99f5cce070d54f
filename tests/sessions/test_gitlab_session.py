"""A session with a token of GitLab, from approval to the proof of its end, or to the midnight that ends it."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from sessions import lifecycle, revoking
from sessions.models import Credential, Revocation
from sessions.providers import registry
from sessions.providers.gitlab import GitLab, GitLabApi, Server
from tests import factories, serving
from tests.sessions.providers.gitlab_far_end import WORKER, GitLabFarEnd, gitlab

PLACE = "gitlab:corp/acme/group/shop"
CODE = {"type": "gitlab", "locations": [PLACE], "actions": ["read_repository"]}
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def far() -> Iterator[GitLabFarEnd]:
    with gitlab(GitLabFarEnd()) as running:
        yield running


@pytest.fixture
def world(
    committed: None, far: GitLabFarEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[factories.World]:
    (tmp_path / "token").write_text(WORKER)
    with closing(GitLabApi(Server(far.url, str(tmp_path / "token")), 5)) as api:
        entry = registry.PROVIDERS["gitlab"]._replace(build=lambda: GitLab("gitlab", {"corp": api}))
        monkeypatch.setitem(registry.PROVIDERS, "gitlab", entry)
        registry.provider.cache_clear()
        yield factories.world({**factories.CONTENT, "authorization_details": [CODE]})
        registry.provider.cache_clear()


def running(world: factories.World) -> Credential:
    session = world.approved()
    serving.mint(session.id)
    return session.credentials.get()


def revoked(credential: Credential) -> str:
    Revocation.objects.filter(credential=credential).update(next_attempt_at=datetime.now(UTC))
    revoking.run(Revocation.objects.get(credential=credential).id)
    credential.refresh_from_db()
    return credential.state


def test_it_is_minted_delivered_killed_and_proven(world: factories.World, far: GitLabFarEnd) -> None:
    credential = running(world)
    assert (credential.state, credential.slot, credential.provider) == ("issued", PLACE, "gitlab")
    assert lifecycle.deliver(credential.id)["token"] == far.tokens[100]["token"]
    lifecycle.kill(credential.agent_session_id, world.security)
    assert revoked(credential) == "proven"
    assert far.alive == []


def test_what_lives_on_after_its_time_is_not_called_dead_and_is_revoked_in_the_end(
    world: factories.World, far: GitLabFarEnd
) -> None:
    with time_machine.travel(NOON, tick=True):
        credential = running(world)
        lifecycle.kill(credential.agent_session_id, world.security)
    far.faults["DELETE"] = (503, {}, b"")
    with time_machine.travel(NOON + timedelta(hours=3), tick=True):
        assert (revoked(credential), far.alive) == ("revoking", [100])
        far.faults.clear()
        assert (revoked(credential), far.alive) == ("proven", [])


def test_what_nobody_could_revoke_by_midnight_has_expired(world: factories.World, far: GitLabFarEnd) -> None:
    with time_machine.travel(NOON, tick=True):
        credential = running(world)
        lifecycle.kill(credential.agent_session_id, world.security)
    far.faults["DELETE"] = (503, {}, b"")
    with time_machine.travel(NOON + timedelta(hours=13), tick=True):
        assert (revoked(credential), far.alive) == ("expired_unrevoked", [])
