"""All sessions of the viewer's teams, filtered by the URL."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from sessions import panel, policy
from sessions.models import Agent, AgentSession, Credential, Person, Profile
from sessions.models.runs import State
from sessions.panel import Verdicts
from sessions.parties import viewer
from sessions.policy import Verdict, Viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest

PAGE = 50


@dataclass(frozen=True)
class Row:
    """One session in a list. `verdicts` tells of its credentials once it is over."""

    agent_session: AgentSession
    kill: Verdict
    verdicts: Verdicts | None


@dataclass(frozen=True)
class Wanted:
    """The filters of a URL: ?state=&agent=&person=&profile=&q=&live=1. What makes no sense is ignored."""

    state: str = ""
    agent: str = ""
    person: str = ""
    profile: str = ""
    q: str = ""
    live: bool = False
    before: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Wanted":
        return cls(
            state=query.get("state", "") if query.get("state") in State.values else "",
            agent=uuid_or_nothing(query.get("agent", "")),
            person=uuid_or_nothing(query.get("person", "")),
            profile=uuid_or_nothing(query.get("profile", "")),
            q=query.get("q", "").replace("\0", "").strip()[:100],
            live=query.get("live") == "1",
            before=uuid_or_nothing(query.get("before", "")),
        )

    @cached_property
    def query(self) -> str:
        """The filters without the position, for links."""
        names = ("state", "agent", "person", "profile", "q")
        filled = {name: getattr(self, name) for name in names if getattr(self, name)}
        return urlencode({**filled, **({"live": "1"} if self.live else {})})

    def matching(self, sessions: QuerySet[AgentSession]) -> QuerySet[AgentSession]:
        chosen: dict[str, Any] = {
            "state": self.state,
            "agent": self.agent,
            "person": self.person,
            "profile_version__profile": self.profile,
            "pk__lt": self.before,
        }
        sessions = sessions.filter(**{name: value for name, value in chosen.items() if value})
        if self.live:
            sessions = sessions.filter(lookup.live())
        if self.q:
            sessions = sessions.filter(Q(purpose__icontains=self.q) | Q(agent__name__icontains=self.q))
        return sessions


@require_safe
def session_list(request: PageRequest) -> HttpResponse:
    query = request.GET.dict()
    wanted = Wanted.from_query(query)
    teams = lookup.teams_of(viewer(request.user))
    context = {
        "wanted": wanted,
        "rows": render_session_rows(request.user, query, get_token(request)),
        "states": State.choices,
        "agents": Agent.objects.filter(team__in=teams).order_by("name"),
        "people": Person.objects.filter(agents__team__in=teams).distinct().order_by("name"),
        "profiles": Profile.objects.filter(team__in=teams).order_by("name"),
    }
    return render(request, "sessions/session_list.html", context)


def render_session_rows(person: Person, query: Mapping[str, str], csrf_token: str = "") -> str:
    """The fragment #session-list."""
    watcher, wanted = viewer(person), Wanted.from_query(query)
    seen = lookup.with_names().filter(team__in=lookup.teams_of(watcher))
    found = list(wanted.matching(seen).order_by("-id")[: PAGE + 1])
    context = {
        "rows": rows_of(watcher, found[:PAGE]),
        "older": found[PAGE - 1].pk if len(found) > PAGE else None,
        "wanted": wanted,
        "csrf_token": csrf_token,
    }
    return render_to_string("sessions/_session_list.html", context)


def render_row(person: Person, agent_session: AgentSession, csrf_token: str = "") -> str:
    """One row of any list of sessions."""
    [row] = rows_of(viewer(person), [agent_session])
    return render_to_string("sessions/_session_row.html", {"row": row, "csrf_token": csrf_token})


def rows_of(watcher: Viewer, sessions: Iterable[AgentSession]) -> list[Row]:
    sessions = list(sessions)
    verdicts = verdicts_of(sessions)
    return [
        Row(
            agent_session=one,
            kill=policy.may_kill(watcher, one.team_id, one.person_id) if one.live else panel.NOT_ASKED,
            verdicts=verdicts.get(one.pk),
        )
        for one in sessions
    ]


def verdicts_of(sessions: Iterable[AgentSession]) -> dict[uuid.UUID, Verdicts]:
    """What became of the credentials of those that are over, and had some; one query."""
    over = {one.pk: one for one in sessions if one.state == State.ENDED}
    held: dict[uuid.UUID, list[Credential]] = {}
    for credential in Credential.objects.filter(agent_session__in=over).select_related("revocation"):
        held.setdefault(credential.agent_session_id, []).append(credential)
    return {pk: panel.verdicts(over[pk], credentials) for pk, credentials in held.items()}


def uuid_or_nothing(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return ""
