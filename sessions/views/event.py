"""One event in full, with its proof."""

import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from audit import proofs, sequencing, timeline
from audit.errors import LogError
from audit.timeline import Entry
from sessions import narration
from sessions.models import AgentSession
from sessions.reading import noted
from sessions.views import lookup
from sessions.views.lookup import PageRequest

logger = structlog.get_logger()


@require_safe
def event(request: PageRequest, session_id: uuid.UUID, seq: int) -> HttpResponse:
    """One event in full: a page of its own, or the fragment that a row opens to."""
    agent_session, entry = _found(request, session_id, seq)
    if "proof" not in request.GET:  # which only asks again whether what was read is signed for by now
        noted(request.user, "event", {"session": str(session_id), "seq": seq})
    names = narration.names_of([entry.act])
    context = {
        "agent_session": agent_session,
        "entry": entry,
        "told": narration.tell(entry, names),
        "proven": prove(entry),
        "fields": _fields(entry, names),
    }
    if request.htmx:
        return render(request, "audit/_proof.html" if "proof" in request.GET else "audit/_whole.html", context)
    return render(request, "audit/event.html", context)


@require_safe
def event_proof(request: PageRequest, session_id: uuid.UUID, seq: int) -> HttpResponse:
    """The .tlog-proof file. 409 while no checkpoint covers the event."""
    _, entry = _found(request, session_id, seq)
    noted(request.user, "proof", {"session": str(session_id), "seq": seq})
    proven = prove(entry)
    if not proven.proof:
        text = proven.problem or "No checkpoint covers this event yet. Try again in a few seconds."
        return HttpResponse(text, status=503 if proven.problem else 409, content_type="text/plain")
    return _file(proven.proof, f"{session_id}-{seq}.tlog-proof", "text/plain; charset=utf-8")


@require_safe
def event_leaf(request: PageRequest, session_id: uuid.UUID, seq: int) -> HttpResponse:
    """The exact bytes that the log committed to."""
    _, entry = _found(request, session_id, seq)
    noted(request.user, "leaf", {"session": str(session_id), "seq": seq})
    return _file(entry.body.encode(), f"{session_id}-{seq}.json", "application/json")


@dataclass(frozen=True)
class Proven:
    """What the browser checks by itself. Without `proof` it is pending, or `problem` says why there is none."""

    leaf: int | None
    body: str
    proof: bytes = b""
    problem: str = ""
    origin: str = ""
    keys: str = ""

    @property
    def text(self) -> str:
        return b64encode(self.proof).decode()


def prove(entry: Entry) -> Proven:
    """The event's proof; where the log's files cannot be read or believed, the page says so and shows the event."""
    leaf, body = sequencing.leaf_of(entry.stream, entry.seq), b64encode(entry.body.encode()).decode()
    try:
        proof = proofs.Prover().proof(leaf)
    except (LogError, OSError, BotoCoreError, ClientError) as error:
        logger.warning("proof_failed", stream=str(entry.stream), seq=entry.seq, error=str(error))
        return Proven(leaf, body, problem=f"The log's files do not give a proof now: {error}.")
    keys = " ".join(settings.LOG_VERIFIER_KEYS)
    return Proven(leaf, body, proof.format() if proof else b"", origin=settings.LOG_ORIGIN, keys=keys)


def _found(request: PageRequest, session_id: uuid.UUID, seq: int) -> tuple[AgentSession, Entry]:
    agent_session = lookup.agent_session(request.user, session_id)
    entry = timeline.entry(session_id, seq)
    if entry is None:
        raise Http404
    return agent_session, entry


def _fields(entry: Entry, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """The event's own columns, those that it has."""
    by = names.get(entry.act, entry.act)
    shown = [("kind", entry.kind), ("outcome", entry.outcome), ("by", by), ("host", entry.host), ("path", entry.path)]
    return [(name, value) for name, value in [*shown, ("id", str(entry.id))] if value]


def _file(content: bytes, name: str, content_type: str) -> HttpResponse:
    answer = HttpResponse(content, content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
