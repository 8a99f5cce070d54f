"""Celery's entry points for evidence files: they take ids, and hold no logic."""

from uuid import UUID

from celery import shared_task

from sessions import exporting, exports


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def make(export_id: str) -> None:
    exporting.run(UUID(export_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def tidy() -> None:
    exports.tidy()
