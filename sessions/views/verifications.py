"""What the probes said of an agent's sandbox, probe by probe."""

import uuid

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from sessions.views import lookup
from sessions.views.lookup import PageRequest

MOST_EARLIER = 20
OUTCOMES = ("crossed", "invalid", "skipped", "held")


@require_safe
def verification(request: PageRequest, agent_id: uuid.UUID) -> HttpResponse:
    """The newest one, or ?run=ID; ?show=crossed leaves only those."""
    agent = lookup.agent(request.user, agent_id)
    runs = agent.verifications.order_by("-reported_at")
    wanted = request.GET.get("run", "")
    shown = next((one for one in runs[:MOST_EARLIER] if str(one.pk) == wanted), None) or runs.first()
    only = request.GET.get("show", "")
    probes = [] if shown is None else sorted(shown.report, key=lambda one: OUTCOMES.index(one["outcome"]))
    context = {
        "agent": agent,
        "shown": shown,
        "probes": [one for one in probes if only not in OUTCOMES or one["outcome"] == only],
        "only": only if only in OUTCOMES else "",
        "runs": runs.defer("report")[:MOST_EARLIER],
    }
    return render(request, "agents/verification.html", context)
