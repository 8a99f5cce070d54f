"""Gateways: which there are, whether their lease lasts, and what passes through each."""

import uuid
from collections.abc import Callable

from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from audit.event import now
from sessions import lifecycle, policy
from sessions.errors import LifecycleError
from sessions.models import Gateway
from sessions.models.runs import State
from sessions.parties import viewer
from sessions.policy import Verdict, Viewer
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of

# A hold that is open, of a session that goes on.
PASSING = Q(cuts__acknowledged_at=None, cuts__lapsed_at=None, cuts__agent_session__state=State.ACTIVE)


@require_safe
def gateway_list(request: PageRequest) -> HttpResponse:
    return _page(request)


@require_POST
def retire(request: PageRequest, gateway_id: uuid.UUID) -> HttpResponse:
    _demand_sight(request)
    get_object_or_404(Gateway, pk=gateway_id)
    try:
        lifecycle.retire_gateway(gateway_id, request.user)
    except LifecycleError as error:
        return _page(request, error)
    return redirect("gateway-list")


def _page(request: PageRequest, error: LifecycleError | None = None) -> HttpResponse:
    watcher = _demand_sight(request)
    at = now()
    may_retire: Callable[[Viewer], Verdict] = policy.may_retire_gateway
    rows = Gateway.objects.annotate(passing=Count("cuts", filter=PASSING)).order_by("retired_at", "name")
    context = {
        "gateways": [(one, one.lease_until is not None and one.lease_until > at) for one in rows],
        "may_retire": may_retire(watcher),
        "error": error,
    }
    return render(request, "gateways/gateway_list.html", context, status=status_of(error))


def _demand_sight(request: PageRequest) -> Viewer:
    watcher = viewer(request.user)
    if not policy.may_see_gateways(watcher):
        raise Http404
    return watcher
