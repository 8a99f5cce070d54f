"""People of a team, and their roles."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from sessions import lifecycle, policy
from sessions.errors import Invalid, LifecycleError
from sessions.forms import AddPerson, ErasePerson, GrantRole
from sessions.lifecycle import Added
from sessions.models import Membership, Person, Role, Team
from sessions.parties import viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of


@require_safe
def people(request: PageRequest, slug: str) -> HttpResponse:
    return _page(request, lookup.team(request.user, slug))


@require_POST
@never_cache
def add(request: PageRequest, slug: str) -> HttpResponse:
    """Somebody with an account gets the role; somebody without gets an account, whose password is shown once."""
    team = lookup.team(request.user, slug)
    form = AddPerson(request.POST)
    if not form.is_valid():
        return _page(request, team, form=form, status=422)
    asked = form.cleaned_data
    known = Person.objects.filter(email=asked["email"]).first()
    added = None
    try:
        if known:
            lifecycle.grant_role(team, known, Role(asked["role"]), request.user)
        else:
            added = lifecycle.add_person(team, asked["email"], asked["name"], Role(asked["role"]), request.user)
    except LifecycleError as error:
        return _page(request, team, error, form)
    return _page(request, team, added=added) if added else redirect("people", slug)


@require_POST
def grant(request: PageRequest, slug: str) -> HttpResponse:
    team = lookup.team(request.user, slug)
    form = GrantRole(request.POST)
    if not form.is_valid():
        return _page(request, team, status=422)
    person = get_object_or_404(Person.objects.filter(memberships__team=team).distinct(), pk=form.cleaned_data["person"])
    try:
        lifecycle.grant_role(team, person, Role(form.cleaned_data["role"]), request.user)
    except LifecycleError as error:
        return _page(request, team, error)
    return redirect("people", slug)


@require_POST
def erase(request: PageRequest, slug: str) -> HttpResponse:
    """For good. The address is typed to confirm it."""
    team = lookup.team(request.user, slug)
    form = ErasePerson(request.POST)
    if not form.is_valid():
        return _page(request, team, Invalid(["Type the person's e-mail address, and say why."]))
    asked = form.cleaned_data
    person = get_object_or_404(Person.objects.filter(memberships__team=team).distinct(), pk=asked["person"])
    try:
        if asked["confirm"].strip().lower() != person.email:
            raise Invalid(["That is not this person's e-mail address: nobody was erased."])
        lifecycle.erase_person(person, request.user, asked["reason"])
    except LifecycleError as error:
        return _page(request, team, error)
    return redirect("people", slug)


@require_POST
def end(request: PageRequest, slug: str, membership_id: int) -> HttpResponse:
    team = lookup.team(request.user, slug)
    get_object_or_404(Membership, pk=membership_id, team=team)
    try:
        lifecycle.end_role(membership_id, request.user)
    except LifecycleError as error:
        return _page(request, team, error)
    return redirect("people", slug)


def _page(
    request: PageRequest,
    team: Team,
    error: LifecycleError | None = None,
    form: AddPerson | None = None,
    added: Added | None = None,
    status: int | None = None,
) -> HttpResponse:
    watcher = viewer(request.user)
    context = {
        "team": team,
        "teams": lookup.teams(watcher),
        "members": _members(team),
        "roles": Role.choices,
        "form": form or AddPerson(),
        "added": added,
        "may_manage": policy.may_manage_people(watcher, team.pk),
        "error": error,
    }
    return render(request, "people/people.html", context, status=status or status_of(error))


def _members(team: Team) -> dict[Person, list[Membership]]:
    """Everybody who has a role in the team now, with the roles."""
    held = Membership.objects.filter(team=team, ended_at=None).select_related("person")
    members: dict[Person, list[Membership]] = {}
    for membership in held.order_by("person__name", "person_id", "role"):
        members.setdefault(membership.person, []).append(membership)
    return members
