"""What pages show live. The database is the truth; a wake-up only says when to look.

Whoever watches is authorised when they connect, and again each time before something is sent: a stream ends with `bye`
once they are signed out or have lost their role.
"""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseNotFound, StreamingHttpResponse
from django.views.decorators.http import require_GET

from audit import notices, sse, timeline
from audit.hub import hub
from audit.timeline import Filters
from sessions import policy
from sessions.models import AgentSession, Person
from sessions.parties import viewer
from sessions.views.inbox import render_inbox
from sessions.views.session import render_each, render_panel
from sessions.views.session_list import render_session_rows

HEARTBEAT_S = 15.0
LONGEST_S = 600.0

P = ParamSpec("P")
T = TypeVar("T")


class Gone(Exception):
    """The viewer may not see this any more."""


async def in_thread(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run database work in a thread, and give its connection back at once: a stream holds none while it waits."""

    def run() -> T:
        try:
            return act(*args, **kwargs)
        finally:
            close_old_connections()

    return await sync_to_async(run, thread_sensitive=False)()


async def give_back() -> None:
    """Give back the connection of the request's own thread, in which the gate asked who it is.

    It would be held as long as the stream; and where many connect at once, each would have one and wait for a second.
    Before the view's own work, and again before the first frame: what comes after the view may have taken another.
    """
    await sync_to_async(close_old_connections)()


@require_GET
async def session_stream(request: HttpRequest, session_id: uuid.UUID) -> StreamingHttpResponse | HttpResponseNotFound:
    await give_back()
    watch = SessionWatch(request, session_id, Filters.from_query(request.GET.dict()), _cursor(request))
    try:
        await in_thread(watch.authorise)
    except Gone:
        # Answered here: Django renders a raised Http404 in a pool's thread, which would keep its connection.
        return HttpResponseNotFound("Not found.", content_type="text/plain")
    return sse.response(_frames(watch.look, notices.stream_topic(session_id)))


@require_GET
async def inbox_stream(request: HttpRequest) -> StreamingHttpResponse:
    await give_back()
    return sse.response(_frames(FragmentWatch(request, render_inbox).look, notices.FLEET))


@require_GET
async def session_list_stream(request: HttpRequest) -> StreamingHttpResponse:
    await give_back()
    query = request.GET.dict()
    watch = FragmentWatch(request, lambda person: render_session_rows(person, query))
    return sse.response(_frames(watch.look, notices.FLEET))


@dataclass(frozen=True)
class Look:
    """What a look found, as frames, and whether there is more to see at once."""

    frames: list[str]
    more: bool = False


@dataclass
class SessionWatch:
    """One viewer of one session: how far they have seen its stream, and the panel as they have it."""

    request: HttpRequest
    session_id: uuid.UUID
    filters: Filters
    cursor: int
    panel: str = field(default="", init=False)

    def authorise(self) -> Person:
        person = signed_in(self.request)
        team = AgentSession.objects.filter(pk=self.session_id).values_list("team_id", flat=True).first()
        if team is None or not policy.may_see(viewer(person), team):
            raise Gone
        return person

    def look(self) -> Look:
        """A page of what is new since the last look; the panel once there is no more.

        The viewer is authorised after the reading: nothing that happened after they lost the right is ever sent.
        """
        entries, looked = timeline.after(self.session_id, self.cursor, self.filters)
        person = self.authorise()
        rows = zip(entries, render_each(entries), strict=True)
        frames = [sse.frame("row", row, entry.seq) for entry, row in rows]
        more, self.cursor = looked > self.cursor, looked
        panel = "" if more else render_panel(self.session_id, person)
        if panel not in ("", self.panel):
            self.panel = panel
            frames.append(sse.frame("fragment", panel))
        return Look(frames, more)


@dataclass
class FragmentWatch:
    """One viewer of a fragment that is sent whenever it differs from what they have."""

    request: HttpRequest
    render: Callable[[Person], str]
    shown: str = field(default="", init=False)

    def look(self) -> Look:
        html = self.render(signed_in(self.request))
        if html == self.shown:
            return Look([])
        self.shown = html
        return Look([sse.frame("fragment", html)])


def signed_in(request: HttpRequest) -> Person:
    """The person, as the sign-in stands now. Raises Gone."""
    key = request.session.session_key
    if key is None or not request.session.exists(key):
        raise Gone
    person = get_user(request)
    if not isinstance(person, Person) or not person.is_active:
        raise Gone
    return person


async def _frames(look: Callable[[], Look], topic: str) -> AsyncIterator[str]:
    """Look, send, wait; for ten minutes at most, after which the browser comes back by itself."""
    ends = time.monotonic() + LONGEST_S
    quiet_since = time.monotonic()
    await give_back()
    yield sse.RETRY
    async with hub().waiting(topic) as waiter:
        while time.monotonic() < ends:
            try:
                found = await in_thread(look)
            except Gone:
                yield sse.frame("bye", "")
                return
            for frame in found.frames:
                yield frame
            if found.more:
                continue
            if found.frames or time.monotonic() - quiet_since > HEARTBEAT_S:
                quiet_since = time.monotonic()
                yield sse.HEARTBEAT
            await waiter.wait(HEARTBEAT_S)


def _cursor(request: HttpRequest) -> int:
    """The position that the viewer has: the browser's own Last-Event-ID, else ?after=; whichever is further."""
    given = (request.headers.get("Last-Event-ID", ""), request.GET.get("after", ""))
    return max((int(value) for value in given if value.isdecimal() and len(value) < 19), default=0)
