"""A worker's own tick. Beat reaches workers through Valkey only, and a kill must not need Valkey."""

import threading
from typing import Any

import structlog
from celery import bootsteps
from django.db import DatabaseError, close_old_connections

logger = structlog.get_logger()

TICK_S = 1.0


class Ticker(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Sweeps each TICK_S in a thread of the worker, whatever its connection to the broker does."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **options: Any) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self, worker: Any) -> None:
        self._thread.start()

    def stop(self, worker: Any) -> None:
        self._stopped.set()

    def _run(self) -> None:
        from sessions import sweep

        while not self._stopped.wait(TICK_S):
            try:
                sweep.run_once()
            except DatabaseError as error:
                logger.warning("sweep_failed", error=str(error))
            finally:
                close_old_connections()
