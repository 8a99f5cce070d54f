"""The page of one session, and the two fragments that keep it live."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.html import format_html_join
from django.views.decorators.http import require_safe

from audit import timeline
from audit.event import OUTCOMES
from audit.timeline import Entry, Filters
from sessions import narration, panel, words
from sessions.errors import LifecycleError
from sessions.forms import ApproveLess, Decide, Deny
from sessions.models import AgentSession, Person, Revocation
from sessions.panel import May
from sessions.parties import viewer
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of

KINDS = (
    ("", "Everything"),
    ("session", "Session"),
    ("credential", "Credentials"),
    ("agent,tool,db,file,http,process", "What the agent did"),
)


@require_safe
def session(request: PageRequest, session_id: uuid.UUID) -> HttpResponse:
    return page(request, lookup.agent_session(request.user, session_id))


def page(
    request: PageRequest,
    agent_session: AgentSession,
    error: LifecycleError | None = None,
    deny: Deny | None = None,
    less: ApproveLess | None = None,
    status: int | None = None,
) -> HttpResponse:
    """The whole page; with an error and what was typed, if a decision could not be made."""
    context = {
        "agent_session": agent_session,
        "dying": Revocation.objects.filter(
            credential__agent_session=agent_session, proven_at=None, given_up_at=None
        ).exists(),
        "panel": render_panel(agent_session.pk, request.user, get_token(request), error, deny, less),
        **_timeline(agent_session, request.GET.dict()),
    }
    return render(request, "sessions/session.html", context, status=status or status_of(error))


def render_panel(
    agent_session_id: uuid.UUID,
    person: Person,
    csrf_token: str = "",
    error: LifecycleError | None = None,
    deny: Deny | None = None,
    less: ApproveLess | None = None,
) -> str:
    """The fragment #panel: state, grant, decision, kill switch, credentials."""
    agent_session = lookup.with_names().get(pk=agent_session_id)
    content = agent_session.grant.content
    lanes = panel.lanes(agent_session)
    asked = {"grant_hash": agent_session.grant_hash}
    context = {
        "agent_session": agent_session,
        "grant": words.of_grant(content),
        "narrowed": agent_session.grants.exclude(sha256=agent_session.grant_hash).exists(),
        "may": May.of(viewer(person), agent_session),
        "decision": panel.decision(agent_session),
        "lanes": lanes,
        "verdicts": panel.verdicts(agent_session, [lane.credential for lane in lanes]),
        "approve_form": Decide(initial=asked, auto_id=False),
        "deny_form": deny or Deny(initial=asked),
        "less_form": less or ApproveLess(content, grant_hash=agent_session.grant_hash),
        "error": error,
        "csrf_token": csrf_token,
    }
    return render_to_string("sessions/_panel.html", context)


def render_event(entry: Entry) -> str:
    """One row of a timeline."""
    [row] = render_each([entry])
    return row


def render_each(entries: Sequence[Entry]) -> list[str]:
    """A row for each entry; whose names they need is asked once."""
    names = narration.names_of(entry.act for entry in entries)
    return [
        render_to_string("audit/_event.html", {"entry": entry, "told": narration.tell(entry, names)})
        for entry in entries
    ]


def _timeline(agent_session: AgentSession, query: Mapping[str, str]) -> dict[str, Any]:
    """The newest events that match, or older ones below ?before=. The position is read first: nothing falls between."""
    after = timeline.last_seq(agent_session.pk)
    filters = Filters.from_query(query)
    before = _position(query.get("before", ""))
    found = timeline.latest(agent_session.pk, filters, before)
    chosen = urlencode({name: query[name] for name in ("kind", "outcome", "q") if query.get(name)})
    return {
        "events": format_html_join("", "{}", ((row,) for row in render_each(found.entries))),
        "after": after,
        "filters": {"kind": query.get("kind", ""), "outcome": filters.outcome, "q": filters.text, "query": chosen},
        "kinds": KINDS,
        "outcomes": sorted(OUTCOMES),
        "live": before is None,
        "older": found.older,
        "full": len(found.entries) == timeline.PAGE,
        "most_looked": timeline.MOST_LOOKED,
    }


def _position(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None
