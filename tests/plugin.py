"""Starts the real PostgreSQL, Valkey and OpenBao that the tests run against, before Django reads its settings."""

import os
from collections.abc import Generator
from contextlib import ExitStack

import pytest

from stack import Stack

KEY = pytest.StashKey[Stack]()
_resources = ExitStack()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    stack = _resources.enter_context(Stack.temporary())
    early_config.stash[KEY] = stack
    os.environ.update(stack.environment())
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's driver leaves an event loop running in this thread, which tests of asyncio cannot have."""
    items.sort(key=lambda item: "tests/e2e/" in item.nodeid)


def pytest_unconfigure() -> None:
    _resources.close()
