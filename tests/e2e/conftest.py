"""A whole Drawbridge as `script/server` starts it, and Debian's Chromium in front of it."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from stack.data_dir import DataDir
from stack.ports import free_port
from stack.postgres import Postgres
from stack.unprivileged import forget_cluster
from tests.conftest import REPOSITORY

CHROMIUM = "/usr/bin/chromium"
READY_S = 120


@dataclass(frozen=True)
class Served:
    """A running server: where it answers, who may sign in, and its own PostgreSQL."""

    url: str
    people: dict[str, dict[str, str]]
    data: DataDir

    def log(self, name: str) -> str:
        return self.data.log(name).read_text()

    def warehouse(self) -> Any:
        """A superuser's connection to the database that the rehearsal agent works on."""
        ports = json.loads(self.data.path("ports.json").read_text())
        return Postgres(self.data, ports["postgres"]).connect("warehouse")

    def sign_in(self, page: Page, role: str) -> None:
        person = self.people[role]
        page.goto(f"{self.url}/accounts/login/")
        page.get_by_label("E-mail address").fill(person["email"])
        page.get_by_label("Password").fill(person["password"])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{self.url}/")


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
    folder = Path(tempfile.mkdtemp(prefix="drawbridge-"))
    port = str(free_port(set()))
    command = ["script/server", "--data-dir", str(folder), "--port", port]
    with subprocess.Popen(command, cwd=REPOSITORY, env=_environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            said = _until_ready(process)
            people = {one["role"]: one for one in json.loads((folder / "people.json").read_text())}
            yield Served(f"http://127.0.0.1:{port}", people, DataDir(folder))
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[0]
            forget_cluster(DataDir(folder))
            shutil.rmtree(folder)
    assert process.returncode == 0, said


def _environment() -> dict[str, str]:
    """Without what the test run's own services put there, which is another Drawbridge."""
    keep = ("PATH", "HOME", "LANG", "PYTHON", "TMPDIR")
    return {name: value for name, value in os.environ.items() if name in keep or name.endswith(("CERTS", "CERT_FILE"))}


def _until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said, ends = "", time.monotonic() + READY_S
    for line in process.stdout:
        said += line
        if line.startswith("Ctrl-C"):
            return said
        assert time.monotonic() < ends, f"not ready within {READY_S} s:\n{said}"
    pytest.fail(f"script/server ended:\n{said}")


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    quiet = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    return {"executable_path": CHROMIUM, "args": ["--no-sandbox", "--no-proxy-server", *quiet]}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture
def lead(server: Served, page: Page) -> Page:
    server.sign_in(page, "lead")
    return page


@pytest.fixture
def phone(server: Served, browser: Browser) -> Iterator[Page]:
    """A lead's phone: 360 pixels wide, dark."""
    with browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark") as context:
        page = context.new_page()
        server.sign_in(page, "lead")
        yield page
