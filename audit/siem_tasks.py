"""Celery's entry point for the SIEM: it holds no logic."""

import time

from celery import shared_task

from audit import siem

# A run ends before the next one begins; what is left is the next one's.
LONGEST_S = 20.0


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def deliver() -> None:
    ends = time.monotonic() + LONGEST_S
    while siem.deliver_once() and time.monotonic() < ends:
        pass
