"""The kill switch: one click, nothing asked before it acts."""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import wait

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from sessions import lifecycle, policy, revoking
from sessions.errors import LifecycleError
from sessions.models import Revocation
from sessions.views import fleet, lookup, session
from sessions.views.fleet import Wanted
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of
from sessions.views.session_list import render_row

PATIENCE_S = 0.4
INSIST_S = 8.0


@require_POST
def kill(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    """Revoking begins in this process as soon as the kill is committed: it needs neither broker nor worker.

    The answer waits a moment for it, so that what it shows is mostly the proof already.
    """
    lookup.demand_session(request.user, session_id)
    refused = None
    try:
        insist(lambda: lifecycle.kill(session_id, by=request.user))
    except LifecycleError as error:
        refused = error
    wait(revoking.start(open_revocations(session_id)), timeout=PATIENCE_S)
    if not request.htmx and refused is None:
        return redirect("session", session_id)
    if not request.htmx:
        return session.page(request, lookup.agent_session(request.user, session_id), refused)
    return HttpResponse(_fragment(request, session_id, refused), status=status_of(refused))


@require_POST
def kill_all(request: PageRequest) -> HttpResponse:
    """Each live session of the fleet, as its address narrows it down; the page then shows how far the proofs are.

    All of several teams is everything: that is ordered, and confirmed by somebody else.
    """
    watcher, wanted = lookup.member(request.user), Wanted.from_query(request.GET.dict())
    ids = fleet.killable(watcher, wanted)
    if not ids and not watcher.has_anywhere("lead", "security", "admin", "requester"):
        raise PermissionDenied
    everything = not wanted.filters and fleet.of_several_teams(ids) and policy.may_order_kill(watcher)
    if everything and not settings.KILL_EVERYTHING_ALONE:
        lifecycle.order_kill(request.user)
        return redirect("credential-list")
    insist(lambda: lifecycle.kill_all(ids, by=request.user))
    revoking.start(open_revocations(*ids))
    return redirect(f"{reverse('fleet')}?{wanted.query}" if wanted.query else "fleet")


def insist(act: Callable[[], object]) -> None:
    """Somebody may hold the session's lock. The database ends whoever holds it for longer than INSIST_S."""
    ends = time.monotonic() + INSIST_S
    while True:
        try:
            act()
        except OperationalError:
            if time.monotonic() > ends:
                raise
        else:
            return


def _fragment(request: PageRequest, session_id: uuid.UUID, refused: LifecycleError | None) -> str:
    """What the button stands in: the session's panel, its lane in the fleet, or its row in a list."""
    token = get_token(request)
    if request.htmx.target == "panel":
        return session.render_panel(session_id, request.user, token, refused)
    if request.htmx.target == fleet.lane_id(session_id):
        return fleet.render_one(request.user, session_id, Wanted.from_url(request.htmx.current_url or ""), token)
    return render_row(request.user, lookup.agent_session(request.user, session_id), token)


def open_revocations(*session_ids: uuid.UUID) -> list[uuid.UUID]:
    still_open = Revocation.objects.filter(credential__agent_session__in=session_ids, proven_at=None, given_up_at=None)
    return list(still_open.values_list("pk", flat=True))
