"""A page that nobody touches and to which nothing is sent for ten minutes; then an event: it appears, once.

A stream lives ten minutes, so the event falls into the moment in which the browser comes back for the next one.

    script/drill idle [MINUTES]
"""

import sys
import time
from dataclasses import dataclass

from playwright.sync_api import Browser, sync_playwright

from stack import Stack
from tests.drills import stage

LATE_S = 15.0


@dataclass(frozen=True)
class Report:
    """`arrived_after_s` is how long each event took to the page; `streams` how often the page asked for its stream."""

    arrived_after_s: list[float]
    streams: int
    problems: list[str]


def run(stack: Stack, browser: Browser, minutes: float) -> Report:
    """Run the drill on a migrated stack. Django must be set up."""
    from tests import factories
    from tests.e2e.proxy import Proxy
    from tests.e2e.watching import active_session, append, in_thread, opened, shown, wait_until_shown

    world = in_thread(factories.world)
    watched = in_thread(lambda: active_session(world))
    with stack.processes("web"), Proxy(int(stack.environment()["PORT"])) as proxy:
        stage.wait_for_web(stack)
        page = opened(browser, proxy.url, world.lead, f"/sessions/{watched.id}/")
        page.wait_for_timeout(minutes * 60_000)
        took = []
        for kind in ("tool.called", "db.statement", "file.read"):
            began = time.monotonic()
            last = in_thread(lambda kind=kind: append(watched, [kind]))
            wait_until_shown(page, last, LATE_S)
            took.append(time.monotonic() - began)
            page.wait_for_timeout(3000)
        problems = [] if page.evaluate("window.marker") else ["the page was reloaded"]
        if shown(page) != list(range(1, last + 1)):
            problems.append(f"the page shows {shown(page)}, and the stream has 1 to {last}")
    return Report(took, proxy.streams, problems)


def main(arguments: list[str]) -> int:
    minutes = float(arguments[0]) if arguments else 10.0
    with stage.standing() as stack, sync_playwright() as playwright:
        from tests.e2e.conftest import CHROMIUM

        arguments = ["--no-sandbox", "--no-proxy-server", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        report = run(stack, browser, minutes)
    print(f"idle for {minutes:g} min; the page asked for its stream {report.streams} times")
    print("events arrived after " + ", ".join(f"{seconds:.2f} s" for seconds in report.arrived_after_s))
    print("\n".join(report.problems) or "every promise held")
    return 1 if report.problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
