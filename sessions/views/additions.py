"""More for a session that runs: what it was refused, what it asks for, and the decision."""

import uuid

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from audit import canonical
from audit.models import Event
from sessions import lifecycle, policy, words
from sessions.errors import LifecycleError
from sessions.forms import Decide, Deny
from sessions.models import Addition, AgentSession
from sessions.models.additions import AdditionState
from sessions.panel import More
from sessions.parties import viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of

MOST_REFUSED = 20


@require_safe
def more(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    return _page(request, lookup.agent_session(request.user, session_id))


@require_POST
def approve(request: PageRequest, session_id: uuid.UUID, number: int) -> HttpResponse:
    agent_session, addition = _found(request, session_id, number)
    form = Decide(request.POST)
    if not form.is_valid():
        return _page(request, agent_session, status=422)
    try:
        lifecycle.approve_addition(addition.pk, request.user, form.cleaned_data["grant_hash"])
    except LifecycleError as error:
        return _page(request, agent_session, error)
    return redirect("session-more", session_id)


@require_POST
def deny(request: PageRequest, session_id: uuid.UUID, number: int) -> HttpResponse:
    agent_session, addition = _found(request, session_id, number)
    form = Deny(request.POST)
    if not form.is_valid():
        return _page(request, agent_session, status=422)
    try:
        lifecycle.deny_addition(addition.pk, request.user, form.cleaned_data["grant_hash"], form.cleaned_data["reason"])
    except LifecycleError as error:
        return _page(request, agent_session, error)
    return redirect("session-more", session_id)


def _found(request: PageRequest, session_id: uuid.UUID, number: int) -> tuple[AgentSession, Addition]:
    agent_session = lookup.agent_session(request.user, session_id)
    addition = Addition.objects.filter(agent_session=session_id, number=number).first()
    if addition is None:
        raise Http404
    return agent_session, addition


def _page(
    request: PageRequest, agent_session: AgentSession, error: LifecycleError | None = None, status: int | None = None
) -> HttpResponse:
    watcher = viewer(request.user)
    additions = [More.of(one) for one in agent_session.additions.select_related("decided_by").order_by("-number")]
    context = {
        "agent_session": agent_session,
        "grant": words.of_grant(agent_session.grant.content),
        "open": [one for one in additions if one.addition.state == AdditionState.REQUESTED],
        "decided": [one for one in additions if one.addition.state != AdditionState.REQUESTED],
        "refused": _refused(agent_session),
        "may_approve": policy.may_decide(watcher, agent_session.team_id, agent_session.person_id),
        "may_deny": policy.may_deny(watcher, agent_session.team_id, agent_session.person_id),
        "error": error,
    }
    return render(request, "sessions/more.html", context, status=status or status_of(error))


def _refused(agent_session: AgentSession) -> list[dict[str, object]]:
    """What gateways refused it lately, each place once, the newest first."""
    rows = Event.objects.filter(stream=agent_session.pk, kind="egress.denied").order_by("-seq")
    places: dict[tuple[object, ...], dict[str, object]] = {}
    for body in rows.values_list("body", flat=True)[: MOST_REFUSED * 10]:
        data = canonical.loads(bytes(body))["data"]
        key = tuple(data.get(name) for name in ("host", "port", "method", "path"))
        places.setdefault(key, {**data, "count": 0})["count"] += 1  # type: ignore[operator]
    return list(places.values())[:MOST_REFUSED]
