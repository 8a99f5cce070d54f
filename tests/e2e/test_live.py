"""A timeline that grows while the way to the server breaks: in the end each event is on the page once, in order."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from sessions.models import AgentSession
from stack import Stack
from stack.supervisor import Supervisor
from tests import factories
from tests.e2e.proxy import Proxy
from tests.e2e.watching import Writer, active_session, in_thread, opened, shown, wait_until_shown
from tests.outage import is_up
from tests.waiting import eventually

KINDS = ("tool.called", "db.statement", "file.read")
PATIENCE_MS = 30_000


@dataclass(frozen=True)
class Site:
    running: Supervisor
    proxy: Proxy


@pytest.fixture(scope="module")
def site(stack: Stack, django_db_setup: None) -> Iterator[Site]:
    environment = stack.environment()
    with stack.processes("web") as running, Proxy(int(environment["PORT"])) as proxy:
        eventually(lambda: is_up(environment["DRAWBRIDGE_URL"]), 60)
        yield Site(running, proxy)


@pytest.fixture
def world(committed: None) -> factories.World:
    return in_thread(factories.world)


@pytest.fixture
def watched(world: factories.World) -> AgentSession:
    return in_thread(lambda: active_session(world))


@pytest.fixture
def watch(site: Site, browser: Browser, world: factories.World, watched: AgentSession) -> Iterator[Page]:
    page = opened(browser, site.proxy.url, world.lead, f"/sessions/{watched.id}/")
    yield page
    page.context.close()


def whole(page: Page, last: int) -> bool:
    """Every number once, in order, and the page is the one that was opened."""
    wait_until_shown(page, last)
    return shown(page) == list(range(1, last + 1)) and page.evaluate("window.marker") is True


def test_cut_connections_lose_nothing_and_double_nothing(site: Site, watch: Page, watched: AgentSession) -> None:
    with Writer(watched, KINDS) as writer:
        for _ in range(3):
            streams, written = site.proxy.streams, writer.last
            eventually(lambda written=written: writer.last > written + 10)
            site.proxy.cut()
            eventually(lambda streams=streams: site.proxy.streams > streams)
    assert whole(watch, writer.last)
    assert writer.last > 50


def test_refused_connections_lose_nothing_and_double_nothing(site: Site, watch: Page, watched: AgentSession) -> None:
    with Writer(watched, KINDS) as writer:
        eventually(lambda: writer.last)
        with site.proxy.refusing():
            expect(watch.locator("[data-pulse]")).to_have_text("Reconnecting…", timeout=PATIENCE_MS)
            written = writer.last
            eventually(lambda: writer.last > written + 120)
        expect(watch.locator("[data-pulse]")).to_have_text("Live", timeout=PATIENCE_MS)
    assert whole(watch, writer.last)


def test_killed_server_loses_nothing_and_doubles_nothing(site: Site, watch: Page, watched: AgentSession) -> None:
    with Writer(watched, KINDS) as writer:
        eventually(lambda: writer.last)
        killed = site.running.pid("web")
        site.running.kill("web")
        eventually(lambda: site.running.pid("web") != killed)
        expect(watch.locator("[data-pulse]")).to_have_text("Live", timeout=PATIENCE_MS)
    assert whole(watch, writer.last)


def test_filters_of_the_address_hold_for_what_arrives(
    site: Site, browser: Browser, world: factories.World, watched: AgentSession
) -> None:
    page = opened(browser, site.proxy.url, world.lead, f"/sessions/{watched.id}/?kind=db")
    assert shown(page) == []
    with Writer(watched, KINDS) as writer:
        eventually(lambda: writer.last > 20)
        streams = site.proxy.streams
        site.proxy.cut()
        eventually(lambda: site.proxy.streams > streams)
    kinds = in_thread(lambda: factories.kinds_of(watched.id))
    matching = [seq for seq, kind in enumerate(kinds, 1) if kind.startswith("db.")]
    wait_until_shown(page, matching[-1])
    assert shown(page) == matching
    page.context.close()
