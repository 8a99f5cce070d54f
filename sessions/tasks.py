"""Celery's entry points: they take ids, and hold no logic."""

from uuid import UUID

from celery import shared_task

from sessions import issuing, revoking
from sessions import sweep as sweeping


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def mint(credential_id: str) -> None:
    issuing.run(UUID(credential_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def revoke(revocation_id: str) -> None:
    revoking.run(UUID(revocation_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def sweep() -> None:
    sweeping.run_once()
