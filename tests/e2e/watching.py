"""A session with a timeline that grows, and a browser page that watches it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from playwright.sync_api import Browser, Page, expect

from audit import log, timeline
from sessions.lifecycle.changes import event_of
from sessions.models import AgentSession, Person
from sessions.parties import agent_of
from tests import factories
from tests.actors import signed_in

T = TypeVar("T")
PACE_S = 0.04
SEQS = "[...document.querySelectorAll('#timeline > li')].map((row) => Number(row.dataset.seq))"


def in_thread(act: Callable[[], T]) -> T:
    """Database work beside a browser, whose event loop runs in the thread of the test."""
    from django.db import connections

    answers: list[T] = []

    def run() -> None:
        try:
            answers.append(act())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name="database")
    thread.start()
    thread.join()
    return answers[0]


def active_session(world: factories.World) -> AgentSession:
    """Active as far as rows say; no worker minted anything."""
    agent_session = world.approved()
    factories.issue(agent_session)
    return AgentSession.objects.get(pk=agent_session.id)


def append(agent_session: AgentSession, kinds: Sequence[str]) -> int:
    """One event of each kind, in one committed transaction of their own; returns the stream's last number."""
    from django.db import transaction

    data = {"statement": "SELECT count(*) FROM orders"}
    with transaction.atomic():
        events = [event_of(agent_session, kind, agent_of(agent_session), data) for kind in kinds]
        log.append_batch(agent_session.id, events)
    return timeline.last_seq(agent_session.id)


def opened(browser: Browser, url: str, person: Person, path: str) -> Page:
    """A page of that person; `window.marker` is gone if it ever reloads."""
    cookie: Any = {"name": "drawbridge", "value": in_thread(lambda: signed_in(person)), "url": url}
    context = browser.new_context()
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(url + path)
    page.evaluate("window.marker = true")
    expect(page.locator("[data-pulse]")).to_have_text("Live")
    return page


def shown(page: Page) -> list[int]:
    """The numbers of the rows on the page, oldest first."""
    return list(reversed(page.evaluate(SEQS)))


def wait_until_shown(page: Page, seq: int, timeout_s: float = 30) -> None:
    page.wait_for_selector(f"#timeline > li[data-seq='{seq}']", timeout=timeout_s * 1000)


class Writer:
    """Appends to a session without pause, each time in a transaction of its own, until the block ends."""

    def __init__(self, agent_session: AgentSession, kinds: Sequence[str]) -> None:
        self.last = 0
        self._session, self._kinds = agent_session, kinds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        from django.db import connections

        try:
            while not self._over.wait(PACE_S):
                self.last = append(self._session, self._kinds)
        finally:
            connections.close_all()
