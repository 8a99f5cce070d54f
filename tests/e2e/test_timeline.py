"""The timeline in a browser: the brush, the chart that keeps pace, and a badge that can say no."""

import base64
import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from sessions.models import AgentSession
from stack import Stack
from tests import factories
from tests.e2e.watching import Writer, active_session, append, in_thread, opened
from tests.outage import is_up
from tests.waiting import eventually

PATIENCE_MS = 30_000
KINDS = ("tool.called", "db.statement", "file.read")
Change = Callable[[bytes], bytes]


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
def watched(world: factories.World) -> AgentSession:
    return in_thread(lambda: active_session(world))


@pytest.fixture
def page(url: str, browser: Browser, world: factories.World, watched: AgentSession) -> Iterator[Page]:
    in_thread(lambda: append(watched, KINDS))
    page = opened(browser, url, world.lead, f"/sessions/{watched.id}/")
    yield page
    page.context.close()


def open_newest(page: Page) -> None:
    """Opens the newest row once its event is signed for."""
    page.locator("#timeline > li").first.locator("summary").click()
    expect(page.locator("[data-verdict]")).not_to_have_text("not checked", timeout=PATIENCE_MS)


def wait_for_chart(page: Page) -> None:
    expect(page.locator("#chart .bar").first).to_be_attached(timeout=PATIENCE_MS)


def test_browser_verifies_the_event_that_is_opened(page: Page) -> None:
    open_newest(page)
    expect(page.locator("[data-verdict]")).to_have_text("verified")
    expect(page.locator("[data-reason]")).to_contain_text("these bytes are in the log of")


def flipped(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def other_path(proof: bytes) -> bytes:
    """The first hash of the way up, changed."""
    lines = proof.split(b"\n")
    lines[2] = base64.b64encode(flipped(base64.b64decode(lines[2])))
    return b"\n".join(lines)


def other_signature(proof: bytes) -> bytes:
    head, dash, last = proof.rpartition("— ".encode())
    name, _, signature = last.strip().partition(b" ")
    return head + dash + name + b" " + base64.b64encode(flipped(base64.b64decode(signature))) + b"\n"


def larger_size(proof: bytes) -> bytes:
    head, _, note = proof.partition(b"\n\n")
    origin, size, rest = note.split(b"\n", 2)
    return b"\n".join((head, b"", origin, str(int(size) + 1).encode(), rest))


TAMPERED: dict[str, tuple[str, Change]] = {
    "a bit of the event": ("leaf", flipped),
    "a byte less of the event": ("leaf", lambda leaf: leaf[:-1]),
    "a hash of the way up": ("proof", other_path),
    "the index": ("proof", lambda proof: re.sub(rb"index \d+", b"index 0", proof)),
    "the signature": ("proof", other_signature),
    "the size that was signed": ("proof", larger_size),
    "no proof at all": ("proof", lambda proof: b"nonsense"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_badge_says_no_to_what_was_tampered_with(page: Page, what: str) -> None:
    name, change = TAMPERED[what]

    def tamper(route: Route) -> None:
        answer = route.fetch()
        changed = re.sub(
            f'data-{name}="([^"]+)"',
            lambda found: f'data-{name}="{base64.b64encode(change(base64.b64decode(found[1]))).decode()}"',
            answer.text(),
        )
        route.fulfill(response=answer, body=changed)

    page.route(re.compile("/events/"), tamper)
    open_newest(page)
    expect(page.locator("[data-verdict]")).to_have_text("does not check")
    expect(page.locator(".proof[role=alert]")).to_contain_text("tell security")


def test_proof_by_a_key_that_is_not_the_logs_does_not_check(page: Page) -> None:
    def tamper(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer, body=re.sub(r'data-keys="([^+]+)\+\w{8}', r'data-keys="\1+00000000', answer.text())
        )

    page.route(re.compile("/events/"), tamper)
    open_newest(page)
    expect(page.locator("[data-reason]")).to_contain_text("No key of this log signed the checkpoint.")


def test_browser_without_ed25519_says_that_it_did_not_check(page: Page) -> None:
    page.evaluate("() => { crypto.subtle.importKey = () => Promise.reject(new Error('unknown')); }")
    open_newest(page)
    expect(page.locator("[data-verdict]")).to_have_text("not checked by this browser")


def test_chart_keeps_pace_without_a_reload(page: Page, watched: AgentSession) -> None:
    wait_for_chart(page)
    with Writer(watched, KINDS):
        expect(page.locator("#chart .counts tbody tr", has_text="files").locator("td").last).not_to_have_text(
            "1", timeout=PATIENCE_MS
        )
    assert page.evaluate("window.marker") is True


def chosen(page: Page) -> float:
    """Seconds between since and until in the address."""
    page.wait_for_url(re.compile("since="), timeout=PATIENCE_MS)
    query = parse_qs(urlsplit(page.url).query)
    return float(
        page.evaluate("([a, b]) => (new Date(b) - new Date(a)) / 1000", [query["since"][0], query["until"][0]])
    )


def test_time_is_brushed_with_the_pointer(page: Page) -> None:
    wait_for_chart(page)
    step, columns = (int(page.locator("#chart").get_attribute(f"data-{name}") or 0) for name in ("step", "columns"))
    box = page.locator("#chart svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 60, steps=5)
    expect(page.locator("[data-brushed]")).to_contain_text(" to ")
    page.mouse.up()
    assert chosen(page) == step * columns
    expect(page.locator(".chips")).to_contain_text("Until")


def test_time_is_brushed_with_the_keyboard(page: Page) -> None:
    wait_for_chart(page)
    step = int(page.locator("#chart").get_attribute("data-step") or 0)
    page.locator("#chart svg").focus()
    page.keyboard.press("Home")
    expect(page.locator("#announcer")).to_contain_text(" to ")
    page.keyboard.press("Enter")
    assert chosen(page) == step


def test_brush_is_dropped_with_escape(page: Page) -> None:
    wait_for_chart(page)
    page.locator("#chart svg").focus()
    page.keyboard.press("End")
    page.keyboard.press("Escape")
    expect(page.locator("[data-brushed]")).to_contain_text("a column")
    expect(page.locator("#chart .brush")).to_have_attribute("width", "0")


def test_phone_shows_chart_and_open_event_within_its_width(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    wait_for_chart(page)
    page.locator("#chart summary").click()
    open_newest(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_without_javascript_columns_and_events_are_links(page: Page, url: str, browser: Browser) -> None:
    wait_for_chart(page)
    with browser.new_context(java_script_enabled=False) as context:
        context.add_cookies(page.context.cookies())
        plain = context.new_page()
        plain.goto(page.url)
        plain.locator("#chart a.part").first.focus()
        plain.keyboard.press("Enter")
        plain.wait_for_url(re.compile("since=.*until="))
        plain.locator("#timeline > li summary").first.click()
        plain.get_by_role("link", name="The whole event, and its proof").first.click()
        expect(plain.locator("h1")).to_contain_text("Event")
        expect(plain.locator(".proof")).to_contain_text("Exact bytes")
