"""How the kill switch did when it tested itself."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from sessions import canary
from sessions.models import CanaryRun, Team
from sessions.views import lookup
from sessions.views.lookup import PageRequest

MOST = 100


@require_safe
def switch(request: PageRequest) -> HttpResponse:
    lookup.member(request.user)
    context = {
        "there_is": Team.objects.filter(slug=canary.TEAM).exists(),
        "runs": CanaryRun.objects.order_by("-started_at")[:MOST],
    }
    return render(request, "switch/switch.html", context)
