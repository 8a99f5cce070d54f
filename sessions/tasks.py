"""Celery's entry points: they take ids, and hold no logic."""

from uuid import UUID

from celery import shared_task
from django.conf import settings

from audit.event import now
from sessions import canary as canaries
from sessions import issuing, reconciling, revoking
from sessions import sweep as sweeping
from sessions.providers import registry
from sessions.providers.aws import Aws


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def mint(credential_id: str) -> None:
    issuing.run(UUID(credential_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def revoke(revocation_id: str) -> None:
    revoking.run(UUID(revocation_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def tidy_aws() -> None:
    """Denies of sessions that have ended by themselves make room for others."""
    if settings.AWS_ROLES:
        provider = registry.provider("aws")
        assert isinstance(provider, Aws)
        provider.tidy(now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def canary() -> None:
    canaries.run()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def reconcile() -> None:
    reconciling.run()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def sweep() -> None:
    sweeping.run_once()
