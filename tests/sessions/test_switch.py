"""The switch tests itself: with real credentials and a real gateway, and it says so when it would not have worked."""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import close_old_connections, connection
from django.test import Client
from django.urls import reverse

from audit.event import LOG_STREAM, now
from sessions import canary, issuing
from sessions.models import AgentSession, CanaryRun, Credential, Person
from sessions.providers.contract import Outcome
from tests import factories
from tests.factories import READ_ORDERS, events_of
from tests.runner.gateways import gateway
from tests.serving import server

__all__ = ["server"]


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch, committed: None) -> Iterator[None]:
    """A canary's team of one's own: nothing in the log can be deleted, and other tests know of no canary."""
    monkeypatch.setattr(canary, "TEAM", f"canary-{uuid.uuid4().hex[:8]}")
    CanaryRun.objects.all().delete()
    yield
    CanaryRun.objects.all().delete()


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of one's own that mints whatever is asked for."""

    def mint(ids: Any) -> None:
        for one in ids:
            issuing.run(one)
        close_old_connections()

    monkeypatch.setattr("sessions.wake.mints", lambda ids: threading.Thread(target=mint, args=(list(ids),)).start())


@pytest.fixture
def set_up() -> None:
    canary.set_up([READ_ORDERS])


def lanes(run: CanaryRun | None) -> dict[str, bool]:
    assert run is not None
    return {lane["lane"]: lane["passed"] for lane in run.lanes}


def test_without_a_canary_there_is_nothing_to_say() -> None:
    assert canary.run() is None
    assert canary.problem() == ""


def test_it_lives_and_is_proven_dead(set_up: None) -> None:
    run = canary.run()
    assert lanes(run) == {"start": True, "openbao postgresql:warehouse": True, "kill": True}
    assert run is not None
    assert run.passed
    assert run.agent_session is not None
    assert AgentSession.objects.get(pk=run.agent_session.pk).end_reason == "killed"
    assert canary.problem() == ""
    event = events_of(LOG_STREAM)[-1]
    assert (event["kind"], event["outcome"], event["data"]["run"]) == ("switch.tested", "success", str(run.pk))


def test_what_does_not_die_is_named(set_up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PROOF_S", 1.0)
    monkeypatch.setattr("sessions.providers.ending.Ending.lease", lambda self: Outcome(False, {"problem": "It broke."}))
    run = canary.run()
    assert lanes(run)["openbao postgresql:warehouse"] is False
    assert "the kill switch would not have worked" in canary.problem().lower()
    assert "openbao postgresql:warehouse" in canary.problem()
    assert events_of(LOG_STREAM)[-1]["outcome"] == "failure"
    assert "It broke." in json.dumps(run.lanes if run else "")


def test_what_is_never_minted_is_named_and_withdrawn(set_up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "START_S", 0.3)
    monkeypatch.setattr("sessions.wake.mints", lambda ids: None)
    run = canary.run()
    assert lanes(run) == {"start": False}
    assert run is not None
    mine = AgentSession.objects.get(team__slug=canary.TEAM)
    assert mine.state == "ended"
    assert [one.state for one in Credential.objects.filter(agent_session=mine)] == ["revoking"]


def test_two_do_not_run_at_once_and_what_broke_off_is_a_failure(set_up: None) -> None:
    broken = CanaryRun.objects.create(started_at=now())
    with canary.alone(canary.LOCK):
        found: list[Any] = []

        def other() -> None:
            found.append(canary.run())
            connection.close()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [None]
    assert canary.run() is not None
    broken.refresh_from_db()
    assert broken.passed is False


def test_one_that_is_overdue_is_a_problem(set_up: None, settings: Any) -> None:
    settings.CANARY_EVERY_S = 300
    CanaryRun.objects.create(started_at=now() - timedelta(seconds=899), ended_at=now(), passed=True)
    assert canary.problem() == ""
    CanaryRun.objects.update(started_at=now() - timedelta(seconds=901))
    assert "for too long" in canary.problem()
    settings.CANARY_EVERY_S = 0
    assert canary.problem() == ""


def browse(person: Person) -> Client:
    client = Client()
    client.force_login(person, "allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_everybody_sees_a_banner_and_the_page_has_the_history(set_up: None) -> None:
    world = factories.world()
    bad = {"lane": "gateway edge", "passed": False, "ms": None, "problem": "It went on."}
    CanaryRun.objects.create(started_at=now(), ended_at=now(), passed=False, lanes=[bad])
    page = " ".join(browse(world.auditor).get(reverse("switch")).content.decode().split())
    assert page.count("gateway edge") == 2
    assert "It went on." in page
    assert browse(world.stranger).get(reverse("switch")).status_code == 404


def served(server: str, environment: dict[str, str], folder: Path) -> dict[str, bool]:
    with gateway(server, environment, folder) as row:
        name = row.name
        found = lanes(canary.run())
        return {lane.replace(name, "NAME"): passed for lane, passed in found.items()}


def test_a_gateway_has_to_cut_it(set_up: None, server: str, stack_environment: dict[str, str], tmp_path: Path) -> None:
    assert served(server, stack_environment, tmp_path / "gateway") == {
        "start": True,
        "gateway NAME": True,
        "openbao postgresql:warehouse": True,
        "kill": True,
    }


def test_a_gateway_that_never_knew_it_is_named(
    set_up: None, server: str, stack_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "KNOWN_S", 0.3)
    monkeypatch.setattr(canary, "_passes", lambda *_: None)
    assert served(server, stack_environment, tmp_path / "gateway")["gateway NAME"] is False
    assert "gateway" in canary.problem()


def test_the_command_sets_up_and_exits_with_what_it_found(tmp_path: Path, capsys: Any) -> None:
    details = tmp_path / "details.json"
    details.write_text("[{]")
    with pytest.raises(CommandError, match="cannot be read as JSON"):
        call_command("canary", set_up=details)
    details.write_text('[{"type": "magic"}]')
    with pytest.raises(CommandError, match="its type must be one of"):
        call_command("canary", set_up=details)
    with pytest.raises(CommandError, match="There is no canary"):
        call_command("canary")
    details.write_text(json.dumps([READ_ORDERS]))
    call_command("canary", set_up=details)
    call_command("canary", set_up=details)
    call_command("canary")
    assert "passed  openbao postgresql:warehouse" in capsys.readouterr().out
