"""Every credential that may be alive: whose it is, how it dies, and the switch for one, for those chosen, for all.

And the question that security asks at night: whose is this string that somebody found?
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from audit.event import now
from sessions import leaks, lifecycle, policy, revoking
from sessions.errors import LifecycleError
from sessions.forms import LookUp
from sessions.leaks import Found
from sessions.models import Agent, AgentSession, Credential, KillOrder, Person, Profile, Revocation
from sessions.models.credentials import DEAD, CredentialState
from sessions.parties import viewer
from sessions.policy import Verdict, Viewer
from sessions.providers import registry
from sessions.providers.contract import CredentialError
from sessions.reading import noted
from sessions.views import lookup
from sessions.views.kill import insist, open_revocations
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of
from sessions.views.session_list import uuid_or_nothing
from sessions.words import span

PAGE = 100
# Kills that a page counts as under way, or just done.
RECENT = timedelta(minutes=15)


@dataclass(frozen=True)
class Wanted:
    """The filters of a URL: ?provider=&team=&agent=&profile=&session=&before=. What makes no sense is ignored."""

    provider: str = ""
    team: str = ""
    agent: str = ""
    profile: str = ""
    session: str = ""
    before: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Wanted":
        provider = query.get("provider", "")
        ids = {name: uuid_or_nothing(query.get(name, "")) for name in ("team", "agent", "profile", "session", "before")}
        return cls(provider=provider if provider in registry.PROVIDERS else "", **ids)

    @cached_property
    def query(self) -> str:
        names = ("provider", "team", "agent", "profile", "session")
        return urlencode({name: getattr(self, name) for name in names if getattr(self, name)})

    def matching(self, rows: QuerySet[Credential]) -> QuerySet[Credential]:
        chosen = {
            "provider": self.provider,
            "agent_session__team": self.team,
            "agent_session__agent": self.agent,
            "agent_session__profile_version__profile": self.profile,
            "agent_session": self.session,
        }
        return rows.filter(**{name: value for name, value in chosen.items() if value})


@dataclass(frozen=True)
class Row:
    """A credential that may be alive. `since` is how old a long-lived secret is, where that is known."""

    credential: Credential
    age: str
    dies: str
    long_lived: bool
    since: datetime | None
    kill: Verdict

    @property
    def alive(self) -> bool:
        return self.credential.state in (CredentialState.INTENT, CredentialState.ISSUED)


@dataclass(frozen=True)
class Standing:
    """How far the kills of the last minutes are, of those chosen."""

    alive: int
    asked: int
    dead: int

    @property
    def dying(self) -> int:
        return self.asked - self.dead


@require_safe
def credential_list(request: PageRequest) -> HttpResponse:
    return _page(request)


@require_safe
def standing(request: PageRequest) -> HttpResponse:
    """The fragment #standing: it asks again while something is dying."""
    watcher, wanted = lookup.member(request.user), Wanted.from_query(request.GET.dict())
    context = {"standing": _standing(watcher, wanted), "wanted": wanted}
    return render(request, "credentials/_standing.html", context)


@require_POST
def kill_one(request: PageRequest, credential_id: uuid.UUID) -> HttpResponse:
    """The session goes on without it."""
    watcher = lookup.member(request.user)
    credential = get_object_or_404(Credential.objects.select_related("agent_session"), pk=credential_id)
    if not policy.may_see(watcher, credential.agent_session.team_id):
        raise Http404
    try:
        insist(lambda: lifecycle.kill_credential(credential_id, by=request.user))
    except LifecycleError as error:
        return _page(request, error)
    revoking.start(Revocation.objects.filter(credential=credential_id).values_list("pk", flat=True))
    return _back(Wanted.from_query(request.GET.dict()))


@require_POST
def kill_chosen(request: PageRequest) -> HttpResponse:
    """Each session that holds one of those chosen. Without a filter it is everything, which one person orders."""
    watcher, wanted = lookup.member(request.user), Wanted.from_query(request.GET.dict())
    if not wanted.query:
        return kill_everything(request)
    _kill(_sessions(watcher, wanted), request.user)
    return _back(wanted)


@require_POST
def kill_everything(request: PageRequest) -> HttpResponse:
    """The big red one: ordered by one person and confirmed by another, or alone where the glass is broken."""
    watcher = lookup.member(request.user)
    try:
        if settings.KILL_EVERYTHING_ALONE:
            _demand(policy.may_order_kill(watcher))
            _kill(_sessions(watcher, Wanted()), request.user)
        else:
            lifecycle.order_kill(request.user)
    except LifecycleError as error:
        return _page(request, error)
    return redirect("credential-list")


@require_POST
def confirm(request: PageRequest, order_id: uuid.UUID) -> HttpResponse:
    """Kills what both may kill."""
    watcher = lookup.member(request.user)
    get_object_or_404(KillOrder, pk=order_id)
    try:
        order = lifecycle.confirm_kill(order_id, request.user)
    except LifecycleError as error:
        return _page(request, error)
    both = set(_sessions(watcher, Wanted())) & set(_sessions(viewer(order.ordered_by), Wanted()))
    _kill(both, request.user)
    return redirect("credential-list")


@require_POST
def look_up(request: PageRequest) -> HttpResponse:
    """Whose a string is. It goes into no log, no event and no page."""
    watcher = lookup.member(request.user)
    _demand(policy.may_look_up(watcher))
    form = LookUp(request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    found = leaks.look_up(form.cleaned_data["text"], watcher)
    noted(request.user, "leak", {"found": [str(one.credential.pk) for one in found if one.credential][:100]})
    return _page(request, found=found)


def _page(
    request: PageRequest,
    error: LifecycleError | None = None,
    form: LookUp | None = None,
    found: list[Found] | None = None,
    status: int | None = None,
) -> HttpResponse:
    watcher, wanted = lookup.member(request.user), Wanted.from_query(request.GET.dict())
    rows = wanted.matching(_seen(watcher))
    if wanted.before:
        rows = rows.filter(pk__lt=wanted.before)
    shown = list(rows.order_by("-pk")[: PAGE + 1])
    teams, orders = lookup.teams_of(watcher), list(_orders(watcher))
    context = {
        "wanted": wanted,
        "rows": [_row(watcher, one) for one in shown[:PAGE]],
        "older": shown[PAGE - 1].pk if len(shown) > PAGE else None,
        "standing": _standing(watcher, wanted),
        "sessions": len(_sessions(watcher, wanted)) if wanted.query else 0,
        "providers": sorted(registry.PROVIDERS),
        "teams": lookup.teams(watcher),
        "agents": Agent.objects.filter(team__in=teams).order_by("name"),
        "profiles": Profile.objects.filter(team__in=teams).order_by("name"),
        "orders": [(one, policy.may_confirm_kill(watcher, one.ordered_by_id)) for one in orders],
        "ordered": any(one.ordered_by_id == request.user.pk for one in orders),
        "may_order": policy.may_order_kill(watcher),
        "alone": settings.KILL_EVERYTHING_ALONE,
        "may_look_up": policy.may_look_up(watcher),
        "form": form or LookUp(auto_id="lookup-%s"),
        "found": found,
        "error": error,
    }
    return render(request, "credentials/credential_list.html", context, status=status or status_of(error))


def _row(watcher: Viewer, credential: Credential) -> Row:
    agent_session = credential.agent_session
    dies, long_lived, since = "", False, None
    try:
        life = registry.provider(credential.provider).life(credential.content)
        dies, long_lived = life.dies, life.longest_s is None
    except CredentialError:
        dies = "when it expires: its provider is not in the settings any more"
    if long_lived and credential.handle.get("since"):
        since = datetime.fromisoformat(credential.handle["since"])
    return Row(
        credential,
        age=span((now() - (credential.issued_at or credential.created_at)).total_seconds()),
        dies=dies,
        long_lived=long_lived,
        since=since,
        kill=policy.may_kill(watcher, agent_session.team_id, agent_session.person_id),
    )


def _seen(watcher: Viewer) -> QuerySet[Credential]:
    """Those that are not known to be dead, in teams of the viewer, with what a row names."""
    rows = Credential.objects.filter(agent_session__team__in=lookup.teams_of(watcher)).exclude(state__in=DEAD)
    return rows.select_related("agent_session__agent", "agent_session__team", "agent_session__person")


def _standing(watcher: Viewer, wanted: Wanted) -> Standing:
    seen = Credential.objects.filter(agent_session__team__in=lookup.teams_of(watcher))
    chosen = wanted.matching(seen)
    recent = chosen.filter(revocation__requested_at__gt=now() - RECENT, revocation__reason="killed")
    alive = Q(state__in=(CredentialState.INTENT, CredentialState.ISSUED))
    return Standing(chosen.filter(alive).count(), recent.count(), recent.filter(state__in=DEAD).count())


def _sessions(watcher: Viewer, wanted: Wanted) -> list[uuid.UUID]:
    """Live sessions that hold one of those chosen and that the viewer may kill."""
    held = wanted.matching(_seen(watcher)).filter(agent_session__killed_at=None).values("agent_session")
    live = AgentSession.objects.filter(lookup.live(), pk__in=held, killed_at=None)
    rows = live.values_list("pk", "team_id", "person_id")
    return [pk for pk, team, person in rows if policy.may_kill(watcher, team, person)]


def _orders(watcher: Viewer) -> QuerySet[KillOrder]:
    waiting = KillOrder.objects.filter(confirmed_at=None, confirm_by__gt=now()).select_related("ordered_by")
    return waiting.order_by("-ordered_at") if policy.may_order_kill(watcher) else waiting.none()


def _kill(session_ids: Iterable[uuid.UUID], by: Person) -> None:
    ids = list(session_ids)
    insist(lambda: lifecycle.kill_all(ids, by=by))
    revoking.start(open_revocations(*ids))


def _demand(verdict: Verdict) -> None:
    if not verdict:
        raise PermissionDenied


def _back(wanted: Wanted) -> HttpResponse:
    return redirect(f"{reverse('credential-list')}?{wanted.query}" if wanted.query else "credential-list")
