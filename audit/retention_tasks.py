"""Celery's entry point of retention: it holds no logic."""

import structlog
from celery import shared_task

from audit import retention

logger = structlog.get_logger()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def prune_log() -> None:
    """For a worker with the integrator's DATABASE_URL: no other role may prune."""
    pruned = retention.prune()
    logger.info("log_pruned", entries=pruned)
