"""What was denied to a profile's sessions, and turning one of them into a rule: narrow, with an end, for review."""

import uuid
from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from audit.event import now
from sessions import denied, lifecycle, policy
from sessions.errors import LifecycleError
from sessions.forms import NewRule
from sessions.models import Profile
from sessions.parties import viewer
from sessions.providers import egress
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of

USUAL_DAYS = 30


@require_safe
def denied_hosts(request: PageRequest, profile_id: uuid.UUID) -> HttpResponse:
    return _page(request, lookup.profile(request.user, profile_id))


@require_POST
def new_rule(request: PageRequest, profile_id: uuid.UUID) -> HttpResponse:
    """A version of the profile with one rule more. Somebody else has to publish it."""
    found = lookup.profile(request.user, profile_id)
    form = NewRule(request.POST)
    newest = found.versions.order_by("-number").first()
    if not form.is_valid() or newest is None:
        return _page(request, found, form=form, status=422)
    content = newest.content
    content["authorization_details"] = [*content["authorization_details"], form.details()]
    try:
        lifecycle.propose_profile_version(found, content, request.user)
    except LifecycleError as error:
        return _page(request, found, error, form)
    return redirect("profile", profile_id)


def _page(
    request: PageRequest,
    found: Profile,
    error: LifecycleError | None = None,
    form: NewRule | None = None,
    status: int | None = None,
) -> HttpResponse:
    places = denied.places(found)
    context: dict[str, Any] = {
        "profile": found,
        "work": [(one, _form(one, form)) for one in places if not one.noise],
        "noise": [one for one in places if one.noise],
        "may_propose": policy.may_propose_profile(viewer(request.user), found.team_id),
        "form": form,
        "error": error,
        "type": egress.TYPE,
    }
    return render(request, "profiles/denied.html", context, status=status or status_of(error))


def _form(place: denied.Place, sent: NewRule | None) -> NewRule:
    """Filled in with what was asked for: as narrow as it was."""
    if sent is not None and sent.data.get("location") == place.location:
        return sent
    last = (now() + timedelta(days=USUAL_DAYS)).date()
    methods = place.method or ("tunnel" if place.location.startswith("tls://") else "GET")
    return NewRule(initial={"location": place.location, "methods": methods, "until": last}, auto_id=False)
