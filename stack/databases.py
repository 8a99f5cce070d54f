"""Databases and roles of the local cluster, brought to what this version wants. Every step may be repeated."""

from importlib.resources import files
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from stack.postgres import Postgres, password_name

Connection = psycopg.Connection[tuple[Any, ...]]

CONTROL = "drawbridge"
OWNER = "drawbridge_owner"
APP = "drawbridge_app"
WAREHOUSE = "warehouse"
WAREHOUSE_OWNER = "warehouse_owner"
ADMIN = "openbao_admin"
CUTTER = "drawbridge_cutter"
INTEGRATOR = "drawbridge_integrator"
# Who may log in, and with which attributes; nobody here is a superuser.
LOGINS: dict[str, LiteralString] = {
    OWNER: "NOCREATEDB NOCREATEROLE",
    APP: "NOCREATEDB NOCREATEROLE",
    INTEGRATOR: "NOCREATEDB NOCREATEROLE",
    ADMIN: "NOCREATEDB CREATEROLE",
    CUTTER: "NOCREATEDB NOCREATEROLE",
}


def provision_databases(postgres: Postgres, for_tests: bool = False) -> None:
    """Make or mend roles, databases, rights and the rehearsal's tables.

    With `for_tests` the owner may make databases, and each new one gives the app role the same rights.
    """
    with postgres.connect("postgres") as connection:
        for role, attributes in LOGINS.items():
            make_login(connection, role, attributes, postgres.data.secret_text(password_name(role)))
        make_group(connection, WAREHOUSE_OWNER)
        make_database(connection, CONTROL, OWNER)
        make_database(connection, WAREHOUSE, WAREHOUSE_OWNER)
        # In a database that it may enter, a minted role can own large objects, and then it cannot be dropped.
        connection.execute("REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC")
        if for_tests:
            connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(OWNER)))
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE postgres TO {}").format(sql.Identifier(OWNER)))
    run_script(postgres, CONTROL, "control.sql")
    if for_tests:
        run_script(postgres, "template1", "control.sql")
    provision_warehouse(postgres)


def make_login(connection: Connection, role: str, attributes: LiteralString, password: str) -> None:
    """A role with a password. The server sees only the password's SCRAM verifier."""
    make_group(connection, role)
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER {} PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.SQL(attributes), sql.Literal(verifier)))


def make_group(connection: Connection, role: str) -> None:
    """A role that cannot log in, unless it is there."""
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))


def make_database(connection: Connection, name: str, owner: str) -> None:
    """A database, unless it is there."""
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(owner)))


def run_script(postgres: Postgres, database: str, script: str) -> None:
    """Run one of our SQL files as superuser; `{database}` in it is the database's name."""
    with postgres.connect(database) as connection, connection.transaction():
        connection.execute(script_text(script).replace("{database}", database).encode())


def script_text(script: str) -> str:
    """The text of one of our SQL files."""
    return files("stack").joinpath("sql", script).read_text()


def provision_warehouse(postgres: Postgres) -> None:
    """Make and fill the rehearsal's tables once, and mend the rights on them each time."""
    with postgres.connect(WAREHOUSE) as connection, connection.transaction():
        if connection.execute("SELECT to_regclass('public.payments')").fetchone() == (None,):
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(WAREHOUSE_OWNER)))
            connection.execute(script_text("warehouse_tables.sql").encode())
            connection.execute("RESET ROLE")
        connection.execute(script_text("warehouse_rights.sql").encode())
