"""Fixtures for all tests. The services are real; only a far end that cannot run here is ever replaced."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from stack import Stack
from tests.plugin import KEY

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Stack:
    """The running services of this test run. A test that stops one starts it again."""
    return pytestconfig.stash[KEY]


@pytest.fixture(scope="session")
def stack_environment(stack: Stack) -> dict[str, str]:
    return stack.environment()


@pytest.fixture(autouse=True, scope="session")
def _quick_passwords() -> None:
    """Hashing a password slowly is the library's job, and tested there."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def django_db_setup(stack_environment: dict[str, str]) -> None:
    """Migrate as the owner; everything after that runs as the application's role, as in production."""
    env = {**os.environ, **stack_environment, "DATABASE_URL": stack_environment["DATABASE_OWNER_URL"]}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=REPOSITORY, env=env, check=True, timeout=120
    )


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The database without a transaction around the test: for what other processes or threads must see.

    Nothing is cleaned up, since nobody can delete from the log: make your own team, and look only at that.
    """
    from django.db import connections

    with django_db_blocker.unblock():
        yield
        connections.close_all()
