"""How the kill switch did when it tested itself."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from sessions import canary
from sessions.models import CanaryRun, Team
from sessions.parties import viewer
from sessions.views.lookup import PageRequest

MOST = 100


@require_safe
def switch(request: PageRequest) -> HttpResponse:
    if not viewer(request.user).roles:
        raise Http404
    context = {
        "there_is": Team.objects.filter(slug=canary.TEAM).exists(),
        "runs": CanaryRun.objects.order_by("-started_at")[:MOST],
    }
    return render(request, "switch/switch.html", context)
