"""A real server of the control plane for tests that speak HTTP, and what workers would do, done at once."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sessions import issuing, lifecycle
from sessions.models import AgentSession, Credential
from sessions.models.credentials import CredentialState

REPOSITORY = Path(__file__).resolve().parent.parent
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(environment: Mapping[str, str], log: Path, port: int) -> Iterator[str]:
    """uvicorn as script/server runs it; yields its address."""
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "uvicorn", "webapp.asgi:application", "--port", str(port), "--no-access-log"]
    env = {**os.environ, **environment, "DRAWBRIDGE_URL": url}
    with log.open("ab") as output:
        server = subprocess.Popen(
            [*argv, "--timeout-graceful-shutdown", "1"], cwd=REPOSITORY, env=env, stdout=output, stderr=output
        )
    try:
        _wait_until_it_answers(url, server, log)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _wait_until_it_answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if httpx.get(f"{url}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)


def mint(agent_session_id: uuid.UUID) -> None:
    """Mint whatever is to be minted for a session, as an issuing worker does."""
    intents = Credential.objects.filter(agent_session=agent_session_id, state=CredentialState.INTENT)
    for credential_id in intents.values_list("id", flat=True):
        issuing.run(credential_id)


def approve(agent_session_id: uuid.UUID) -> AgentSession:
    """A lead of its team approves the session, and its credentials are minted."""
    agent_session = AgentSession.objects.get(pk=agent_session_id)
    lead = agent_session.team.memberships.filter(role="lead").earliest("id").person
    lifecycle.approve(agent_session_id, lead, agent_session.grant_hash)
    mint(agent_session_id)
    return AgentSession.objects.get(pk=agent_session_id)


def kill(agent_session_id: uuid.UUID) -> None:
    """Somebody of security kills it. Workers are not there: the credentials stay as they are."""
    agent_session = AgentSession.objects.get(pk=agent_session_id)
    security = agent_session.team.memberships.filter(role="security").earliest("id").person
    lifecycle.kill(agent_session_id, security)


@pytest.fixture(scope="session")
def server(
    django_db_setup: None, stack_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server on the test run's own services."""
    with serve(stack_environment, tmp_path_factory.mktemp("server") / "log", free_port()) as url:
        yield url


@dataclass
class Agent:
    """What any agent does over HTTP, without the runner: one session at a time."""

    http: httpx.Client
    key: str
    session_id: str = ""
    device_code: str = ""
    token: str = ""

    def ask(self, **asked: object) -> httpx.Response:
        body = {"profile": "warehouse-orders", "purpose": "Find late shipments", **asked}
        answer = self.http.post("/sessions", json=body, headers=bearer(self.key))
        if answer.status_code == 201:
            self.session_id, self.device_code = answer.json()["session_id"], answer.json()["device_code"]
        return answer

    def poll(self, wait_s: int = 0, **changed: str) -> httpx.Response:
        form = {"grant_type": DEVICE_GRANT, "device_code": self.device_code, **changed}
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        return self.http.post("/token", data=form, headers=headers)

    def begin(self) -> "Agent":
        """Ask, have it approved, and take the token."""
        self.ask().raise_for_status()
        approve(uuid.UUID(self.session_id))
        answer = self.poll(wait_s=10)
        answer.raise_for_status()
        self.token = answer.json()["access_token"]
        return self

    def get(self, path: str = "", **query: str) -> httpx.Response:
        return self.http.get(f"/sessions/{self.session_id}{path}", params=query, headers=bearer(self.token or self.key))

    def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        headers = {**bearer(self.token or self.key), "Content-Type": "application/json", **headers}
        content = b"" if body is None else json.dumps(body).encode()
        return self.http.post(f"/sessions/{self.session_id}{path}", content=content, headers=headers)

    def report(self, *events: object) -> httpx.Response:
        content = json.dumps({"events": list(events)}).encode()
        headers = {**bearer(self.token or self.key), "Content-Type": "application/json"}
        return self.http.post("/events", content=content, headers=headers)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
