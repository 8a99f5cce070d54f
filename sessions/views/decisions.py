"""Approving, approving less, denying and withdrawing. The page is shown again, as it was filled in, where it fails."""

import uuid

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from sessions import lifecycle, policy
from sessions.errors import LifecycleError
from sessions.forms import ApproveLess, Decide, Deny
from sessions.lifecycle.changes import demand
from sessions.parties import viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.session import page


@require_POST
def approve(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    lookup.demand_session(request.user, session_id)
    form = Decide(request.POST)
    if not form.is_valid():
        return page(request, lookup.agent_session(request.user, session_id), status=422)
    try:
        lifecycle.approve(session_id, request.user, form.cleaned_data["grant_hash"])
    except LifecycleError as error:
        return page(request, lookup.agent_session(request.user, session_id), error)
    return redirect("session", session_id)


@require_POST
def approve_less(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    agent_session = lookup.agent_session(request.user, session_id)
    form = ApproveLess(agent_session.grant.content, request.POST)
    if not form.is_valid():
        return page(request, agent_session, less=form, status=422)
    try:
        lifecycle.approve(session_id, request.user, form.cleaned_data["grant_hash"], form.narrower())
    except LifecycleError as error:
        return page(request, agent_session, error, less=form)
    return redirect("session", session_id)


@require_POST
def deny(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    agent_session = lookup.agent_session(request.user, session_id)
    form = Deny(request.POST)
    if not form.is_valid():
        return page(request, agent_session, deny=form, status=422)
    try:
        lifecycle.deny(session_id, request.user, form.cleaned_data["grant_hash"], form.cleaned_data["reason"])
    except LifecycleError as error:
        return page(request, agent_session, error, deny=form)
    return redirect("session", session_id)


@require_POST
def withdraw(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    agent_session = lookup.agent_session(request.user, session_id)
    try:
        demand(policy.may_withdraw(viewer(request.user), agent_session.person_id))
        lifecycle.withdraw(session_id, request.user.reference)
    except LifecycleError as error:
        return page(request, agent_session, error)
    return redirect("session", session_id)
