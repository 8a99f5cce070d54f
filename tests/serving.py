"""A real server of the control plane for tests that speak HTTP, and what workers would do, done at once."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from sessions import issuing, lifecycle
from sessions.models import AgentSession, Credential
from sessions.models.credentials import CredentialState

REPOSITORY = Path(__file__).resolve().parent.parent


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
