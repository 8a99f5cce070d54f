"""The fleet in a browser: activity comes by itself, no lane moves under a pointer, and a kill proves itself."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from sessions import lifecycle
from sessions.models import AgentSession
from stack import Stack
from tests import factories
from tests.e2e.conftest import Served
from tests.e2e.watching import active_session, append, in_thread, opened
from tests.outage import is_up
from tests.sessions.views import test_fleet
from tests.waiting import eventually

PATIENCE_MS = 30_000
LOOKS = ((1280, "light"), (1280, "dark"), (360, "light"), (360, "dark"))
ORDER = "[...document.querySelectorAll('#fleet > li')].map((lane) => lane.id.replace('lane-', ''))"
# A finger comes down on the switch of the first lane as soon as another lane is first.
HASTY = """async () => {
    const list = document.getElementById("fleet"), before = list.firstElementChild.id;
    while (list.firstElementChild.id === before) await new Promise(requestAnimationFrame);
    const click = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1 });
    list.firstElementChild.querySelector(".kill").dispatchEvent(click);
    return click.defaultPrevented;
}"""


@pytest.fixture(scope="module")
def url(stack: Stack, django_db_setup: None) -> Iterator[str]:
    with stack.processes("web", "integrator"):
        address = stack.environment()["DRAWBRIDGE_URL"]
        eventually(lambda: is_up(address), 60)
        yield address


@pytest.fixture
def world(committed: None) -> factories.World:
    return in_thread(factories.world)


@pytest.fixture
def pair(world: factories.World) -> list[AgentSession]:
    return [in_thread(lambda: active_session(world)) for _ in range(2)]


@pytest.fixture
def fleet(url: str, browser: Browser, world: factories.World, pair: list[AgentSession]) -> Iterator[Page]:
    page = opened(browser, url, world.lead, "/fleet/")
    yield page
    page.context.close()


def order(page: Page) -> list[str]:
    found: list[str] = page.evaluate(ORDER)
    return found


def refuse(agent_session: AgentSession) -> None:
    from django.db import transaction

    with transaction.atomic():
        test_fleet.report(agent_session, "denied", "http.request", host="pastebin.example")


def lane(page: Page, agent_session: AgentSession):  # type: ignore[no-untyped-def]
    return page.locator(f"#lane-{agent_session.id}")


def test_activity_arrives_in_its_lane_without_reload(fleet: Page, pair: list[AgentSession]) -> None:
    before = lane(fleet, pair[1]).locator(".bars").first.get_attribute("d")
    in_thread(lambda: append(pair[1], ["db.statement"]))
    expect(lane(fleet, pair[1])).to_contain_text("SELECT count(*) FROM orders", timeout=PATIENCE_MS)
    expect(lane(fleet, pair[1]).locator(".bars").first).not_to_have_attribute("d", before or "", timeout=PATIENCE_MS)
    expect(lane(fleet, pair[0])).not_to_contain_text("SELECT")
    assert fleet.evaluate("window.marker") is True


def test_refused_lane_comes_first_and_new_lanes_come_by_themselves(
    fleet: Page, world: factories.World, pair: list[AgentSession]
) -> None:
    in_thread(lambda: refuse(pair[1]))
    eventually(lambda: order(fleet) == [str(pair[1].id), str(pair[0].id)])
    expect(lane(fleet, pair[1])).to_have_class(re.compile("is-refused"))
    third = in_thread(lambda: active_session(world))
    eventually(lambda: order(fleet)[-1] == str(third.id))
    expect(lane(fleet, third)).to_contain_text("shipping-bot", timeout=PATIENCE_MS)
    in_thread(lambda: lifecycle.complete(third.id, f"agent:{world.agent.id}"))
    expect(lane(fleet, third)).to_have_count(0, timeout=PATIENCE_MS)


def test_lanes_keep_their_places_while_somebody_points_at_one(fleet: Page, pair: list[AgentSession]) -> None:
    lane(fleet, pair[0]).get_by_role("button").hover()
    in_thread(lambda: refuse(pair[1]))
    expect(lane(fleet, pair[1])).to_have_class(re.compile("is-refused"), timeout=PATIENCE_MS)
    assert order(fleet) == [str(one.id) for one in pair]
    fleet.mouse.move(5, 5)
    eventually(lambda: order(fleet) == [str(pair[1].id), str(pair[0].id)])


def test_click_on_a_lane_that_has_just_come_kills_nothing(fleet: Page, pair: list[AgentSession]) -> None:
    fleet.evaluate(f"void (window.hasty = ({HASTY})())")
    in_thread(lambda: refuse(pair[1]))
    assert fleet.evaluate("window.hasty") is True
    expect(fleet.locator("#fleet-held")).to_contain_text("nothing was killed")
    assert [in_thread(lambda one=one: AgentSession.objects.get(pk=one.id).live) for one in pair] == [True, True]


def test_kill_from_a_lane_shows_its_proof(server: Served, lead: Page) -> None:
    live = _approve(server, lead)
    lead.goto(f"{server.url}/fleet/")
    lead.evaluate("window.marker = true")
    killed = lead.locator(f"#lane-{live}")
    expect(killed).to_contain_text("ends ", timeout=PATIENCE_MS)
    killed.get_by_role("button", name="Kill").click()
    expect(killed).to_contain_text("1 of 1 proven dead", timeout=PATIENCE_MS)
    expect(killed.get_by_role("button")).to_have_count(0)
    assert lead.evaluate("window.marker") is True


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_lanes_hold_up_to_axe_and_to_their_width(server: Served, browser: Browser, width: int, scheme: str) -> None:
    with browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        server.sign_in(page, "lead")
        if not _live(server, page):
            _approve(server, page)
        page.goto(f"{server.url}/fleet/")
        page.locator(".fleet-filters summary").click()
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
        assert [f"{one['id']}: {one['help']}" for one in found.response["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        box = page.locator("#fleet .kill").first.bounding_box()
        assert box is not None
        assert box["width"] >= 44
        assert box["height"] >= 40
        assert box["x"] + box["width"] <= width
        _kill(page, f"{server.url}/sessions/?live=1")


def _kill(page: Page, address: str) -> None:
    """Nothing is left live, so that the rehearsal asks again for whoever comes next."""
    page.goto(address)
    page.get_by_role("button", name="Kill").first.click()
    expect(page.locator("body")).to_contain_text("proven dead", timeout=PATIENCE_MS)


def _live(server: Served, page: Page) -> bool:
    page.goto(f"{server.url}/fleet/")
    return page.locator("#fleet .kill").count() > 0


def _approve(server: Served, page: Page) -> str:
    """Approves the rehearsal's request; returns the session that is live now."""
    page.goto(f"{server.url}/")
    request = page.locator("article.request").first
    expect(request).to_be_visible(timeout=PATIENCE_MS)
    request.get_by_role("button", name=re.compile("^Approve for")).click()
    page.wait_for_url(re.compile("/sessions/"))
    return page.url.rstrip("/").rsplit("/", 1)[1]
