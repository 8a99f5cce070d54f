"""Where endpoints do their database work: a few threads, each of which gives its connection back after each piece."""

from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

P = ParamSpec("P")
R = TypeVar("R")

# Fewer than the connections of the pool in settings, so that pages always find one.
THREADS = 12
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")


def in_thread(work: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """An awaitable version of something that uses the database. No connection is held after it."""

    @wraps(work)
    def worked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return sync_to_async(worked, thread_sensitive=False, executor=_threads)
