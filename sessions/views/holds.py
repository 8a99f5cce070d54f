"""Legal holds: what may not be pruned or erased, since when, and why."""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from audit import canonical, personal
from audit.models import Event, Hold
from sessions import lifecycle, policy
from sessions.errors import Invalid, LifecycleError
from sessions.forms import PlaceHold, ReleaseHold
from sessions.lifecycle.erasure import teams_of
from sessions.models import AgentSession, Person, Team
from sessions.narration import names_of
from sessions.parties import viewer
from sessions.policy import Viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of
from sessions.words import plain

MOST = 200


@dataclass(frozen=True)
class Line:
    """A hold as the page shows it: `name` is what is held, in words; `why` is out of its event."""

    hold: Hold
    name: str
    why: str
    placed_by: str
    released_by: str
    may_release: bool


@require_safe
def hold_list(request: PageRequest) -> HttpResponse:
    return _page(request)


@require_POST
def place(request: PageRequest) -> HttpResponse:
    form = PlaceHold(request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    asked = form.cleaned_data
    try:
        value = _found(viewer(request.user), asked["what"], asked["value"].strip())
        lifecycle.place_hold(asked["what"], value, request.user, asked["reason"])
    except LifecycleError as error:
        return _page(request, error, form)
    return redirect("hold-list")


@require_POST
def release(request: PageRequest, hold_id: uuid.UUID) -> HttpResponse:
    hold = get_object_or_404(Hold, pk=hold_id)
    watcher = viewer(request.user)
    if not any(policy.may_see(watcher, team) for team in teams_of(hold.what, hold.value)):
        raise Http404
    form = ReleaseHold(request.POST)
    if not form.is_valid():
        return _page(request, Invalid(["Say why the hold is released."]))
    try:
        lifecycle.release_hold(hold_id, request.user, form.cleaned_data["reason"])
    except LifecycleError as error:
        return _page(request, error)
    return redirect("hold-list")


def _found(watcher: Viewer, what: str, said: str) -> uuid.UUID:
    """What was named, if the viewer has a role in a team of it: strangers do not learn that it exists."""
    value: uuid.UUID | None = None
    with suppress(ValueError):
        value = uuid.UUID(said)
    if what == Hold.What.TEAM:
        value = Team.objects.filter(slug=said).values_list("pk", flat=True).first() or value
    elif what == Hold.What.PERSON and value is None:
        value = Person.objects.filter(email=said.lower()).values_list("pk", flat=True).first()
    if value is None or not any(policy.may_see(watcher, team) for team in teams_of(what, value)):
        raise Invalid([f"There is no such {what} in your teams."])
    return value


def _page(
    request: PageRequest, error: LifecycleError | None = None, form: PlaceHold | None = None, status: int | None = None
) -> HttpResponse:
    watcher = viewer(request.user)
    context = {
        "lines": _lines(watcher),
        "form": form or PlaceHold(),
        "may_place": bool(lookup.teams_of(watcher, "security", "admin")),
        "error": error,
    }
    return render(request, "holds/hold_list.html", context, status=status or status_of(error))


def _lines(watcher: Viewer) -> list[Line]:
    """Holds that concern teams in which the viewer may see them; those that stand first, then the newest."""
    seen = []
    for hold in Hold.objects.order_by("released_at", "-since")[:MOST]:
        teams = teams_of(hold.what, hold.value)
        if any(policy.may_see_holds(watcher, team) for team in teams):
            seen.append((hold, bool(policy.may_hold(watcher, teams)) and hold.released_at is None))
    reasons, names = _reasons([hold for hold, _ in seen]), _names([hold for hold, _ in seen])
    return [
        Line(
            hold=hold,
            name=names.get(f"{hold.what}:{hold.value}", str(hold.value)),
            why=plain(reasons.get(hold.pk, "")),
            placed_by=names.get(hold.by, hold.by),
            released_by=names.get(hold.released_by, hold.released_by),
            may_release=may_release,
        )
        for hold, may_release in seen
    ]


def _reasons(holds: Sequence[Hold]) -> dict[uuid.UUID, str]:
    """A hold has the id of the event that placed it."""
    rows = Event.objects.filter(pk__in=[hold.pk for hold in holds]).values_list("pk", "body")
    bodies = {pk: canonical.loads(bytes(body)) for pk, body in rows}
    revealed = personal.reveal(list(bodies.values()))
    return {pk: str(content["data"]["reason"]) for pk, content in zip(bodies, revealed, strict=True)}


def _names(holds: Sequence[Hold]) -> dict[str, str]:
    by_what: dict[str, set[uuid.UUID]] = {}
    people = set()
    for hold in holds:
        by_what.setdefault(hold.what, set()).add(hold.value)
        people |= {hold.by, hold.released_by} | ({f"person:{hold.value}"} if hold.what == Hold.What.PERSON else set())
    names = names_of(people)
    for pk, name in Team.objects.filter(pk__in=by_what.get("team", ())).values_list("pk", "name"):
        names[f"team:{pk}"] = plain(name)
    runs = AgentSession.objects.filter(pk__in=by_what.get("session", ())).values_list("pk", "agent__name")
    return names | {f"session:{pk}": f"{plain(agent)}, {pk}" for pk, agent in runs}
