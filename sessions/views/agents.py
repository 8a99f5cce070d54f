"""Agents and their keys."""

import uuid

from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sessions import lifecycle, policy
from sessions.errors import LifecycleError
from sessions.forms import RegisterAgent
from sessions.lifecycle.verifications import newest
from sessions.models import Agent, AgentKey
from sessions.models.agents import Framework
from sessions.parties import viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of
from sessions.views.session_list import rows_of

RECENT = 10


@require_safe
def agent_list(request: PageRequest) -> HttpResponse:
    watcher = viewer(request.user)
    agents = Agent.objects.filter(team__in=lookup.teams_of(watcher)).select_related("team", "owner")
    may_register = lookup.teams(watcher, policy.may_register_agent).exists()
    context = {"agents": agents.order_by("team__name", "name"), "may_register": may_register}
    return render(request, "agents/agent_list.html", context)


@require_safe
def agent(request: PageRequest, agent_id: uuid.UUID) -> HttpResponse:
    return _page(request, lookup.agent(request.user, agent_id))


@require_http_methods(["GET", "HEAD", "POST"])
def register(request: PageRequest) -> HttpResponse:
    teams = lookup.teams(viewer(request.user), policy.may_register_agent)
    form = RegisterAgent(teams, request.POST or None)
    if not form.is_valid():
        return render(request, "agents/register.html", {"form": form}, status=422 if form.is_bound else 200)
    made = form.cleaned_data
    try:
        new = lifecycle.register_agent(made["team"], request.user, made["name"], Framework(made["framework"]))
    except LifecycleError as error:
        return render(request, "agents/register.html", {"form": form, "error": error}, status=status_of(error))
    return redirect("agent", new.pk)


@require_POST
@never_cache
def issue_key(request: PageRequest, agent_id: uuid.UUID) -> HttpResponse:
    """The only page that ever shows this key."""
    found = lookup.agent(request.user, agent_id)
    try:
        _, key = lifecycle.issue_agent_key(found, request.user)
    except LifecycleError as error:
        return _page(request, found, error)
    return _page(request, found, new_key=key)


@require_POST
def revoke_key(request: PageRequest, agent_id: uuid.UUID, key_id: uuid.UUID) -> HttpResponse:
    found = lookup.agent(request.user, agent_id)
    get_object_or_404(AgentKey, pk=key_id, agent=found)
    try:
        lifecycle.revoke_agent_key(key_id, request.user)
    except LifecycleError as error:
        return _page(request, found, error)
    return redirect("agent", agent_id)


def _page(request: PageRequest, found: Agent, error: LifecycleError | None = None, new_key: str = "") -> HttpResponse:
    watcher = viewer(request.user)
    recent = lookup.with_names().filter(agent=found).order_by("-id")[:RECENT]
    context = {
        "agent": found,
        "keys": found.keys.select_related("created_by", "revoked_by").order_by("-created_at"),
        "new_key": new_key,
        "verification": newest(found),
        "may_manage": policy.may_manage_agent(watcher, found.team_id, found.owner_id),
        "may_revoke": policy.may_revoke_key(watcher, found.team_id, found.owner_id),
        "rows": rows_of(watcher, recent),
        "csrf_token": get_token(request),
        "error": error,
    }
    return render(request, "agents/agent.html", context, status=status_of(error))
