"""A look at one session, as it stood at one moment, for all who watch it with the same filters: rendered once."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection, transaction

from audit import sse, timeline
from audit.timeline import Filters
from sessions import audience
from sessions.audience import Gone, SignIn
from sessions.models import AgentSession, Person
from sessions.panel import May
from sessions.policy import Viewer
from sessions.views.session import render_panel
from sessions.views.timeline import render_chart, render_each

# What a page shows beside its rows, each a fragment with an id of its own. Those of the first kind may depend on the
# viewer by their rights only (May): who has the same rights gets the same bytes.
BY_RIGHTS: tuple[Callable[[uuid.UUID, Person], str], ...] = (render_panel,)
FOR_ALL: tuple[Callable[[uuid.UUID, Filters], str], ...] = (render_chart,)
Fragments = tuple[bytes, ...]


@dataclass(frozen=True)
class Look:
    """`rows` are numbers and frames, `position` is how far was read; while there is `more`, there are no fragments yet.

    `rights` are those of the asked, in their order; None for whoever may not see it.
    """

    rows: list[tuple[int, bytes]]
    position: int
    more: bool
    rights: list[May | None]
    fragments: Mapping[May, Fragments]


def look(session_id: uuid.UUID, filters: Filters, after: int, sign_ins: Sequence[SignIn]) -> Look:
    """The next page after a position, and who of these may have it; the fragments once there is no more.

    All of it is one snapshot of the database: nothing that happened after somebody lost the right is in what they get.
    """
    with snapshot():
        entries, position = timeline.after(session_id, after, filters)
        htmls = render_each(entries) if entries else []
        agent_session = AgentSession.objects.get(pk=session_id)
        rights: list[May | None] = [None] * len(sign_ins)
        one_of_each: dict[May, Viewer] = {}
        for alike in audience.who_may_see(agent_session, sign_ins):
            may = May.of(alike.viewer, agent_session)
            one_of_each[may] = alike.viewer
            for place in alike.places:
                rights[place] = may
        more = position > after
        fragments = {} if more else _fragments(session_id, filters, one_of_each)
    rows = [(entry.seq, sse.frame("row", html, entry.seq)) for entry, html in zip(entries, htmls, strict=True)]
    return Look(rows, position, more, rights, fragments)


def authorise(session_id: uuid.UUID, sign_in: SignIn) -> None:
    """Raises Gone unless they may see the session now."""
    agent_session = AgentSession.objects.filter(pk=session_id).first()
    if agent_session is None or not any(audience.who_may_see(agent_session, [sign_in])):
        raise Gone


@contextmanager
def snapshot() -> Iterator[None]:
    """All reading inside is of one moment."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _fragments(session_id: uuid.UUID, filters: Filters, one_of_each: Mapping[May, Viewer]) -> dict[May, Fragments]:
    """Rendered for one of those who have the same rights."""
    shared = tuple(sse.frame("fragment", render(session_id, filters)) for render in FOR_ALL)
    people = Person.objects.in_bulk([viewer.id for viewer in one_of_each.values()])
    return {
        may: (*(sse.frame("fragment", render(session_id, people[viewer.id])) for render in BY_RIGHTS), *shared)
        for may, viewer in one_of_each.items()
    }
