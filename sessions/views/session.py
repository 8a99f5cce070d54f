"""The page of one session, and its panel."""

import uuid

from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from sessions import panel, policy, words
from sessions.errors import LifecycleError
from sessions.forms import ApproveLess, Decide, Deny
from sessions.gateways.policy_document import needs_gateway
from sessions.lifecycle.verifications import newest
from sessions.models import AgentSession, Person, Revocation
from sessions.models.runs import State
from sessions.panel import May
from sessions.parties import viewer
from sessions.reading import noted
from sessions.views import lookup, timeline
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of


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
    noted(request.user, "session", {"session": str(agent_session.pk), **timeline.reading(request.GET.dict())})
    context = {
        "agent_session": agent_session,
        "dying": Revocation.objects.filter(
            credential__agent_session=agent_session, proven_at=None, given_up_at=None
        ).exists(),
        "panel": render_panel(agent_session.pk, request.user, get_token(request), error, deny, less),
        "may_export": policy.may_export(viewer(request.user), agent_session.team_id),
        **timeline.context(agent_session, request.GET.dict()),
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
        "gateways": panel.gateways(agent_session),
        "additions": panel.additions(agent_session) if agent_session.live else (),
        "verified": newest(agent_session.agent) if agent_session.state == State.REQUESTED else None,
        "needs_gateway": agent_session.live and needs_gateway(content["authorization_details"]),
        "verdicts": panel.verdicts(agent_session, [lane.credential for lane in lanes]),
        "approve_form": Decide(initial=asked, auto_id=False),
        "deny_form": deny or Deny(initial=asked),
        "less_form": less or ApproveLess(content, grant_hash=agent_session.grant_hash),
        "error": error,
        "csrf_token": csrf_token,
    }
    return render_to_string("sessions/_panel.html", context)
