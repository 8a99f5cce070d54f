"""Requests that wait for a decision, and what is live now."""

from dataclasses import dataclass

from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from sessions import words
from sessions.forms import Decide
from sessions.models import AgentSession, Person
from sessions.models.runs import State
from sessions.panel import May
from sessions.parties import viewer
from sessions.policy import Viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.session_list import Row, rows_of
from sessions.words import GrantWords

MOST_LIVE = 10
MOST_CARDS = 50


@dataclass(frozen=True)
class Card:
    """One request: its grant in words, and what the viewer may do about it."""

    agent_session: AgentSession
    grant: GrantWords
    may: May
    form: Decide


@require_safe
def inbox(request: PageRequest) -> HttpResponse:
    return render(request, "sessions/inbox.html", {"inbox": render_inbox(request.user, get_token(request))})


def render_inbox(person: Person, csrf_token: str = "") -> str:
    """The fragment #inbox."""
    watcher = viewer(person)
    deciding = lookup.to_decide(watcher)
    waiting = deciding.count()
    cards = [_card(watcher, one) for one in deciding[:MOST_CARDS]]
    shown = [card.agent_session.pk for card in cards]
    own = lookup.with_names().filter(person=person, state=State.REQUESTED).exclude(pk__in=shown).order_by("decide_by")
    context = {
        "cards": cards,
        "deciding": waiting,
        "more": max(0, waiting - MOST_CARDS),
        "waiting": [_card(watcher, one) for one in own[:MOST_CARDS]],
        "more_of_own": max(0, own.count() - MOST_CARDS),
        "more_asked": lookup.more_to_decide(watcher),
        "live": _live(watcher),
        "csrf_token": csrf_token,
    }
    return render_to_string("sessions/_inbox.html", context)


def _card(watcher: Viewer, agent_session: AgentSession) -> Card:
    return Card(
        agent_session=agent_session,
        grant=words.of_grant(agent_session.grant.content),
        may=May.of(watcher, agent_session),
        form=Decide(initial={"grant_hash": agent_session.grant_hash}, auto_id=False),
    )


def _live(watcher: Viewer) -> list[Row]:
    live = lookup.with_names().filter(lookup.live(), team__in=lookup.teams_of(watcher))
    return rows_of(watcher, live.order_by("-id")[:MOST_LIVE])
