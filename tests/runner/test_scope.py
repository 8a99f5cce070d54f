"""What the rehearsal agent tries: its work is within its scope, and its strays are refused by PostgreSQL itself."""

from contextlib import closing
from typing import Any

import httpx
import psycopg
import pytest

from runner.client import Client
from runner.rehearsal_work import OUT_OF_SCOPE, WORK, Statement, connected
from runner.shapes import Credential
from tests.serving import Agent


@pytest.fixture
def credential(server: str, world) -> Credential:
    with httpx.Client(base_url=f"{server}/api/v1", trust_env=False, timeout=60) as http:
        agent = Agent(http, world.key).begin()
        with closing(Client(server)) as client:
            [one] = client.credentials(agent.token, agent.session_id)
    return one


@pytest.mark.parametrize("statement", WORK, ids=lambda statement: statement.sql[:30])
def test_its_work_is_within_its_scope(credential: Credential, statement: Statement) -> None:
    with closing(logged_in(credential)) as opened:
        assert opened.execute(statement.sql, statement.values()).rowcount >= 0


@pytest.mark.parametrize("statement", OUT_OF_SCOPE, ids=lambda statement: statement.sql[:30])
def test_its_strays_are_refused(credential: Credential, statement: Statement) -> None:
    with closing(logged_in(credential)) as opened, pytest.raises(psycopg.errors.InsufficientPrivilege):
        opened.execute(statement.sql, statement.values())


def logged_in(credential: Credential) -> "psycopg.Connection[Any]":
    secret = credential.secret
    place = {name: secret[name] for name in ("host", "port", "dbname", "password")}
    return connected(**place, user=secret["username"])
