"""Celery's entry points: they hold no logic."""

import structlog
from celery import shared_task
from django.conf import settings

from audit import archiving

logger = structlog.get_logger()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def archive_segments() -> None:
    if not settings.ARCHIVE_STORE:
        return
    try:
        archiving.archive_closed()
    except archiving.BusyError as error:  # the last hour's run, or somebody's command, is still at it
        logger.info("archiving_skipped", why=str(error))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def check_archive() -> None:
    if settings.ARCHIVE_STORE:
        archiving.check_archive()
