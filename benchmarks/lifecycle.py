"""Approve -> credential in the agent's hands, and kill -> cut off, each beside the bare OpenBao calls of the same run.

    script/bench lifecycle [--json] [--sessions N]

The clock of ours starts when the lead's browser sends the form, and ends when the agent has the credential, or when
its open connection is dead and PostgreSQL has refused its next log-in. The bare side makes the same OpenBao calls with
hvac in one thread, with nothing around them, and is observed in the same way.
"""

import argparse
import json
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import hvac
import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stack import Stack
from tests.drills.stage import standing, wait_for_web

WARM_UP = 3
REST_S = 0.1
# What OpenBao's documentation suggests, and an end to open sessions; ours waits for them and would slow the bare side.
PLAIN_REVOCATION = [
    'ALTER ROLE "{{name}}" NOLOGIN',
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
    'DROP OWNED BY "{{name}}"',
    'DROP ROLE IF EXISTS "{{name}}"',
]


class Bare:
    """The provider's own calls, made with hvac alone."""

    def __init__(self) -> None:
        from django.conf import settings

        self.settings = settings
        self.client = hvac.Client(url=settings.OPENBAO_ADDR)
        self.client.auth.approle.login(settings.OPENBAO_ROLE_ID, settings.OPENBAO_SECRET_ID)

    def mint(self) -> tuple[float, Mapping[str, Any], str]:
        """Seconds, the secret, the lease id."""
        from sessions.providers import openbao, registry, session_token
        from sessions.providers.contract import Intent
        from tests.factories import READ_ORDERS, WRITE_SHIPMENTS

        provider = registry.provider("openbao")
        assert isinstance(provider, openbao.OpenBao)
        name = f"dbr_{uuid.uuid4().hex}"
        intent = Intent(name, [READ_ORDERS, WRITE_SHIPMENTS], 900, {"agent_session": "bench"})
        accesses = [provider._access(each) for each in intent.details]
        target = provider._target(accesses)
        role = {**openbao.role_fields(intent, target, accesses), "revocation_statements": PLAIN_REVOCATION}
        token = session_token.token_fields(intent)
        policy = {"policy": openbao.policy(target, name)}
        began = time.perf_counter()
        self.client.write_data(f"{target.mount}/roles/{name}", data=role)
        self.client.write_data(f"sys/policies/acl/drawbridge-session-{name}", data=policy)
        auth = self.client.write_data("auth/token/create/drawbridge-session", data=token)["auth"]
        session = hvac.Client(url=self.settings.OPENBAO_ADDR, token=auth["client_token"], session=self.client.session)
        answer = session.read(f"{target.mount}/creds/{name}")
        seconds = time.perf_counter() - began
        return seconds, openbao.secret_of(target, answer["data"]), answer["lease_id"]

    def revoke(self, lease_id: str) -> None:
        self.client.write_data("sys/leases/revoke", data={"lease_id": lease_id, "sync": True})


class CutOff:
    """Watches one credential: when its open connection died, and when its next log-in was refused."""

    def __init__(self, secret: Mapping[str, Any]) -> None:
        from tests.actors import connect

        self.secret = secret
        self.connection = connect(secret)
        self.thread = threading.Thread(target=self._watch)
        self.ready = threading.Event()
        self.thread.start()
        self.ready.wait()
        self.ended = 0.0

    def _watch(self) -> None:
        from tests.actors import connect

        self.ready.set()
        with suppress(psycopg.OperationalError):
            self.connection.execute("SELECT pg_sleep(60)")
        while True:
            try:
                connect(self.secret).close()
            except psycopg.OperationalError:
                break
        self.ended = time.perf_counter()

    def seconds_from(self, began: float) -> float:
        self.thread.join(60)
        return self.ended - began


def measure(stack: Stack, sessions: int) -> dict[str, dict[str, float]]:
    from tests import factories
    from tests.actors import AgentActor, PersonActor

    world = factories.world()
    samples: dict[str, list[float]] = {"approve": [], "kill": [], "bare_approve": [], "bare_kill": []}
    with stack.processes("web", "worker-revoke", "worker-issue", "beat"):
        url = wait_for_web(stack)
        lead, bare = PersonActor(url, world.lead), Bare()
        for _ in track(range(sessions + WARM_UP), "sessions", console=Console(stderr=True)):
            approve, kill = one_session(AgentActor(url, world.key), lead)
            # Both sides start from the same rest: a click comes to an idle machine too.
            time.sleep(REST_S)
            bare_approve, secret, lease = bare.mint()
            watched = CutOff(secret)
            time.sleep(0.02)
            began = time.perf_counter()
            bare.revoke(lease)
            bare_kill = watched.seconds_from(began)
            for name, value in zip(samples, (approve, kill, bare_approve, bare_kill), strict=True):
                samples[name].append(value)
    return {
        "approve_to_credential": figures(samples["approve"], samples["bare_approve"]),
        "kill_to_refused": figures(samples["kill"], samples["bare_kill"]),
    }


def one_session(agent: Any, lead: Any) -> tuple[float, float]:
    """Seconds from approval to credential, and from kill to refusal."""
    asked = agent.request()
    taken: list[dict[str, Any]] = []
    arrived: list[float] = []

    def take() -> None:
        agent.wait_for_token(60).raise_for_status()
        taken.extend(agent.credentials().json())
        arrived.append(time.perf_counter())

    agent_thread = threading.Thread(target=take)
    agent_thread.start()
    time.sleep(REST_S)
    began = time.perf_counter()
    lead.approve(asked)
    agent_thread.join()
    approve = arrived[0] - began
    watched = CutOff(taken[0])
    time.sleep(0.02)
    began = time.perf_counter()
    lead.kill(asked["session_id"])
    kill = watched.seconds_from(began)
    _until_proven(UUID(asked["session_id"]))
    return approve, kill


def _until_proven(session_id: UUID) -> None:
    """So that one session's proofs do not slow the next one's approval."""
    from sessions.models import Credential

    while Credential.objects.filter(agent_session=session_id).exclude(state="proven").exists():
        time.sleep(0.02)


def figures(ours: list[float], bare: list[float]) -> dict[str, float]:
    ours, bare = ours[WARM_UP:], bare[WARM_UP:]
    return {
        "p50_ms": round(median(ours) * 1000, 1),
        "p99_ms": round(quantiles(ours, n=100)[98] * 1000, 1),
        "bare_p50_ms": round(median(bare) * 1000, 1),
        "bare_p99_ms": round(quantiles(bare, n=100)[98] * 1000, 1),
        "ratio_p50": round(median(ours) / median(bare), 2),
    }


def table(results: dict[str, dict[str, float]]) -> Table:
    made = Table("", "p50 ms", "p99 ms", "bare p50 ms", "bare p99 ms", "ratio p50")
    for name, row in results.items():
        keys: tuple[str, ...] = ("p50_ms", "p99_ms", "bare_p50_ms", "bare_p99_ms", "ratio_p50")
        made.add_row(name.replace("_", " "), *(str(row[key]) for key in keys))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench lifecycle", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--sessions", type=int, default=50)
    chosen = parser.parse_args()
    with standing() as stack:
        results = measure(stack, chosen.sessions)
    if chosen.json:
        print(json.dumps(results))
    else:
        Console().print(table(results))


if __name__ == "__main__":
    main()
