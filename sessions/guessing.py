"""What slows down whoever guesses passwords. Failures are rows, so that all web processes count together.

Ten failures for one person from one address close that pair for a quarter of an hour. Many for one person, from
wherever, close all addresses from which that person never signed in: guessing from a thousand addresses ends, and
nobody is kept out at a place that is theirs. What is refused meanwhile does not count, and so prolongs nothing.
"""

from collections.abc import Mapping
from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt, AccessLog
from django.db.models import Sum
from django.http import HttpRequest

MOST_FROM_ANYWHERE = 50


def name_tried(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Whose password was tried, as the address is stored."""
    given = credentials or {}
    tried = given.get("email") or given.get("username") or request.POST.get("login", "")
    return str(tried).replace("\0", "").strip().lower()[:255]


class Handler(AxesDatabaseHandler):  # type: ignore[misc]
    """Axes, which counts for a person at an address, and a second count for the person alone."""

    def is_locked(self, request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> bool:
        return super().is_locked(request, credentials) or self._guessed_at(request, name_tried(request, credentials))

    def _guessed_at(self, request: Any, name: str) -> bool:
        lately = AccessAttempt.objects.filter(username=name, attempt_time__gte=get_cool_off_threshold(request))
        failures = lately.aggregate(failures=Sum("failures_since_start"))["failures"] or 0
        if failures < MOST_FROM_ANYWHERE:
            return False
        return not AccessLog.objects.filter(username=name, ip_address=request.axes_ip_address).exists()
