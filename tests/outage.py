"""What tests of outages share: a session whose agent has a connection open, and services that go away for a while."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import psycopg

from sessions.models import Credential
from stack import Stack
from tests.actors import AgentActor, PersonActor, connect
from tests.factories import World
from tests.waiting import eventually


@dataclass(frozen=True)
class Job:
    """One session in use: its agent has taken the credential and holds a connection."""

    agent: AgentActor
    secret: dict[str, Any]
    line: psycopg.Connection[Any]

    @property
    def id(self) -> UUID:
        return UUID(self.agent.session["session_id"])

    def close(self) -> None:
        self.line.close()
        self.agent.http.close()

    def credential(self) -> Credential:
        """Its first credential, as it is now."""
        return Credential.objects.select_related("revocation", "agent_session").get(pk=self.secret["id"])

    def state(self) -> str:
        return self.credential().state

    def is_cut(self) -> bool:
        """Whether the connection is dead. Asking is the only way to know."""
        try:
            self.line.execute("SELECT count(*) FROM orders")
        except psycopg.OperationalError:
            return True
        return False

    def refusal(self) -> str:
        """PostgreSQL's words at a log-in with the credential; empty if it is let in."""
        try:
            connect(self.secret).close()
        except psycopg.OperationalError as error:
            return str(error)
        return ""


@dataclass(frozen=True)
class Office:
    """A team at a running server: its lead, and the sessions that were begun. Closes what they opened."""

    url: str
    world: World
    lead: PersonActor
    jobs: list[Job] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, url: str, world: World) -> "Iterator[Office]":
        office = cls(url, world, PersonActor(url, world.lead))
        try:
            yield office
        finally:
            office.lead.http.close()
            for job in office.jobs:
                job.close()

    def begin(self) -> Job:
        """Ask, approve, take the credential, log in."""
        agent = AgentActor(self.url, self.world.key)
        self.lead.approve(agent.request())
        agent.wait_for_token().raise_for_status()
        [secret] = agent.credentials().raise_for_status().json()
        self.jobs.append(Job(agent, secret, connect(secret)))
        return self.jobs[-1]

    def kill(self, job: Job) -> float:
        """The lead's click; returns the seconds until it was answered."""
        began = time.monotonic()
        assert self.lead.kill(str(job.id)).status_code == 302
        return time.monotonic() - began

    def page(self, job: Job) -> str:
        return self.lead.http.get(f"/sessions/{job.id}/").raise_for_status().text


def until_proven(job: Job, timeout_s: float = 30) -> Credential:
    return eventually(lambda: job.state() == "proven", timeout_s) and job.credential()


@contextmanager
def without(stack: Stack, service: str) -> Iterator[None]:
    stack.stop(service)
    try:
        yield
    finally:
        stack.start(service)


@contextmanager
def frozen(stack: Stack, service: str) -> Iterator[None]:
    """The service takes connections, and says nothing."""
    pid = stack.pid(service)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False
