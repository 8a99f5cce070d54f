"""What a minted credential may do: exactly what was approved."""

import psycopg
import pytest
from psycopg import errors

READ_WRITE_SHIPMENTS = {
    "type": "postgresql",
    "locations": ["postgresql://warehouse/public.shipments"],
    "actions": ["read", "write"],
    "limits": {"connections": 1},
}
DELETE_SHIPMENTS = {**READ_WRITE_SHIPMENTS, "actions": ["delete"], "limits": {"connections": 3}}
ADD_SHIPMENT = """INSERT INTO shipments (order_id, carrier, tracking_code, status)
    VALUES (1, 'Northway', gen_random_uuid()::text, 'waiting') RETURNING id"""


def test_read_reads_the_table_it_names(ground):
    held, _ = ground.mint()
    with ground.connect(held) as agent:
        assert agent.execute("SELECT count(*) FROM orders").fetchone() == (400,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM payments",
        "SELECT * FROM customers",
        "INSERT INTO orders (customer_id, status, total_cents) VALUES (1, 'placed', 1)",
        "UPDATE orders SET note = 'x'",
        "DELETE FROM orders",
        "TRUNCATE orders",
        "COPY orders TO PROGRAM 'true'",
        "CREATE TABLE mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SELECT drawbridge.cut('dbr_00000000000000000000000000000000')",
        "SET ROLE openbao_admin",
        "SET ROLE warehouse_owner",
        "ALTER ROLE CURRENT_USER CONNECTION LIMIT 50",
        "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
        "ALTER ROLE CURRENT_USER CREATEROLE",
        "GRANT openbao_admin TO CURRENT_USER",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'openbao_admin'",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_read_on_orders_refuses_everything_else(ground, held_read, statement):
    with ground.connect(held_read) as agent, pytest.raises(errors.InsufficientPrivilege):
        agent.execute(statement)


@pytest.fixture(scope="module")
def held_read(ground):
    held, _ = ground.mint()
    return held


@pytest.mark.parametrize("whom", ["PUBLIC", "drawbridge_cutter"])
def test_what_it_has_cannot_be_given_to_others(ground, held_read, whom):
    with ground.connect(held_read) as agent:
        agent.execute(f"GRANT SELECT ON orders TO {whom}")
    with ground.stack.postgres.connect("warehouse") as superuser:
        given = superuser.execute("SELECT has_table_privilege('drawbridge_cutter', 'orders', 'SELECT')").fetchone()
    assert given == (False,)


def test_no_other_database_of_the_server_lets_it_in(ground, held_read):
    with ground.stack.postgres.connect("postgres") as superuser:
        rows = superuser.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
    others = {name for (name,) in rows} - {"warehouse"}
    assert {"postgres", "template1", "drawbridge"} <= others
    for name in others:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            ground.connect(held_read, name)


def test_two_objects_of_one_database_are_one_credential_with_both(ground):
    held, _ = ground.mint(READ_WRITE_SHIPMENTS, DELETE_SHIPMENTS)
    with ground.connect(held) as agent:
        (made,) = agent.execute(ADD_SHIPMENT).fetchone()
        assert agent.execute("UPDATE shipments SET status = 'delayed' WHERE id = %s", [made]).rowcount == 1
        assert agent.execute("DELETE FROM shipments WHERE id = %s", [made]).rowcount == 1


def test_write_without_delete_does_not_delete(ground):
    held, _ = ground.mint(READ_WRITE_SHIPMENTS)
    with ground.connect(held) as agent, pytest.raises(errors.InsufficientPrivilege):
        agent.execute("DELETE FROM shipments")


def test_connections_beyond_the_smallest_limit_are_refused(ground):
    held, _ = ground.mint(READ_WRITE_SHIPMENTS, DELETE_SHIPMENTS)
    with ground.connect(held), pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        ground.connect(held)


def test_the_token_reads_its_one_credential_and_nothing_more(ground, monkeypatch):
    tokens = []
    create = ground.api.create_token
    monkeypatch.setattr(ground.api, "create_token", lambda fields: tokens.append(create(fields)) or tokens[0])
    held, _ = ground.mint()
    token = ground.api.token_of(held.handle["accessor"])
    assert token["policies"] == [f"drawbridge-session-{held.name}"]
    assert (token["orphan"], token["renewable"], token["explicit_max_ttl"]) == (True, False, 900)
    assert token["meta"] == {"agent_session": "s-1", "grant": "g-1", "credential": held.name}
    assert "client_token" not in held.handle
    assert tokens[0]["client_token"] not in repr(held)
