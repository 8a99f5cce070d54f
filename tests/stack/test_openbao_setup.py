"""The control plane's AppRole: it can mint, cut and revoke a database credential, and can do nothing else."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import hvac
import psycopg
import pytest
from psycopg import sql

from stack import Stack
from tests.waiting import eventually

CREATE = [
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
    'GRANT CONNECT ON DATABASE warehouse TO "{{name}}"',
    'GRANT USAGE ON SCHEMA public TO "{{name}}"',
    'GRANT SELECT ON customers TO "{{name}}"',
    'GRANT SELECT, INSERT ON orders TO "{{name}}"',
]
REVOKE = [
    'ALTER ROLE "{{name}}" NOLOGIN',
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
    'DROP OWNED BY "{{name}}"',
    'DROP ROLE IF EXISTS "{{name}}"',
]


@dataclass
class Minted:
    """A database credential and the handles that end it."""

    role: str
    accessor: str
    token: str
    lease: str
    login: str


def post(client: hvac.Client, path: str, **fields: object) -> Any:
    return client.adapter.post(f"/v1/{path}", json=fields)


@pytest.fixture
def control(stack: Stack) -> hvac.Client:
    env = stack.environment()
    client = hvac.Client(url=env["OPENBAO_ADDR"])
    with open(env["OPENBAO_ROLE_ID_FILE"]) as role_id, open(env["OPENBAO_SECRET_ID_FILE"]) as secret_id:
        client.auth.approle.login(role_id.read(), secret_id.read())
    return client


@pytest.fixture
def minted(stack: Stack, control: hvac.Client) -> Minted:
    number = secrets.token_hex(16)
    role, policy = f"dbr_{number}", f"drawbridge-session-{number}"
    statements = {"creation_statements": CREATE, "revocation_statements": REVOKE}
    post(control, f"database/roles/{role}", db_name="warehouse", **statements)
    rule = f'path "database/creds/{role}" {{ capabilities = ["read"] }}'
    post(control, f"sys/policies/acl/{policy}", policy=rule)
    token = post(control, "auth/token/create/drawbridge-session", policies=[policy], ttl="15m")["auth"]
    made = hvac.Client(url=control.url, token=token["client_token"]).read(f"database/creds/{role}")
    user, password = made["data"]["username"], made["data"]["password"]
    login = f"postgresql://{user}:{password}@127.0.0.1:{stack.ports['postgres']}/warehouse"
    return Minted(role, token["accessor"], token["client_token"], made["lease_id"], login)


@pytest.fixture
def cutter(stack: Stack) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    with stack.postgres.connect("warehouse", "drawbridge_cutter") as connection:
        yield connection


def test_minted_role_is_named_after_its_openbao_role_and_reaches_only_its_tables(minted: Minted) -> None:
    with psycopg.connect(minted.login, autocommit=True) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (minted.role,)
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (120,)
        for statement in ("SELECT * FROM payments", "DELETE FROM orders", "CREATE TABLE loot (id integer)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_second_mint_of_one_role_fails_and_leaves_the_first_working(control: hvac.Client, minted: Minted) -> None:
    with pytest.raises(hvac.exceptions.InternalServerError, match="already exists"):
        hvac.Client(url=control.url, token=minted.token).read(f"database/creds/{minted.role}")
    psycopg.connect(minted.login).close()


def test_session_token_is_orphan_and_cannot_be_renewed(control: hvac.Client, minted: Minted) -> None:
    token = post(control, "auth/token/lookup-accessor", accessor=minted.accessor)["data"]
    assert (token["orphan"], token["renewable"], token["type"]) == (True, False, "service")


def test_session_token_cannot_have_a_policy_of_the_control_plane(control: hvac.Client) -> None:
    with pytest.raises(hvac.exceptions.InvalidRequest, match="subset"):
        post(control, "auth/token/create/drawbridge-session", policies=["drawbridge-control"])


@pytest.mark.parametrize(
    "path",
    ["database/roles/other", "database/config/warehouse", "sys/policies/acl/drawbridge-control", "auth/token/create"],
)
def test_control_plane_is_refused_what_its_policy_does_not_name(control: hvac.Client, path: str) -> None:
    with pytest.raises(hvac.exceptions.Forbidden):
        post(control, path, policy="")


def test_cut_ends_the_open_session_and_refuses_a_new_login(
    minted: Minted, cutter: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    with psycopg.connect(minted.login, autocommit=True) as session:
        assert cutter.execute("SELECT * FROM drawbridge.cut(%s)", [minted.role]).fetchone() == (True, 1)
        with pytest.raises(psycopg.errors.AdminShutdown):
            session.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(minted.login)


def test_cut_beside_a_revocation_that_commits_first_finds_no_role(
    stack: Stack, minted: Minted, cutter: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    with stack.postgres.connect("warehouse") as revoking, ThreadPoolExecutor(1) as beside:
        with revoking.transaction():
            revoking.execute("SET ROLE openbao_admin")
            revoking.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(minted.role)))
            cut = beside.submit(cutter.execute, "SELECT * FROM drawbridge.cut(%s)", [minted.role])
            until_waiting(revoking, cutter.info.backend_pid)
            revoking.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(minted.role)))
            revoking.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(minted.role)))
        assert cut.result(10).fetchone() == (False, 0)


def until_waiting(connection: "psycopg.Connection[Any]", backend: int) -> None:
    """Until that backend waits for a lock."""
    while connection.execute("SELECT pg_blocking_pids(%s) = '{}'", [backend]).fetchone() == (True,):
        pass


def test_cut_twice_says_that_nothing_was_left(minted: Minted, cutter: "psycopg.Connection[tuple[Any, ...]]") -> None:
    cutter.execute("SELECT drawbridge.cut(%s)", [minted.role])
    assert cutter.execute("SELECT * FROM drawbridge.cut(%s)", [minted.role]).fetchone() == (True, 0)


def test_lease_and_token_can_be_revoked_after_a_cut(
    stack: Stack, control: hvac.Client, minted: Minted, cutter: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    cutter.execute("SELECT drawbridge.cut(%s)", [minted.role])
    post(control, "sys/leases/revoke", lease_id=minted.lease, sync=True)
    post(control, "auth/token/revoke-accessor", accessor=minted.accessor)
    with stack.postgres.connect("warehouse") as connection:
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [minted.role]).fetchone() is None
    with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid accessor"):
        post(control, "auth/token/lookup-accessor", accessor=minted.accessor)


def test_revoking_the_token_alone_ends_role_and_session(
    control: hvac.Client, minted: Minted, cutter: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    with psycopg.connect(minted.login, autocommit=True) as session:
        post(control, "auth/token/revoke-accessor", accessor=minted.accessor)
        # OpenBao answers before it has ended what hangs on the token.
        eventually(lambda: is_dead(session))
    eventually(lambda: cutter.execute("SELECT * FROM drawbridge.cut(%s)", [minted.role]).fetchone() == (False, 0))


def is_dead(session: "psycopg.Connection[tuple[Any, ...]]") -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


@pytest.mark.parametrize(
    "name",
    ["postgres", "openbao_admin", "drawbridge_app", "dbr_", "dbr_" + "0" * 31, "dbr_" + "0" * 33, "dbr_" + "A" * 32,
     "dbr_" + "0" * 32 + "\n", 'dbr_" SUPERUSER; --' + "0" * 12, "", None],
)  # fmt: skip
def test_cut_refuses_a_foreign_name(name: str | None, cutter: "psycopg.Connection[tuple[Any, ...]]") -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="refuses"):
        cutter.execute("SELECT drawbridge.cut(%s)", [name])


def test_cut_of_a_role_that_is_gone_says_so(cutter: "psycopg.Connection[tuple[Any, ...]]") -> None:
    assert cutter.execute("SELECT * FROM drawbridge.cut(%s)", ["dbr_" + "0" * 32]).fetchone() == (False, 0)


def test_cutter_reads_no_table(cutter: "psycopg.Connection[tuple[Any, ...]]") -> None:
    for table in ("customers", "orders", "shipments", "payments"):
        with pytest.raises(psycopg.Error):
            cutter.execute(f"SELECT * FROM public.{table}".encode())  # noqa: S608


def test_minted_role_may_not_cut(minted: Minted) -> None:
    with psycopg.connect(minted.login) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT drawbridge.cut(%s)", [minted.role])


def test_no_password_reaches_the_logs(stack: Stack, minted: Minted) -> None:
    password = minted.login.split(":")[2].split("@")[0]
    logs = [stack.data.log(name).read_text() for name in ("postgres", "openbao", "valkey")]
    logs.append(stack.data.path("openbao", "audit.log").read_text())
    assert [password in log or minted.token in log for log in logs] == [False] * 4
