"""Finding what a page is about. A viewer with no role in its team gets 404, and never learns that it exists."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django_htmx.middleware import HtmxDetails

from audit.event import now
from sessions import policy
from sessions.models import Addition, Agent, AgentSession, Person, Profile, Team
from sessions.models.additions import AdditionState
from sessions.models.runs import LIVE, State
from sessions.parties import viewer
from sessions.policy import ROLES_THAT_SEE, Verdict, Viewer

JUST_KILLED = timedelta(minutes=1)
MOST_MORE = 20
Row = TypeVar("Row", AgentSession, Agent, Profile)


class PageRequest(HttpRequest):
    """A request that has passed webapp.middleware.AccessMiddleware: somebody is signed in."""

    user: Person
    htmx: HtmxDetails


def agent_session(person: Person, session_id: uuid.UUID) -> AgentSession:
    return _seen(person, with_names().filter(pk=session_id).first())


def demand_session(person: Person, session_id: uuid.UUID) -> None:
    """404 unless the viewer may see the session. For actions: the lifecycle locks and loads it by itself."""
    seen = AgentSession.objects.filter(
        pk=session_id, team__memberships__person=person, team__memberships__ended_at=None
    )
    if not seen.exists():
        raise Http404


def agent(person: Person, agent_id: uuid.UUID) -> Agent:
    return _seen(person, Agent.objects.select_related("team", "owner").filter(pk=agent_id).first())


def profile(person: Person, profile_id: uuid.UUID) -> Profile:
    return _seen(person, Profile.objects.select_related("team").filter(pk=profile_id).first())


def team(person: Person, slug: str) -> Team:
    found = Team.objects.filter(slug=slug).first()
    if found is None or not policy.may_see(viewer(person), found.pk):
        raise Http404
    return found


def member(person: Person) -> Viewer:
    """Who has a role in some team; for anybody else there is no such page."""
    watcher = viewer(person)
    if not watcher.roles:
        raise Http404
    return watcher


def teams(watcher: Viewer, may: Callable[[Viewer, uuid.UUID], Verdict] = policy.may_see) -> QuerySet[Team]:
    """The viewer's teams, or those in which the viewer may do something."""
    return Team.objects.filter(pk__in=[pk for pk in watcher.roles if may(watcher, pk)]).order_by("name")


def _seen(person: Person, row: Row | None) -> Row:
    if row is None or not policy.may_see(viewer(person), row.team_id):
        raise Http404
    return row


def with_names() -> QuerySet[AgentSession]:
    """Sessions with what every row and page of them names."""
    return AgentSession.objects.select_related("team", "agent", "person", "profile_version__profile", "killed_by")


def teams_of(watcher: Viewer, *roles: str) -> list[uuid.UUID]:
    """Teams in which the viewer has one of the roles, or any role."""
    return [team_id for team_id in watcher.roles if watcher.has(team_id, *(roles or ROLES_THAT_SEE))]


def live() -> Q:
    """Sessions that are live, and those just killed: whoever threw the switch wants to see that they died."""
    return Q(state__in=LIVE) | Q(killed_at__gt=now() - JUST_KILLED)


def more_to_decide(watcher: Viewer) -> list[Addition]:
    """What running sessions ask for besides, where this viewer may decide."""
    deciding = Q(agent_session__team__in=teams_of(watcher, "lead")) & ~Q(on_behalf_of=watcher.id)
    waiting = Addition.objects.filter(deciding, state=AdditionState.REQUESTED, decide_by__gt=now())
    return list(waiting.select_related("agent_session__agent").order_by("decide_by")[:MOST_MORE])


def to_decide(watcher: Viewer) -> QuerySet[AgentSession]:
    """Requests that this viewer may approve or deny, the most urgent first."""
    deciding = Q(team__in=teams_of(watcher, "lead")) & ~Q(person=watcher.id) | Q(team__in=teams_of(watcher, "security"))
    return with_names().filter(deciding, state=State.REQUESTED).order_by("decide_by", "id")
