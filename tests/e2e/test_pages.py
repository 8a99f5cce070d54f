"""Every page, wide and on a phone, light and dark: readable by everybody, and within its width."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import Served

PATHS = (
    "/",
    "/sessions/",
    "/log/",
    "/credentials/",
    "/switch/",
    "/reconciliations/",
    "/agents/",
    "/profiles/",
    "/gateways/",
    "/device",
    "/teams/platform/people/",
    "/accounts/2fa/",
)
LOOKS = ((1280, "light"), (1280, "dark"), (360, "light"), (360, "dark"))


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def viewer(request: pytest.FixtureRequest, server: Served, browser: Browser) -> Iterator[Page]:
    width, scheme = request.param
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        server.sign_in(page, "lead")
        yield page


def test_pages_hold_up_to_axe_and_to_their_width(server: Served, viewer: Page) -> None:
    paths = [*PATHS, *_one_of_each(server, viewer)]
    problems = []
    for path in paths:
        viewer.goto(server.url + path)
        found = Axe().run(viewer, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
        problems += [f"{path}: {one['id']}: {one['help']}" for one in found.response["violations"]]
        if viewer.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{path}: wider than the screen")
    assert problems == []


def test_no_page_breaks_its_own_content_policy(server: Served, lead: Page) -> None:
    refused: list[str] = []
    lead.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    lead.on("pageerror", lambda error: refused.append(str(error)))
    for path in PATHS:
        lead.goto(server.url + path)
    assert refused == []


def test_pages_work_without_javascript(server: Served, browser: Browser) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        server.sign_in(page, "lead")
        for path in PATHS:
            answer = page.goto(server.url + path)
            assert answer is not None
            assert answer.status == 200


def _one_of_each(server: Served, page: Page) -> list[str]:
    """A page of one session, one agent and one profile, and the page below it."""
    found = []
    for listing, below in (("/sessions/", "more"), ("/agents/", "verification"), ("/profiles/", "denied")):
        page.goto(server.url + listing)
        links = [link.get_attribute("href") or "" for link in page.locator("main a").all()]
        deep = [link for link in links if link.startswith(listing) and len(link) > len(listing) + 30]
        found += [*deep[:1], *(f"{link}{below}" for link in deep[:1])]
    return found
