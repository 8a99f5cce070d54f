"""Kill, approve and rotate with Valkey stopped, OpenBao stopped or silent, web killed: real processes throughout."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sessions.models import AgentSession
from stack import Stack
from stack.supervisor import Supervisor
from tests import factories
from tests.actors import connect
from tests.conftest import REPOSITORY
from tests.outage import Job, Office, frozen, is_up, until_proven, without
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("committed")
QUICK_S = 3.0

# Dies between the commit of the kill and the start of its revocations.
KILL_AND_DIE = """
import os, signal, sys, django
django.setup()
from sessions import lifecycle
from sessions.models import Person
lifecycle.kill(sys.argv[1], Person.objects.get(pk=sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def running(stack: Stack, django_db_setup: None) -> Iterator[Supervisor]:
    names = ("web", "worker-revoke", "worker-issue", "beat")
    with stack.processes(*names, extra_env={"ROTATION_OVERLAP_S": "1"}) as supervisor:
        yield supervisor


@pytest.fixture
def url(running: Supervisor, stack: Stack) -> str:
    url = stack.environment()["DRAWBRIDGE_URL"]
    eventually(lambda: is_up(url), 60)
    return url


@pytest.fixture
def office(url: str) -> Iterator[Office]:
    with Office.open(url, factories.world()) as office:
        yield office


def kinds(job: Job) -> list[str]:
    return factories.kinds_of(job.id)


def test_kill_without_valkey_cuts_at_once_and_is_proven(stack: Stack, office: Office) -> None:
    job = office.begin()
    with without(stack, "valkey"):
        assert office.kill(job) < QUICK_S
        assert eventually(job.is_cut, QUICK_S)
        assert "FATAL" in job.refusal()
        until_proven(job)
        assert not stack.valkey.answers()
    assert kinds(job)[-3:] == ["session.killed", "credential.revoked", "credential.proven"]


def test_approval_without_valkey_mints_all_the_same(stack: Stack, office: Office) -> None:
    with without(stack, "valkey"):
        job = office.begin()
        assert not job.is_cut()
        assert job.agent.end(exit_code=0).is_success
        until_proven(job)


def test_kill_without_openbao_cuts_at_once_and_says_what_is_not_dead(stack: Stack, office: Office) -> None:
    job = office.begin()
    with without(stack, "openbao"):
        assert office.kill(job) < QUICK_S
        assert eventually(job.is_cut, QUICK_S)
        assert "FATAL" in job.refusal()
        first = eventually(lambda: job.credential().revocation.attempts)
        shown = office.page(job)
        assert "1 of 1 credential not proven dead yet" in shown
        assert "Not revoked yet" in shown
        assert "Credential taken back by OpenBao" in shown
        assert "OpenBao does not answer" in shown
        assert "Dead, and proven" not in shown
        assert eventually(lambda: job.credential().revocation.attempts >= first + 2)
        assert job.state() == "revoking"
        assert "credential.revoked" not in kinds(job)
    until_proven(job)
    assert kinds(job)[-3:] == ["session.killed", "credential.revoked", "credential.proven"]
    assert "Dead, and proven" in office.page(job)


def test_silent_openbao_keeps_no_kill_from_cutting(stack: Stack, office: Office) -> None:
    jobs = [office.begin() for _ in range(3)]
    with frozen(stack, "openbao"):
        for job in jobs:
            assert office.kill(job) < QUICK_S
            assert eventually(job.is_cut, QUICK_S)
            assert "FATAL" in job.refusal()
        assert {job.state() for job in jobs} == {"revoking"}
        assert "not proven dead yet" in office.page(jobs[0])
    for job in jobs:
        until_proven(job, 45)


def test_kill_by_a_process_that_died_with_the_commit_is_finished_by_workers(
    running: Supervisor, office: Office
) -> None:
    job = office.begin()
    running.kill("web")
    argv = [sys.executable, "-c", KILL_AND_DIE, str(job.id), str(office.world.lead.pk)]
    assert subprocess.run(argv, cwd=REPOSITORY, timeout=60).returncode == -signal.SIGKILL
    assert eventually(job.is_cut)
    until_proven(job)
    assert kinds(job).count("session.killed") == 1


def test_end_of_one_session_leaves_another_with_the_same_grant_alone(office: Office) -> None:
    ended, other = office.begin(), office.begin()
    assert ended.agent.end(exit_code=0).is_success
    until_proven(ended)
    assert ended.is_cut()
    assert not other.is_cut()
    assert other.refusal() == ""
    assert (other.state(), other.credential().agent_session.state) == ("issued", "active")


def test_rotation_hands_over_a_successor_before_the_end_and_ends_the_old_one(url: str) -> None:
    limits = {**factories.CONTENT["limits"], "credential_ttl": 60}
    with Office.open(url, factories.world({**factories.CONTENT, "limits": limits})) as office:
        _rotate(office.begin())


def _rotate(job: Job) -> None:
    [successor] = eventually(lambda: job.agent.credentials(wait_s=60).raise_for_status().json(), 60)
    assert (successor["generation"], successor["slot"]) == (2, job.secret["slot"])
    assert successor["username"] != job.secret["username"]
    assert successor["expires_at"] > job.secret["expires_at"]
    with connect(successor) as line:
        old = until_proven(job)
        assert old.revocation.reason == "rotated"
        assert old.revocation.requested_at < old.expires_at
        assert job.is_cut()
        assert line.execute("SELECT count(*) > 0 FROM orders").fetchone() == (True,)
    assert AgentSession.objects.get(pk=job.id).state == "active"
    assert kinds(job)[-3:] == ["credential.revocation_requested", "credential.revoked", "credential.proven"]
