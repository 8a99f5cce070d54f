"""What all pages share: the frame, the policy for scripts, the pages for errors, signing in."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import get_template, render_to_string
from django.test import Client
from django.urls import reverse

from tests.factories import PASSWORD

TEMPLATES = sorted((settings.ROOT / "templates").rglob("*.html"))
INLINE = re.compile(r"""<style|\sstyle=|\son[a-z]+=["']|javascript:|<script(?![^>]*\ssrc=)""")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(settings.ROOT / "templates")))
def test_template_has_nothing_inline_and_compiles(template: Path):
    assert INLINE.search(template.read_text()) is None
    get_template(str(template.relative_to(settings.ROOT / "templates")))


def test_policy_lets_only_our_own_files_in(client, db):
    policy = client.get("/accounts/login/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_scripts_and_styles_are_served(client, db):
    html = client.get("/accounts/login/").content.decode()
    paths = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert len(paths) >= 4
    for path in paths:
        answer = client.get(path)
        assert (answer.status_code, len(answer.getvalue()) > 100) == (200, True)


def test_sign_in_leads_to_the_inbox(world):
    client = Client()
    answer = client.post(reverse("account_login"), {"login": world.lead.email, "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_sign_in_offers_no_sign_up_and_no_reset(client, db):
    html = client.get("/accounts/login/").content.decode()
    assert "signup" not in html
    assert "reset" not in html


def test_wrong_password_keeps_the_address(world):
    answer = Client().post(reverse("account_login"), {"login": world.lead.email, "password": "wrong"})
    html = answer.content.decode()
    assert 'role="alert"' in html
    assert f'value="{world.lead.email}"' in html


@pytest.mark.parametrize("name", ["mfa_index", "account_change_password", "account_logout"])
def test_account_pages_are_in_our_frame(world, browse, name):
    assert 'aria-label="Main"' in browse(world.lead).get(reverse(name)).content.decode()


def test_unknown_page_is_in_our_frame(world, browse):
    answer = browse(world.lead).get("/nowhere")
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.content.decode()


def test_broken_page_needs_nothing_that_could_break_too():
    assert "<h1>Something broke</h1>" in render_to_string("500.html")


def test_forbidden_page_is_in_our_frame(rf):
    assert "<h1>Not allowed</h1>" in render_to_string("403.html")
