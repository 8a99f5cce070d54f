"""A real server and a team of its own for each test."""

from collections.abc import Iterator

import httpx
import pytest

from tests import factories
from tests.serving import Agent, server

__all__ = ["server"]


@pytest.fixture
def world(committed: None) -> factories.World:
    return factories.world()


@pytest.fixture
def http(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server}/api/v1", timeout=70, trust_env=False) as client:
        yield client


@pytest.fixture
def agent(http: httpx.Client, world: factories.World) -> Agent:
    return Agent(http, world.key)
