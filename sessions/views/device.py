"""Where a person brings the code that the runner printed (RFC 8628, section 3.3)."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from sessions.forms import DeviceCode
from sessions.models import AgentSession
from sessions.parties import viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest


@require_safe
def device(request: PageRequest) -> HttpResponse:
    if "user_code" not in request.GET:
        return render(request, "sessions/device.html", {"form": DeviceCode()})
    form = DeviceCode(request.GET)
    if not form.is_valid():
        return render(request, "sessions/device.html", {"form": form}, status=422)
    found = _newest(request, form.cleaned_data["user_code"])
    if found is None:
        form.add_error("user_code", "No request that you may see has this code. Look at the runner's window again.")
        return render(request, "sessions/device.html", {"form": form}, status=404)
    return redirect("session", found.pk)


def _newest(request: PageRequest, user_code: str) -> AgentSession | None:
    """Codes are free again once a request was decided, so the newest session that had it is meant."""
    teams = lookup.teams_of(viewer(request.user))
    return AgentSession.objects.filter(user_code=user_code, team__in=teams).order_by("-id").first()
