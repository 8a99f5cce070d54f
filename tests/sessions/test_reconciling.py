"""What nobody owns is found at the far ends and killed; what is gone there is marked."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from audit.event import LOG_STREAM
from sessions import lifecycle, reconciling
from sessions.models import Credential, Person, Reconciliation, Revocation
from sessions.providers import registry
from sessions.providers.contract import Intent
from sessions.providers.openbao import OpenBao
from stack import Stack
from tests import factories, serving
from tests.factories import READ_ORDERS, events_of
from tests.outage import without

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def provider() -> OpenBao:
    found = registry.provider("openbao")
    assert isinstance(found, OpenBao)
    return found


@pytest.fixture(autouse=True)
def clean(committed: None) -> None:
    """What other tests left alive is reconciled first."""
    reconciling.run()


def mint(provider: OpenBao, name: str) -> Any:
    return provider.mint(Intent(name, [READ_ORDERS], 300, {"agent_session": "lost"}), lambda handle: None)


def live() -> Credential:
    run = factories.world().approved()
    serving.mint(run.pk)
    return Credential.objects.get(agent_session=run)


def found(name: str) -> list[tuple[str, str, str]]:
    run = reconciling.run()
    assert run is not None
    return [(one["kind"], one["where"], one["did"]) for one in run.findings if one["name"] == name]


def test_what_is_live_and_ours_is_left_alone(provider: OpenBao) -> None:
    credential = live()
    assert found(credential.name) == []
    assert credential.name in provider.tokens()
    assert credential.name in provider.roles("warehouse")
    assert Credential.objects.get(pk=credential.pk).problem == ""


def test_an_orphan_is_killed_and_told(provider: OpenBao) -> None:
    """As after a database that was restored from an older backup."""
    name = f"dbr_{uuid.uuid4().hex}"
    mint(provider, name)
    assert found(name)[0] == ("orphan", "OpenBao's tokens", "revoked, and its leases with it")
    assert name not in provider.tokens()
    assert name not in provider.roles("warehouse")
    event = events_of(LOG_STREAM)[-1]
    assert (event["kind"], event["outcome"]) == ("credentials.reconciled", "failure")
    assert name in json.dumps(event["data"]["findings"])
    assert found(name) == []


def test_what_cannot_be_killed_is_told_each_time(stack: Stack) -> None:
    """A role of our prefix that OpenBao did not make, so that its cutter may not touch it."""
    name = f"dbr_{uuid.uuid4().hex}"
    with stack.postgres.connect("warehouse") as superuser:
        superuser.execute(f'CREATE ROLE "{name}" LOGIN')
        try:
            [(kind, where, did)] = found(name)
            assert (kind, where) == ("orphan", "PostgreSQL warehouse")
            assert did.startswith("not dead yet: ")
            assert found(name)
        finally:
            superuser.execute(f'DROP ROLE "{name}"')


def test_what_was_called_dead_and_lives_is_an_orphan(provider: OpenBao) -> None:
    credential = live()
    lifecycle.kill(credential.agent_session_id, credential.agent_session.person)
    revocation = Revocation.objects.get(credential=credential)
    lifecycle.record_revoked(revocation.pk, {})
    lifecycle.record_proven(revocation.pk, {})
    assert found(credential.name)
    assert credential.name not in provider.roles("warehouse")


def test_what_is_gone_before_its_time_is_marked_once(provider: OpenBao) -> None:
    credential = live()
    provider.end_token(credential.handle["accessor"])
    assert found(credential.name) == [
        ("missing", "OpenBao, for postgresql:warehouse", "marked: it died before its time")
    ]
    assert Credential.objects.get(pk=credential.pk).problem == reconciling.GONE
    assert found(credential.name) == []


def test_a_far_end_that_is_away_is_said_and_marks_nothing(stack: Stack) -> None:
    credential = live()
    with without(stack, "openbao"):
        run = reconciling.run()
    assert run is not None
    assert any("OpenBao does not answer" in problem for problem in run.problems)
    assert Credential.objects.get(pk=credential.pk).problem == ""


def browse(person: Person) -> Client:
    client = Client()
    client.force_login(person, "allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.mark.parametrize(
    ("role", "sees", "runs"), [("security", 200, 302), ("auditor", 200, 403), ("requester", 404, 404)]
)
def test_the_page_is_for_those_who_watch(role: str, sees: int, runs: int) -> None:
    client = browse(getattr(factories.world(), role))
    before = Reconciliation.objects.count()
    assert client.get(reverse("reconciliations")).status_code == sees
    assert client.post(reverse("reconcile")).status_code == runs
    assert Reconciliation.objects.count() == before + (runs == 302)
