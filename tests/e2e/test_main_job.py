"""The whole main job in a browser: approve the waiting request, watch, kill, see the proof."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Served

PATIENCE_MS = 30_000


def test_lead_approves_watches_kills_and_sees_the_proof(server: Served, lead: Page) -> None:
    request = lead.locator("article.request").first
    expect(request).to_contain_text("rehearsal", timeout=PATIENCE_MS)
    request.get_by_role("button", name=re.compile("^Approve for")).click()
    lead.wait_for_url(re.compile("/sessions/"))
    lead.evaluate("window.notReloaded = true")
    statements = lead.locator("#timeline > li", has_text=re.compile("SELECT|UPDATE|INSERT"))
    expect(statements.nth(4)).to_be_visible(timeout=PATIENCE_MS)

    role = lead.locator("article.lane code").first.inner_text()
    with server.warehouse() as superuser:
        assert _sessions(superuser, role) >= 1
        lead.get_by_role("button", name="Kill").click()
        lanes = lead.locator("article.lane")
        expect(lanes.first).to_contain_text("Proven dead", timeout=PATIENCE_MS)
        for lane in lanes.all():
            expect(lane).to_contain_text(re.compile(r"Revoked\s*\+[\d.]+"))
            expect(lane).to_contain_text(re.compile(r"Proven dead\s*\+[\d.]+"))
        assert _sessions(superuser, role) == 0
        assert superuser.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role]).fetchone() == (0,)

    timeline = lead.locator("#timeline")
    expect(timeline).to_contain_text("killed", timeout=PATIENCE_MS)
    expect(timeline).to_contain_text("passes nothing more for the session", timeout=PATIENCE_MS)
    expect(timeline).to_contain_text("password authentication failed", timeout=PATIENCE_MS)
    assert lead.evaluate("window.notReloaded")


def test_kill_from_the_list_takes_one_click(server: Served, lead: Page) -> None:
    request = lead.locator("article.request").first
    expect(request).to_be_visible(timeout=PATIENCE_MS)
    request.get_by_role("button", name=re.compile("^Approve for")).click()
    lead.wait_for_url(re.compile("/sessions/"))
    session_id = lead.url.rstrip("/").rsplit("/", 1)[1]
    expect(lead.locator("article.lane").first).to_contain_text("Live", timeout=PATIENCE_MS)
    lead.goto(f"{server.url}/sessions/?live=1")
    row = lead.locator(f"[id$='{session_id}']").first
    row.get_by_role("button", name="Kill").click()
    expect(lead.locator("body")).not_to_contain_text("Something went wrong")
    lead.goto(f"{server.url}/sessions/{session_id}/")
    expect(lead.locator("article.lane").first).to_contain_text("Proven dead", timeout=PATIENCE_MS)


def _sessions(superuser, role: str) -> int:  # type: ignore[no-untyped-def]
    return int(superuser.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [role]).fetchone()[0])
