"""How old the long-lived secrets of a session are. Apart from its page: a far end that is slow must hold nobody up."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from audit import canonical
from audit.event import now
from sessions.providers import registry
from sessions.providers.contract import CredentialError, Details
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.words import span

# Pages that people leave open ask again with each change.
KEPT_S = 60


@dataclass(frozen=True)
class Age:
    """Of the version that a session would get; or why that is not known."""

    slot: str
    since: datetime | None = None
    problem: str = ""

    @classmethod
    def of(cls, slot: str, found: datetime | CredentialError) -> "Age":
        if isinstance(found, CredentialError):
            return cls(slot, problem=str(found))
        return cls(slot, since=found)

    @property
    def span(self) -> str:
        return span((now() - self.since).total_seconds()) if self.since else ""


@require_safe
def ages(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    details = lookup.agent_session(request.user, session_id).grant.content["authorization_details"]
    key = f"ages-{canonical.sha256(canonical.dumps(details))}"
    found = cache.get_or_set(key, lambda: _asked(details), KEPT_S)
    return render(request, "sessions/_ages.html", {"ages": found})


def _asked(details: Sequence[Details]) -> list[Age]:
    try:
        return [Age.of(slot, found) for slot, found in registry.ages_of(details)]
    except CredentialError:
        # What was taken out of the settings must not make old sessions unreadable.
        return []
