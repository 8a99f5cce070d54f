"""Evidence files: asking for one, watching it being made, and taking it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from audit import evidence
from audit.models import Export
from sessions import exports, policy
from sessions.errors import Forbidden, LifecycleError
from sessions.export_forms import OfPeriod, OfPerson, OfSession
from sessions.exports import Asked
from sessions.models import Person
from sessions.parties import viewer
from sessions.policy import Viewer
from sessions.streams import Gone, give_back, in_thread, signed_in
from sessions.views import lookup
from sessions.views.lookup import PageRequest
from sessions.views.refusal import status_of

RECENT = 20
CHUNK = 256 * 1024
State = Export.State


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: PageRequest) -> HttpResponse:
    """The forms; with ?session= the one of that session comes first."""
    chosen = request.POST.get("what", "") if request.method == "POST" else ""
    ask = Forms(request.user, request.POST if chosen else None, chosen, _session_id(request))
    if not chosen:
        return _page(request, ask)
    try:
        asked = ask.asked()
        export = exports.ask(request.user, asked) if asked else None
    except LifecycleError as error:
        return _page(request, ask, error)
    return redirect("export", export.pk) if export else _page(request, ask, status=422)


class Forms:
    """The forms that the viewer may use; the one that was sent holds what was typed."""

    def __init__(self, person: Person, data: Any, chosen: str, session_id: uuid.UUID | None) -> None:
        self.person = person
        self.watcher = viewer(person)
        self.chosen = chosen
        self.teams = lookup.teams(self.watcher, policy.may_export)
        self.session = lookup.agent_session(person, session_id) if session_id else None
        of_session = OfSession(data if chosen == evidence.SESSION else None, initial={"session": session_id})
        self.of_session = of_session if session_id else None
        self.of_person = OfPerson(people_of(self.watcher), data if chosen == evidence.PERSON else None)
        self.of_period = OfPeriod(self.teams, data if chosen == evidence.PERIOD else None)

    def asked(self) -> Asked | None:
        """What was asked for; None where the form says what is wrong."""
        form: OfSession | OfPerson | OfPeriod | None
        form = {"session": self.of_session, "person": self.of_person, "period": self.of_period}.get(self.chosen)
        if form is None:
            raise Http404
        if not form.is_valid():
            return None
        if self.chosen == evidence.SESSION and self.session:
            return exports.of_session(self.session, *form.moments)
        if self.chosen == evidence.PERSON:
            return exports.of_person(form.cleaned_data["person"], self.watcher, *form.moments)
        return exports.of_period(form.cleaned_data["team"], *form.moments)


def people_of(watcher: Viewer) -> Any:
    """Those who have, or had, a role in a team from which the viewer may export."""
    teams = [team for team in watcher.roles if policy.may_export(watcher, team)]
    return Person.objects.filter(memberships__team__in=teams).distinct().order_by("name", "pk")


def _session_id(request: PageRequest) -> uuid.UUID | None:
    given = request.POST.get("session") or request.GET.get("session") or ""
    try:
        return uuid.UUID(given) if given else None
    except ValueError:
        raise Http404 from None


def _page(
    request: PageRequest, ask: Forms, error: LifecycleError | None = None, status: int | None = None
) -> HttpResponse:
    if error is None and not ask.teams.exists():
        error = Forbidden("Only a lead, security, an auditor or an admin of a team can export evidence from it.")
    recent = Export.objects.filter(by=request.user.pk).order_by("-made_at")[:RECENT]
    context = {"ask": ask, "recent": [Shown.of(one) for one in recent], "error": error}
    return render(request, "exports/create.html", context, status=status or status_of(error))


@dataclass(frozen=True)
class Shown:
    """An export as pages show it."""

    export: Export
    asked: Asked
    title: str

    @classmethod
    def of(cls, export: Export) -> "Shown":
        asked = Asked.of(export.selection)
        return cls(export, asked, asked.title)

    @property
    def working(self) -> bool:
        return self.export.state in (State.WAITING, State.RUNNING)


@require_safe
@never_cache
def export(request: PageRequest, export_id: uuid.UUID) -> HttpResponse:
    return render(request, "exports/export.html", {"shown": Shown.of(_own(request.user, export_id))})


@require_safe
@never_cache
def status(request: PageRequest, export_id: uuid.UUID) -> HttpResponse:
    """The fragment #export, which asks for itself until there is nothing to wait for."""
    shown = Shown.of(_own(request.user, export_id))
    return HttpResponse(render_to_string("exports/_export.html", {"shown": shown}))


def _own(person: Person, export_id: uuid.UUID) -> Export:
    """Whoever asked for a file, as long as they have the rights; to all others there is none."""
    found = Export.objects.filter(pk=export_id, by=person.pk).first()
    if found is None or not exports.may_have(viewer(person), Asked.of(found.selection)):
        raise Http404
    return found


@require_GET
@never_cache
async def download(request: HttpRequest, export_id: uuid.UUID) -> StreamingHttpResponse | HttpResponse:
    """The file, in pieces: no process holds more of it. That somebody takes it is in the log before it leaves."""
    await give_back()
    try:
        found, path = await in_thread(_taken, request, export_id)
    except (Http404, Gone, FileNotFoundError):
        # Answered here: Django renders a raised Http404 in a pool's thread, which would keep its connection.
        return HttpResponseNotFound("Not found, or expired: ask for it again.", content_type="text/plain")
    answer = StreamingHttpResponse(_pieces(path), content_type="application/zip")
    answer.headers["Content-Length"] = str(found.size)
    answer.headers["Content-Disposition"] = f'attachment; filename="evidence-{found.pk}.zip"'
    return answer


def _taken(request: HttpRequest, export_id: uuid.UUID) -> tuple[Export, Path]:
    person = signed_in(request)
    found = _own(person, export_id)
    path = exports.file_of(found)
    if found.state != State.READY or not path.exists():
        raise Http404
    exports.note_download(found, person)
    return found, path


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    await give_back()
    file = await sync_to_async(_opened, thread_sensitive=False)(path)
    try:
        while piece := await sync_to_async(file.read, thread_sensitive=False)(CHUNK):
            yield piece
    finally:
        file.close()


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")
