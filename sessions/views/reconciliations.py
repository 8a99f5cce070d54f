"""What the far ends said was alive, beside our rows: each comparison, and what was found."""

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from sessions import policy, reconciling
from sessions.models import Reconciliation
from sessions.parties import viewer
from sessions.policy import Viewer
from sessions.views.lookup import PageRequest

MOST = 100


@require_safe
def reconciliation_list(request: PageRequest) -> HttpResponse:
    watcher = _watcher(request)
    context = {
        "runs": Reconciliation.objects.order_by("-started_at")[:MOST],
        "may_run": policy.may_look_up(watcher),
    }
    return render(request, "credentials/reconciliations.html", context)


@require_POST
def reconcile(request: PageRequest) -> HttpResponse:
    """Now, and not at the next round."""
    if not policy.may_look_up(_watcher(request)):
        raise PermissionDenied
    reconciling.run()
    return redirect("reconciliations")


def _watcher(request: PageRequest) -> Viewer:
    """Names of credentials of all teams are on the page: for those who may act on what leaked."""
    watcher = viewer(request.user)
    if not policy.may_see_gateways(watcher) and not watcher.has_anywhere("auditor"):
        raise Http404
    return watcher
