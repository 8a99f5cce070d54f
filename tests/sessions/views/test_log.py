"""The page of the log: how far it is signed for, the keys, the places, and what is wrong."""

import pytest
from django.conf import settings
from django.urls import reverse

from audit import health
from tests.factories import events_of


def page(client):
    return client.get(reverse("log")).content.decode()


def test_page_names_keys_with_fingerprints_witnesses_and_places(world, browse):
    html = page(browse(world.auditor))
    assert settings.LOG_VERIFIER_KEYS[0] in html
    assert settings.LOG_WITNESSES[0]["key"] in html
    assert settings.LOG_STORE in html
    assert "python -m audit.verify" in html


@pytest.mark.parametrize("route", ["log", "log-checkpoint"])
def test_who_has_no_role_does_not_see_where_the_log_lies(world, browse, route):
    assert browse(world.stranger).get(reverse(route)).status_code == 404


def test_looking_at_the_log_is_logged(world, browse):
    page(browse(world.security))
    assert [one["data"] for one in events_of(world.security.id) if one["kind"] == "log.read"] == [{"what": "log"}]


def test_problem_is_told_on_every_page_and_on_the_logs_own(world, browse):
    health.report("witness", "The witness is away.")
    client = browse(world.lead)
    assert "The witness is away." in client.get(reverse("agent-list")).content.decode()
    assert page(client).count("The witness is away.") == 2


def test_problem_that_is_over_is_told_no_more(world, browse):
    health.report("witness", "The witness is away.")
    health.report("witness", None)
    assert "The witness is away." not in page(browse(world.lead))


def test_checkpoint_that_nobody_signed_is_said_to_be_unreadable(world, browse, settings, tmp_path):
    settings.LOG_STORE = str(tmp_path)
    (tmp_path / "checkpoint").write_text("nonsense")
    client = browse(world.lead)
    assert "The checkpoint cannot be read or believed now" in page(client)
    assert client.get(reverse("log-checkpoint")).status_code == 503


def test_log_without_a_checkpoint_says_so(world, browse, settings, tmp_path):
    settings.LOG_STORE = str(tmp_path)
    client = browse(world.lead)
    assert "<dd>none</dd>" in page(client)
    assert client.get(reverse("log-checkpoint")).status_code == 404
