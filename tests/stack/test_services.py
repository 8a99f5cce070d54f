"""Services that are stopped or killed come back with their data, and OpenBao unseals itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stack import Stack


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A stack that these tests may break."""
    with Stack.temporary() as stack:
        yield stack


def log_in(stack: Stack) -> hvac.Client:
    env = stack.environment()
    client = hvac.Client(url=env["OPENBAO_ADDR"])
    role_id, secret_id = (Path(env[name]).read_text() for name in ("OPENBAO_ROLE_ID_FILE", "OPENBAO_SECRET_ID_FILE"))
    client.auth.approle.login(role_id, secret_id)
    return client


def post(client: hvac.Client, path: str, **fields: object) -> Any:
    return client.adapter.post(f"/v1/{path}", json=fields)


def test_openbao_unseals_itself_after_a_restart_and_keeps_what_it_knew(own: Stack) -> None:
    rule = 'path "nothing" { capabilities = ["read"] }'
    post(log_in(own), "sys/policies/acl/drawbridge-session-kept", policy=rule)
    own.restart("openbao")
    assert own.openbao.client().sys.is_sealed() is False
    assert "drawbridge-session-kept" in log_in(own).sys.list_acl_policies()["data"]["keys"]


def test_openbao_comes_back_after_kill_9(own: Stack) -> None:
    own.kill("openbao")
    with pytest.raises(OSError, match="refused"):
        log_in(own)
    own.start("openbao")
    assert log_in(own).is_authenticated()


def test_postgres_keeps_committed_rows_through_kill_9(own: Stack) -> None:
    with own.postgres.connect("warehouse") as connection:
        connection.execute("UPDATE orders SET note = 'survives' WHERE id = 7")
        own.kill("postgres")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    own.start("postgres")
    with own.postgres.connect("warehouse") as connection:
        assert connection.execute("SELECT note FROM orders WHERE id = 7").fetchone() == ("survives",)


def test_valkey_stops_and_comes_back_on_its_port(own: Stack) -> None:
    own.stop("valkey")
    with redis.Redis.from_url(own.environment()["VALKEY_URL"], retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own.start("valkey")
        assert client.ping() is True


def test_second_start_finds_ports_secrets_and_data(data_folder: Path) -> None:
    with Stack(data_folder, for_tests=True) as first:
        before = first.environment()
        with first.postgres.connect("warehouse") as connection:
            connection.execute("DELETE FROM payments WHERE id > 10")
    with Stack(data_folder, for_tests=True) as second:
        assert second.environment() == before
        assert log_in(second).is_authenticated()
        with second.postgres.connect("warehouse") as connection:
            assert connection.execute("SELECT count(*) FROM payments").fetchone() == (10,)


def test_another_postgres_port_reaches_openbao(data_folder: Path) -> None:
    with Stack(data_folder, for_tests=True) as first:
        ports = {**first.ports, "postgres": first.ports["postgres"] + 1}
    with Stack(data_folder, ports, for_tests=True) as second:
        role, control = f"dbr_{'1' * 32}", log_in(second)
        statements = ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"]
        post(control, f"database/roles/{role}", db_name="warehouse", creation_statements=statements)
        rule = f'path "database/creds/{role}" {{ capabilities = ["read"] }}'
        post(control, "sys/policies/acl/drawbridge-session-moved", policy=rule)
        token = post(control, "auth/token/create/drawbridge-session", policies=["drawbridge-session-moved"])
        session = hvac.Client(url=control.url, token=token["auth"]["client_token"])
        assert session.read(f"database/creds/{role}")["data"]["username"] == role
