"""Profiles, their versions, and what changed between two of them."""

import uuid
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sessions import lifecycle, policy, versions, words
from sessions.errors import LifecycleError
from sessions.forms import CreateProfile, ProposeVersion
from sessions.models import Profile, ProfileVersion
from sessions.parties import viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of

FIRST = {
    "summary": "What this profile is for, in a sentence.",
    "authorization_details": [
        {
            "type": "postgresql",
            "locations": ["postgresql://warehouse/public.orders"],
            "actions": ["read"],
            "limits": {"connections": 4},
        }
    ],
    "limits": {"duration": 3600, "credential_ttl": 900, "decide_within": 3600},
    "on_suspend": "revoke",
    "sandbox": "required",
    "on_finding": "note",
}


@require_safe
def profile_list(request: PageRequest) -> HttpResponse:
    watcher = viewer(request.user)
    profiles = Profile.objects.filter(team__in=lookup.teams_of(watcher)).select_related("team")
    context = {
        "profiles": profiles.prefetch_related("versions").order_by("team__name", "name"),
        "may_create": lookup.teams(watcher, policy.may_propose_profile).exists(),
    }
    return render(request, "profiles/profile_list.html", context)


@require_safe
def profile(request: PageRequest, profile_id: uuid.UUID) -> HttpResponse:
    return _page(request, lookup.profile(request.user, profile_id))


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: PageRequest) -> HttpResponse:
    teams = lookup.teams(viewer(request.user), policy.may_propose_profile)
    form = CreateProfile(teams, request.POST or None)
    if not form.is_valid():
        return render(request, "profiles/create.html", {"form": form}, status=422 if form.is_bound else 200)
    made = form.cleaned_data
    try:
        new = lifecycle.create_profile(made["team"], made["slug"], made["name"], request.user)
    except LifecycleError as error:
        return render(request, "profiles/create.html", {"form": form, "error": error}, status=status_of(error))
    return redirect("profile-propose", new.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def propose(request: PageRequest, profile_id: uuid.UUID) -> HttpResponse:
    found = lookup.profile(request.user, profile_id)
    newest = found.versions.first()
    content = newest.content if newest else FIRST
    form = ProposeVersion(request.POST or None, initial={"content": versions.pretty(content)})
    context: dict[str, Any] = {"profile": found, "form": form}
    context["may_propose"] = policy.may_propose_profile(viewer(request.user), found.team_id)
    if not form.is_valid():
        return render(request, "profiles/propose.html", context, status=422 if form.is_bound else 200)
    try:
        lifecycle.propose_profile_version(found, form.cleaned_data["content"], request.user)
    except LifecycleError as error:
        return render(request, "profiles/propose.html", {**context, "error": error}, status=status_of(error))
    return redirect("profile", profile_id)


@require_POST
def publish(request: PageRequest, profile_id: uuid.UUID, version_id: uuid.UUID) -> HttpResponse:
    found = lookup.profile(request.user, profile_id)
    get_object_or_404(ProfileVersion, pk=version_id, profile=found)
    try:
        lifecycle.publish_profile_version(version_id, request.user)
    except LifecycleError as error:
        return _page(request, found, error)
    return redirect("profile", profile_id)


def _page(request: PageRequest, found: Profile, error: LifecycleError | None = None) -> HttpResponse:
    """The newest published version in words, all versions, and the diff of two: ?from=1&to=2, or the newest two."""
    watcher = viewer(request.user)
    history = list(found.versions.select_related("proposed_by", "published_by"))
    current = next((version for version in history if version.published_at), None)
    context = {
        "profile": found,
        "current": current,
        "allows": words.allowed(current.content["authorization_details"]) if current else [],
        "conditions": list(words.conditions(current.conditions)) if current else [],
        "history": [(one, policy.may_publish_profile(watcher, found.team_id, one.proposed_by_id)) for one in history],
        "may_propose": policy.may_propose_profile(watcher, found.team_id),
        "error": error,
        **_compared(history, request.GET.get("from", ""), request.GET.get("to", "")),
    }
    return render(request, "profiles/profile.html", context, status=status_of(error))


def _compared(history: list[ProfileVersion], older: str, newer: str) -> dict[str, Any]:
    by_number = {str(version.number): version for version in history}
    new = by_number.get(newer) or (history[0] if history else None)
    old = by_number.get(older) or (history[1] if len(history) > 1 else None)
    if new is None or old is None:
        return {"old": old, "new": new, "lines": []}
    return {"old": old, "new": new, "lines": list(versions.diff(old.content, new.content))}
