"""Template tags and filters of the pages."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions import words
from sessions.models import AgentSession, Credential
from sessions.models.credentials import CredentialState
from sessions.models.runs import EndReason, State

register = template.Library()

# Icon and tone of each state. The tone only repeats what icon and words say.
SESSION_TONES = {
    State.REQUESTED: ("clock", "waiting"),
    State.APPROVED: ("open", "live"),
    State.ACTIVE: ("open", "live"),
    State.SUSPENDED: ("pause", "waiting"),
    State.ENDED: ("shut", "over"),
    State.DENIED: ("cross", "refused"),
    State.WITHDRAWN: ("shut", "over"),
    State.LAPSED: ("clock", "over"),
}
ALARMING = (EndReason.KILLED, EndReason.FINDING, EndReason.FAILED)
CREDENTIAL_TONES = {
    CredentialState.INTENT: ("clock", "waiting"),
    CredentialState.ISSUED: ("open", "live"),
    CredentialState.REVOKING: ("clock", "refused"),
    CredentialState.REVOKED: ("shut", "waiting"),
    CredentialState.UNPROVABLE: ("shut", "over"),
    CredentialState.PROVEN: ("proof", "proven"),
    CredentialState.EXPIRED_UNREVOKED: ("clock", "refused"),
}
OUTCOME_TONES = {"success": ("dot", "over"), "denied": ("cross", "refused"), "failure": ("bang", "waiting")}


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing of the sprite in base.html. It repeats what the words beside it say."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="#i-{}"></use></svg>', name)


@register.simple_tag
def session_state(agent_session: AgentSession) -> SafeString:
    sign, tone = SESSION_TONES[State(agent_session.state)]
    label = agent_session.get_state_display()
    if agent_session.end_reason:
        label = f"{label}: {EndReason(agent_session.end_reason).label.lower()}"
        if agent_session.end_reason in ALARMING:
            sign, tone = "cross", "refused"
    return _badge(sign, tone, label)


@register.simple_tag
def credential_state(credential: Credential) -> SafeString:
    sign, tone = CREDENTIAL_TONES[CredentialState(credential.state)]
    return _badge(sign, tone, credential.get_state_display())


@register.simple_tag
def outcome(name: str) -> SafeString:
    sign, tone = OUTCOME_TONES.get(name, ("dot", "over"))
    return _badge(sign, tone, name)


def _badge(sign: str, tone: str, label: str) -> SafeString:
    return format_html('<span class="badge is-{}">{}{}</span>', tone, icon(sign), label)


@register.filter
def moment(when: datetime | None, style: str = "relative") -> SafeString | str:
    """A time element: exact in UTC here; static/js/frame.js makes it relative, or a clock, in the viewer's zone."""
    if when is None:
        return ""
    when = when.astimezone(UTC)
    exact = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    text = f"{when:%H:%M:%S}" if style == "clock" else f"{when:%d %b %H:%M} UTC"
    return format_html('<time datetime="{}" title="{}" data-time="{}">{}</time>', when.isoformat(), exact, style, text)


@register.filter
def span(seconds: int) -> str:
    return words.span(seconds)


@register.filter
def plain(text: str) -> str:
    return words.plain(text)


@register.filter
def pretty(content: Mapping[str, Any]) -> str:
    return words.plain(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True))
