"""Real services, and what a test of the OpenBao provider does with them."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sessions.providers.contract import CredentialError, Details, Held, Intent, Minted, Outcome, Step
from sessions.providers.cutter import Target, targets_of
from sessions.providers.openbao import OpenBao
from sessions.providers.openbao_api import OpenBaoApi
from stack import Stack

Connection = psycopg.Connection[tuple[Any, ...]]
READ_ORDERS: Details = {
    "type": "postgresql",
    "locations": ["postgresql://warehouse/public.orders"],
    "actions": ["read"],
}


class Ground:
    """The services and one provider on them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.env = stack.environment()
        self.targets = targets_of(json.loads(self.read("TARGETS_FILE")))
        self.api = self.new_api()
        self.provider = OpenBao(self.api, self.targets)

    def read(self, variable: str) -> str:
        return Path(self.env[variable]).read_text().strip()

    def new_api(self, timeout_s: float = 5) -> OpenBaoApi:
        role_id, secret_id = self.read("OPENBAO_ROLE_ID_FILE"), self.read("OPENBAO_SECRET_ID_FILE")
        return OpenBaoApi(self.env["OPENBAO_ADDR"], role_id, secret_id, timeout_s)

    @property
    def target(self) -> Target:
        return self.targets["warehouse"]

    @property
    def cutter_password(self) -> str:
        return Path(self.target.cutter_password_file).read_text()

    def intent(self, *details: Details, ttl_s: int = 900) -> Intent:
        labels = {"agent_session": "s-1", "grant": "g-1"}
        return Intent(f"dbr_{uuid.uuid4().hex}", details or (READ_ORDERS,), ttl_s, labels)

    def mint(self, *details: Details, ttl_s: int = 900) -> tuple[Held, Minted]:
        intent = self.intent(*details, ttl_s=ttl_s)
        minted = self.provider.mint(intent, lambda handle: None)
        return Held(intent.name, intent.details, minted.handle, minted.secret), minted

    def nameless(self, held: Held | Intent) -> Held:
        """The same credential after a crash: neither handle nor secret was stored."""
        return Held(held.name, held.details, {}, None)

    def connect(self, held: Held, dbname: str | None = None) -> Connection:
        """As the agent does."""
        assert held.secret is not None
        return psycopg.connect(
            host=held.secret["host"],
            port=held.secret["port"],
            dbname=dbname or held.secret["dbname"],
            user=held.secret["username"],
            password=held.secret["password"],
            autocommit=True,
        )

    def end(self, held: Held) -> dict[str, Outcome | CredentialError]:
        """Take every step once, whatever becomes of those before it."""
        return {step.name: taken(step) for step in self.provider.steps(held)}

    def left(self, name: str) -> Mapping[str, Any]:
        """What PostgreSQL and OpenBao themselves still list under a name."""
        with self.stack.postgres.connect("warehouse") as superuser:
            roles = superuser.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [name]).fetchone()
            sessions = superuser.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [name]).fetchone()
        tokens = [self.api.token_of(accessor) for accessor in self.api.accessors()]
        left = {
            "roles": roles[0] if roles else None,
            "sessions": sessions[0] if sessions else None,
            "leases": len(self.api.leases("database", name)),
            "tokens": len([token for token in tokens if token and (token["meta"] or {}).get("credential") == name]),
            "database roles": int(self.api.exists(f"database/roles/{name}")),
            "policies": int(self.api.exists(f"sys/policies/acl/drawbridge-session-{name}")),
        }
        return {what: count for what, count in left.items() if count}


def taken(step: Step) -> Outcome | CredentialError:
    try:
        return step.run()
    except CredentialError as error:
        return error


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    with Stack.temporary() as stack:
        yield Ground(stack)


@pytest.fixture
def without_openbao(ground: Ground) -> Iterator[Stack]:
    ground.stack.stop("openbao")
    try:
        yield ground.stack
    finally:
        if "openbao" not in ground.stack._running:
            ground.stack.start("openbao")


@pytest.fixture
def without_postgres(ground: Ground) -> Iterator[None]:
    ground.stack.stop("postgres")
    try:
        yield
    finally:
        ground.stack.start("postgres")


@pytest.fixture
def read_orders() -> Details:
    return READ_ORDERS


@pytest.fixture
def all_done() -> Sequence[str]:
    """The names of all steps, in order."""
    return ["cut", "login", "session", "lease", "token", "token_lookup", "role", "tidy"]
