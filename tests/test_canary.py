"""After a full run no secret that was handed out is anywhere: database, Valkey, logs, events, pages."""

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import redis

from audit.event import timestamp
from audit.uuid7 import uuid7
from sessions import lifecycle, tokens
from stack import Stack
from stack.postgres import programs
from tests import factories
from tests.actors import PersonActor
from tests.canaries import Canaries, forms
from tests.outage import Job, Office, is_up, until_proven
from tests.waiting import eventually

PAGES = ("/", "/sessions/", "/agents/", "/agents/{agent}/", "/profiles/", "/profiles/{profile}/", "/device")
PAGES_OF_A_TEAM = ("/teams/{team}/people/", "/healthz", "/api/v1/openapi.json")
ROLES = ("admin", "lead", "security", "auditor", "requester", "stranger")
pytestmark = pytest.mark.usefixtures("committed")


@pytest.mark.parametrize("around", ["", "x", "xy", "xyz"])
def test_each_encoding_of_a_secret_is_found(around: str) -> None:
    canaries = Canaries()
    canaries.add("key", "dbk_/+canary~0123")
    text = f"{around}dbk_/+canary~0123{around}"
    raw = text.encode()
    hidden = [raw, raw.hex().encode(), raw.hex().upper().encode(), quote(text, safe="").encode()]
    hidden += [base64.b64encode(raw), base64.urlsafe_b64encode(raw)]
    assert all(canaries.found_in({"log": b"before " + one + b" after"}) for one in hidden)
    assert canaries.found_in({"log": b"nothing"}) == []
    assert len(list(forms("canary"))) >= 8


def test_no_secret_is_left_anywhere_after_a_full_run(stack: Stack) -> None:
    canaries = Canaries()
    with monitored(stack) as heard, stack.processes("web", "worker-revoke", "worker-issue", "beat"):
        url = stack.environment()["DRAWBRIDGE_URL"]
        eventually(lambda: is_up(url), 60)
        with Office.open(url, factories.world()) as office:
            jobs = full_run(office, canaries)
            places = rendered(office, jobs)
    places |= {"dump": dump(stack), "valkey": b"\n".join(heard) + contents(stack), **logs(stack)}
    assert len(canaries.secrets) == 3 * 3 + 2 + 2
    assert b"drawbridge:stream" in places["valkey"]
    assert jobs[0].secret["username"].encode() in places["dump"]
    assert canaries.found_in(places) == []
    prove_the_search(stack, canaries)


def full_run(office: Office, canaries: Canaries) -> list[Job]:
    """One session is killed, one ends by itself, one has its credential replaced; also a wrong and a new key."""
    canaries.add("agent key", office.world.key)
    jobs = [office.begin() for _ in range(3)]
    for number, job in enumerate(jobs):
        keep(canaries, str(number), job)
        assert job.agent.report([statement(), statement("failure")]).is_success
    replaced(canaries, jobs[2])
    wrong_keys(office, canaries)
    _, second = lifecycle.issue_agent_key(office.world.agent, office.world.requester)
    canaries.add("second agent key", second)
    office.kill(jobs[0])
    assert jobs[1].agent.end(exit_code=0).is_success
    office.kill(jobs[2])
    for job in jobs:
        until_proven(job)
        assert job.refusal()
    return jobs


def keep(canaries: Canaries, name: str, job: Job) -> None:
    canaries.add(f"password {name}", job.secret["password"])
    canaries.add(f"token {name}", job.agent.token)
    canaries.add(f"device code {name}", job.agent.session["device_code"])


def replaced(canaries: Canaries, job: Job) -> None:
    headers = {"Authorization": f"Bearer {job.agent.token}"}
    path = f"/sessions/{job.id}/credentials/{job.secret['id']}/replace"
    job.agent.http.post(path, headers=headers).raise_for_status()
    [successor] = job.agent.credentials().raise_for_status().json()
    canaries.add("password of the successor", successor["password"])


def wrong_keys(office: Office, canaries: Canaries) -> None:
    """Well formed and unknown, in the header and where it does not belong."""
    unknown = tokens.new(tokens.AGENT_KEY)
    canaries.add("unknown key", unknown)
    http = office.jobs[0].agent.http
    assert http.get("/agent", headers={"Authorization": f"Bearer {unknown}"}).status_code == 401
    assert http.get("/agent", headers={"Authorization": f"Basic {unknown}"}).status_code == 401
    assert http.post("/token", data={"grant_type": unknown, "device_code": unknown}).status_code == 400


def statement(outcome: str = "success") -> dict[str, Any]:
    event = {"id": str(uuid7()), "kind": "db.statement", "occurred_at": timestamp(datetime.now(UTC))}
    return {**event, "outcome": outcome, "data": {"statement": "SELECT count(*) FROM orders"}}


def rendered(office: Office, jobs: list[Job]) -> dict[str, bytes]:
    """Every page as each role sees it."""
    world = office.world
    names = {"agent": world.agent.pk, "profile": world.profile.pk, "team": world.team.slug}
    paths = [path.format(**names) for path in (*PAGES, *PAGES_OF_A_TEAM)]
    paths += [f"/sessions/{job.id}/" for job in jobs]
    places = {}
    for role in ROLES:
        visitor = PersonActor(office.url, getattr(world, role))
        places |= {f"{path} as {role}": visitor.http.get(path).content for path in paths}
        visitor.http.close()
    assert b"Dead, and proven" in places[f"/sessions/{jobs[0].id}/ as auditor"]
    return places


def dump(stack: Stack) -> bytes:
    """The whole database as text, and what is binary in it (event bodies) once more as it is."""
    from audit.models import Event

    name = psycopg.conninfo.conninfo_to_dict(stack.environment()["DATABASE_OWNER_URL"])["dbname"]
    url = stack.postgres.url(str(name), "postgres")
    argv = [programs() / "pg_dump", "--dbname", url]
    dumped = subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return dumped.stdout + b"\n".join(bytes(body) for body in Event.objects.values_list("body", flat=True))


def contents(stack: Stack) -> bytes:
    """Everything that Valkey still has."""
    with redis.Redis.from_url(stack.valkey.url()) as valkey:
        return b"\n".join(key + b" " + (valkey.dump(key) or b"") for key in valkey.scan_iter())


@contextmanager
def monitored(stack: Stack) -> Iterator[list[bytes]]:
    """Every command that Valkey is sent meanwhile."""
    heard: list[bytes] = []
    with redis.Redis.from_url(stack.valkey.url()) as valkey, valkey.monitor() as monitor:
        listener = threading.Thread(target=_listen, args=[monitor.connection, heard], name="monitor")
        listener.start()
        yield heard
        with redis.Redis.from_url(stack.valkey.url()) as other:
            other.echo("that is all")
        listener.join()


def _listen(connection: Any, heard: list[bytes]) -> None:
    while not heard or b"that is all" not in heard[-1]:
        heard.append(bytes(connection.read_response(timeout=60)))


def logs(stack: Stack) -> dict[str, bytes]:
    """What each process and service wrote, OpenBao's audit log included."""
    files = [*stack.data.path("log").iterdir(), stack.data.path("openbao", "audit.log")]
    places = {str(file.relative_to(stack.data.root)): file.read_bytes() for file in files}
    assert {"log/web.log", "log/worker-issue.log", "log/postgres.log", "openbao/audit.log"} <= places.keys()
    return places


def prove_the_search(stack: Stack, canaries: Canaries) -> None:
    """One planted secret is found where it was planted, and only there."""
    log = stack.data.log("planted")
    secret = canaries.secrets["password 0"]
    log.write_text(f"WARNING login failed for {base64.b64encode(f'user:{secret}'.encode()).decode()}\n")
    try:
        found = canaries.found_in(logs(stack))
    finally:
        log.unlink()
    assert {place.rpartition(" in ")[2] for place in found} == {"log/planted.log"}
    assert {what.partition(" (")[0] for what in found} == {"password 0"}
