"""What pages show live. The database is the truth; a wake-up only says when to look.

Whoever watches is authorised when they connect, and again each time before something is sent: a stream ends with `bye`
once they are signed out or have lost their role.
"""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseNotFound, StreamingHttpResponse
from django.views.decorators.http import require_GET

from audit import notices, sse
from audit.hub import hub
from audit.timeline import Filters
from sessions import audience, fleet_watch
from sessions.audience import Gone as Gone
from sessions.audience import SignIn
from sessions.broadcast import Place, watching
from sessions.broadcast import in_thread as in_thread
from sessions.fleet_watch import Watcher
from sessions.look import authorise
from sessions.models import Person
from sessions.views.fleet import Wanted
from sessions.views.inbox import render_inbox
from sessions.views.session_list import render_session_rows

HEARTBEAT_S = 15.0
LONGEST_S = 600.0


W = TypeVar("W", contravariant=True)


class Shared(Protocol[W]):
    """What does the looking for many viewers. `next_for` answers what is new for one of them; raises Gone."""

    @property
    def over(self) -> bool: ...
    async def next_for(self, viewer: W, /) -> bytes: ...


async def give_back() -> None:
    """Give back the connection of the request's own thread, in which the gate asked who it is.

    It would be held as long as the stream; and where many connect at once, each would have one and wait for a second.
    Before the view's own work, and again before the first frame: what comes after the view may have taken another.
    """
    await sync_to_async(close_old_connections)()


def signed_in(request: HttpRequest) -> Person:
    """The person, as the sign-in stands now. Raises Gone."""
    return audience.signed_in(SignIn.of(request))


async def leave_thread() -> None:
    """End the request's own thread, and give back what it holds: it costs more than the rest of a viewer.

    asgiref starts another one when the request ends.
    """
    await give_back()
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is not None and context in SyncToAsync.context_to_thread_executor:
        SyncToAsync.context_to_thread_executor.pop(context).shutdown(wait=False)


@require_GET
async def session_stream(request: HttpRequest, session_id: uuid.UUID) -> StreamingHttpResponse | HttpResponseNotFound:
    await give_back()
    sign_in = SignIn.of(request)
    try:
        await in_thread(authorise, session_id, sign_in)
    except Gone:
        # Answered here: Django renders a raised Http404 in a pool's thread, which would keep its connection.
        return HttpResponseNotFound("Not found.", content_type="text/plain")
    place = Place(sign_in, _cursor(request))
    shared = watching(session_id, Filters.from_query(request.GET.dict()), place, HEARTBEAT_S)
    return sse.response(_shared(shared, place))


@require_GET
async def inbox_stream(request: HttpRequest) -> StreamingHttpResponse:
    await give_back()
    return sse.response(_looks(FragmentWatch(SignIn.of(request), render_inbox)))


@require_GET
async def fleet_stream(request: HttpRequest) -> StreamingHttpResponse:
    await give_back()
    watcher = Watcher(SignIn.of(request), Wanted.from_query(request.GET.dict()))
    return sse.response(_shared(fleet_watch.watching(watcher, HEARTBEAT_S), watcher))


@require_GET
async def session_list_stream(request: HttpRequest) -> StreamingHttpResponse:
    await give_back()
    query = request.GET.dict()
    watch = FragmentWatch(SignIn.of(request), lambda person: render_session_rows(person, query))
    return sse.response(_looks(watch))


@dataclass
class FragmentWatch:
    """One viewer of a fragment that is sent whenever it differs from what they have."""

    sign_in: SignIn
    render: Callable[[Person], str]
    shown: str = field(default="", init=False)

    def look(self) -> bytes:
        """What is new, or nothing. Raises Gone."""
        html = self.render(audience.signed_in(self.sign_in))
        if html == self.shown:
            return b""
        self.shown = html
        return sse.frame("fragment", html) + sse.HEARTBEAT


async def _shared(entered: AbstractContextManager[Shared[W]], viewer: W) -> AsyncIterator[bytes]:
    """Ten minutes at most, after which the browser comes back by itself. Each wait lasts one heartbeat at most."""
    ends = time.monotonic() + LONGEST_S - HEARTBEAT_S
    await leave_thread()
    yield sse.RETRY
    with entered as shared:
        while not shared.over and time.monotonic() < ends:
            try:
                news = await shared.next_for(viewer)
            except Gone:
                yield sse.frame("bye", "")
                return
            if news:
                yield news


async def _looks(watch: FragmentWatch) -> AsyncIterator[bytes]:
    """Look, send, wait; for ten minutes at most."""
    ends = time.monotonic() + LONGEST_S
    quiet_since = time.monotonic()
    await leave_thread()
    yield sse.RETRY
    async with hub().waiting(notices.FLEET) as waiter:
        while time.monotonic() < ends:
            try:
                news = await in_thread(watch.look)
            except Gone:
                yield sse.frame("bye", "")
                return
            if not news and time.monotonic() - quiet_since > HEARTBEAT_S:
                news = sse.HEARTBEAT
            if news:
                quiet_since = time.monotonic()
                yield news
            await waiter.wait(HEARTBEAT_S)


def _cursor(request: HttpRequest) -> int:
    """The position that the viewer has: the browser's own Last-Event-ID, else ?after=; whichever is further."""
    given = (request.headers.get("Last-Event-ID", ""), request.GET.get("after", ""))
    return max((int(value) for value in given if value.isdecimal() and len(value) < 19), default=0)
