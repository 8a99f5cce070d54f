"""What the battery has to know of the providers that have far ends of their own: PostgreSQL, AWS."""

import json
from contextlib import ExitStack, nullcontext
from pathlib import Path

import httpx
import psycopg
import pytest

from sessions.providers import aws_policy
from sessions.providers.aws import Aws
from sessions.providers.aws_api import AwsApi, Role
from sessions.providers.cutter import targets_of
from sessions.providers.openbao import OpenBao
from sessions.providers.openbao_api import OpenBaoApi
from stack import Stack
from tests.sessions.providers import faulty, programs
from tests.sessions.providers.aws_far_end import ACCOUNT, ROLE
from tests.sessions.providers.case import TIMEOUT_S, Case, Secret
from tests.sessions.providers.engines import Engines

FILES = ("OPENBAO_ROLE_ID_FILE", "OPENBAO_SECRET_ID_FILE", "TARGETS_FILE")
REACHED = ("host", "port", "dbname", "password")
REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidAuthorizationSpecification)


def postgresql(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    """The proxy stands before OpenBao; what cuts asks PostgreSQL itself."""
    running = stack.enter_context(Stack.temporary())
    env = {key: Path(value).read_text().strip() for key, value in running.environment().items() if key in FILES}
    far = stack.enter_context(faulty.before(running.environment()["OPENBAO_ADDR"]))
    api = OpenBaoApi(far.url, env["OPENBAO_ROLE_ID_FILE"], env["OPENBAO_SECRET_ID_FILE"], TIMEOUT_S)

    def allowed(secret: Secret, sql: str) -> bool:
        try:
            with psycopg.connect(user=secret["username"], **{key: secret[key] for key in REACHED}) as agent:
                agent.execute(sql)
        except REFUSED:
            return False
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error) or "not permitted to log in" in str(error):
                return False
            raise
        return True

    def alive(credential: str) -> int:
        with running.postgres.connect("warehouse") as superuser:
            query = "SELECT 1 FROM pg_roles WHERE rolname = %s AND rolcanlogin"
            return len(superuser.execute(query, [credential]).fetchall())

    return Case(
        name,
        OpenBao(api, targets_of(json.loads(env["TARGETS_FILE"]))),
        far,
        [{"type": "postgresql", "locations": ["postgresql://warehouse/public.orders"], "actions": ["read"]}],
        inside=lambda secret: allowed(secret, "SELECT * FROM public.orders LIMIT 1"),
        outside=lambda secret: (
            allowed(secret, "DELETE FROM public.orders")
            or allowed(secret, "SELECT * FROM public.shipments")
            or allowed(secret, "CREATE TABLE public.mine (id int)")
            or allowed(secret, "CREATE ROLE other")
        ),
        alive=alive,
        past=frozenset({"cut", "login", "session"}),
    )


def aws(name: str, found: Engines, folder: Path, stack: ExitStack) -> Case:
    """One that was lost is denied by its name, but nobody can try it: it is never called revoked."""
    monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWORKERWORKER0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "worker")
    url, _ = stack.enter_context(programs.running("aws_far_end"))
    far = stack.enter_context(faulty.before(url))
    role = Role(f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", "eu-central-1")
    api, direct = AwsApi(role, TIMEOUT_S, far.url), AwsApi(role, 5, url)
    details = {"type": "aws", "locations": ["aws:reports/arn:aws:s3:::reports/*"], "actions": ["s3:GetObject"]}
    approved = [("s3:GetObject", "arn:aws:s3:::reports/*"), (aws_policy.PROBE_ACTION, "*")]

    def sessions() -> list[dict[str, str]]:
        rows: list[dict[str, str]] = httpx.get(f"{url}/sessions", trust_env=False).json()
        return rows

    def beyond(secret: Secret) -> bool:
        """Read in the policy that AWS got: moto enforces none."""
        (policy,) = [json.loads(row["policy"]) for row in sessions() if row["key"] == secret["access_key_id"]]
        given = [
            (action, resource)
            for one in policy["Statement"]
            for action in several(one["Action"])
            for resource in several(one["Resource"])
        ]
        return given != approved

    return Case(
        name,
        Aws("aws", "aws", {"reports": api}, lambda _: nullcontext()),
        far,
        [details],
        inside=lambda secret: direct.probe(secret) == "allowed",
        outside=beyond,
        alive=lambda credential: sum(row["name"] == credential and not row["denied"] for row in sessions()),
        by_name=False,
        attempts=2,
    )


def several(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
