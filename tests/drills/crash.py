"""kill -9 of web, workers and beat at random moments, Valkey flushed meanwhile; then the far ends are asked.

What OpenBao lists as leases and tokens, and PostgreSQL as roles, is compared with our rows: no credential may be alive
that no live session owns, no session may be stuck, no acknowledged event lost or doubled.

    script/drill crash [SESSIONS] [SEED]
"""

import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any
from uuid import UUID

import httpx
import redis

from stack import Stack
from stack.supervisor import Supervisor
from tests.drills.stage import standing, wait_for_web

VICTIMS = ("web", "worker-revoke", "worker-issue", "beat")
AT_ONCE = 4
AGENTS = 16
SETTLE_S = 120.0


@dataclass
class Ledger:
    """What the outside saw: the sessions that were asked for, and the events that were acknowledged."""

    sessions: list[UUID] = field(default_factory=list)
    acknowledged: list[UUID] = field(default_factory=list)
    wounds: dict[str, int] = field(default_factory=dict)
    used: int = 0
    others: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, wound: str) -> None:
        with self.lock:
            self.wounds[wound] = self.wounds.get(wound, 0) + 1


@dataclass(frozen=True)
class Report:
    """What the drill found. `problems` is empty if the promises held."""

    sessions: int
    used: int
    acknowledged: int
    wounds: dict[str, int]
    seconds: float
    problems: list[str]


def run(stack: Stack, sessions: int, seed: int) -> Report:
    """Run the drill on a migrated stack. Django must be set up."""
    from tests import factories
    from tests.actors import AgentActor, PersonActor

    began = time.monotonic()
    world = factories.world()
    ledger = Ledger(others=set().union(*_names_alive(stack).values()))
    with stack.processes(*VICTIMS) as running, ExitStack() as running_until:
        url = wait_for_web(stack)
        lead = running_until.enter_context(closing(PersonActor(url, world.lead)))
        chaos = Chaos(stack, running, ledger, random.Random(seed))
        chaos.thread.start()
        dice = random.Random(seed + 1)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            jobs = [
                pool.submit(_live_one, AgentActor(url, key), lead, ledger, random.Random(dice.random()))
                for key in islice(cycle(_keys(world)), sessions)
            ]
        chaos.stop()
        broken = [f"driver: {job.exception()!r}" for job in jobs if job.exception() is not None]
        problems = broken + _settle(world.team.id) + _compare(stack, ledger)
    return Report(
        len(ledger.sessions), ledger.used, len(ledger.acknowledged), ledger.wounds, time.monotonic() - began, problems
    )


def _keys(world: Any) -> list[str]:
    """Keys of several agents: an answer that was lost leaves a request open, and an agent may have but a few."""
    from sessions import lifecycle
    from sessions.models.agents import Framework

    agents = [
        lifecycle.register_agent(world.team, world.requester, f"bot {number}", Framework.OTHER)
        for number in range(AGENTS)
    ]
    return [lifecycle.issue_agent_key(agent, world.requester)[1] for agent in agents]


class Chaos:
    """Kills and flushes, until told to stop."""

    def __init__(self, stack: Stack, running: Supervisor, ledger: Ledger, dice: random.Random) -> None:
        self.stack, self.running, self.ledger, self.dice = stack, running, ledger, dice
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    def stop(self) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        with redis.Redis.from_url(self.stack.environment()["VALKEY_URL"]) as valkey:
            self._wound(valkey)

    def _wound(self, valkey: redis.Redis) -> None:
        while not self.over.wait(self.dice.uniform(0.3, 2.0)):
            wound = self.dice.choice((*VICTIMS, "flush", "flush"))
            if wound == "flush":
                valkey.flushall()
            else:
                self.running.kill(wound)
            self.ledger.note(wound)


def _live_one(agent: Any, lead: Any, ledger: Ledger, dice: random.Random) -> None:
    """One session from request to end; what a crash breaks off is ended by the lead, as it would be."""
    with closing(agent):
        _live(agent, lead, ledger, dice)


def _live(agent: Any, lead: Any, ledger: Ledger, dice: random.Random) -> None:
    asked = agent.request()
    with ledger.lock:
        ledger.sessions.append(UUID(asked["session_id"]))
    lead.approve(asked)
    end = dice.choice(("kill-early", "kill", "kill", "end", "end"))
    if end == "kill-early":
        time.sleep(dice.uniform(0, 0.15))
    elif _work(agent, ledger) and end == "end" and agent.end(exit_code=0).is_success:
        return
    _insist(lambda: lead.kill(asked["session_id"]))


def _work(agent: Any, ledger: Ledger) -> bool:
    """Take the credential, use it, report; False if a crash took away what was delivered once."""
    answer = agent.wait_for_token()
    while answer.status_code == 400 and answer.json()["error"] in ("authorization_pending", "slow_down"):
        answer = agent.wait_for_token()
    if not answer.is_success:
        return False
    answer = agent.credentials()
    if not answer.is_success or not answer.json():
        return False
    _use(answer.json()[0])
    events = [_event(number) for number in range(3)]
    _report(agent, ledger, events)
    with ledger.lock:
        ledger.used += 1
    return True


def _use(secret: dict[str, Any]) -> None:
    from tests.actors import connect

    with connect(secret) as connection:
        connection.execute("SELECT count(*) FROM orders")


def _report(agent: Any, ledger: Ledger, events: list[dict[str, Any]]) -> None:
    answer = agent.report(events)
    if answer.is_success:
        with ledger.lock:
            ledger.acknowledged += [UUID(event["id"]) for event in events]


def _event(number: int) -> dict[str, Any]:
    from audit.uuid7 import uuid7

    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    data = {"statement": "SELECT count(*) FROM orders", "number": number}
    return {"id": str(uuid7()), "kind": "db.statement", "occurred_at": moment, "outcome": "success", "data": data}


def _insist(act: Any) -> None:
    for _ in range(20):
        if act().status_code < 500:
            return
        time.sleep(0.5)
    raise RuntimeError("the server answered 5xx for ten seconds")


def _settle(team: UUID) -> list[str]:
    """Wait until everything that was begun has ended; what has not is a problem."""
    from sessions.models import AgentSession, Credential

    ends = time.monotonic() + SETTLE_S
    while True:
        stuck = AgentSession.objects.filter(team=team).exclude(state__in=("ended", "requested"))
        alive = Credential.objects.filter(agent_session__team=team).exclude(state__in=("proven", "expired_unrevoked"))
        problems = [f"session {one.id} is still {one.state}" for one in stuck]
        problems += [f"credential {one.id} is still {one.state}: {one.problem}" for one in alive]
        if not problems or time.monotonic() > ends:
            return problems
        time.sleep(0.5)


def _compare(stack: Stack, ledger: Ledger) -> list[str]:
    return [*_alive_at_the_far_ends(stack, ledger), *_events_wrong(ledger)]


def _alive_at_the_far_ends(stack: Stack, ledger: Ledger) -> list[str]:
    """Every credential that OpenBao or PostgreSQL still know, though none of our sessions is live."""
    from django.conf import settings

    from sessions.models import Credential

    ours = {one.name for one in Credential.objects.filter(state__in=("intent", "issued"))} | ledger.others
    alive = _names_alive(stack)
    problems = [f"{kind} of {name} is still there" for kind, names in alive.items() for name in names - ours]
    names = {one.name for one in Credential.objects.filter(agent_session__in=ledger.sessions)}
    with closing(Bao(settings.OPENBAO_ADDR, settings.OPENBAO_ROLE_ID, settings.OPENBAO_SECRET_ID)) as bao:
        problems += [f"OpenBao still has a lease for {name}" for name in names - ours if bao.leases(name)]
    return problems


def _names_alive(stack: Stack) -> dict[str, set[str]]:
    """Names of credentials that PostgreSQL or OpenBao know."""
    from django.conf import settings

    with stack.postgres.connect("warehouse") as superuser:
        roles = superuser.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'dbr\\_%'").fetchall()
        using = superuser.execute("SELECT usename FROM pg_stat_activity WHERE usename LIKE 'dbr\\_%'").fetchall()
    with closing(Bao(settings.OPENBAO_ADDR, settings.OPENBAO_ROLE_ID, settings.OPENBAO_SECRET_ID)) as bao:
        return {
            "the PostgreSQL role": {row[0] for row in roles},
            "an open PostgreSQL session": {row[0] for row in using},
            "the OpenBao token": bao.token_names(),
        }


class Bao:
    """OpenBao, asked by itself and not through our provider."""

    def __init__(self, address: str, role_id: str, secret_id: str) -> None:
        self.http = httpx.Client(base_url=f"{address}/v1", timeout=10)
        login = self.http.post("/auth/approle/login", json={"role_id": role_id, "secret_id": secret_id})
        self.http.headers["X-Vault-Token"] = login.json()["auth"]["client_token"]

    def close(self) -> None:
        self.http.close()

    def leases(self, name: str) -> list[str]:
        answer = self.http.request("LIST", f"/sys/leases/lookup/database/creds/{name}/")
        return [] if answer.status_code == 404 else list(answer.raise_for_status().json()["data"]["keys"])

    def token_names(self) -> set[str]:
        accessors = self.http.request("LIST", "/auth/token/accessors").raise_for_status().json()["data"]["keys"]
        names = set()
        for accessor in accessors:
            answer = self.http.post("/auth/token/lookup-accessor", json={"accessor": accessor})
            meta = answer.json()["data"]["meta"] if answer.is_success else None
            names.add((meta or {}).get("credential", ""))
        return names - {""}


def _events_wrong(ledger: Ledger) -> list[str]:
    from audit.models import Event

    problems = []
    stored = list(Event.objects.filter(id__in=ledger.acknowledged).values_list("id", flat=True))
    problems += [f"the acknowledged event {lost} is lost" for lost in set(ledger.acknowledged) - set(stored)]
    for session in ledger.sessions:
        rows = list(Event.objects.filter(stream=session).order_by("seq").values_list("seq", "kind"))
        if [seq for seq, _ in rows] != list(range(1, len(rows) + 1)):
            problems.append(f"the stream of {session} has a gap or a double")
        kinds = [kind for _, kind in rows]
        for once in ("session.requested", "session.approved", "session.active", "session.killed", "session.completed"):
            if kinds.count(once) > 1:
                problems.append(f"{session} has {kinds.count(once)} events {once}")
    return problems


def main(arguments: list[str]) -> int:
    sessions = int(arguments[0]) if arguments else 200
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().randrange(10**6)
    with standing() as stack:
        report = run(stack, sessions, seed)
    print(f"seed {seed}: {report.sessions} sessions ({report.used} used their credential) in {report.seconds:.0f} s")
    print("wounds: " + ", ".join(f"{name} {count}" for name, count in sorted(report.wounds.items())))
    print(f"{report.acknowledged} events acknowledged")
    print("\n".join(report.problems) or "every promise held")
    return 1 if report.problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
