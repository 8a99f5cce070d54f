"""How old a long-lived secret is, said before it is approved."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.urls import reverse

from audit.event import now
from sessions.providers import registry, static
from sessions.providers.contract import CredentialError
from stack.openbao_setup import put_secret
from tests import factories
from tests.factories import GITHUB, TO_GITHUB

CONTENT = {**factories.CONTENT, "authorization_details": [TO_GITHUB, GITHUB]}


@pytest.fixture
def asked(db, stack):
    put_secret(stack.openbao, "github", "an older one")
    put_secret(stack.openbao, "github", "canary-ghp_7f3a9c")
    cache.clear()
    return factories.world(CONTENT), registry.provider("static")


def path(world):
    return reverse("session-ages", args=[world.request().agent_session.pk])


def test_openbao_says_from_when_the_newest_version_is(asked):
    _, provider = asked
    assert now() - timedelta(minutes=5) < provider.since([GITHUB]) < now() + timedelta(minutes=5)


def test_age_is_said_in_red(asked, browse, monkeypatch):
    world, _ = asked
    monkeypatch.setattr(static.Static, "since", lambda self, details: now() - timedelta(days=400, hours=3))
    html = browse(world.lead).get(path(world)).content.decode()
    assert "secret:github is 400 days 3 hours old" in html
    assert '<p class="problem">' in html


def test_page_asks_for_it_while_it_can_be_decided_on(asked, browse):
    world, _ = asked
    session = world.request().agent_session
    ages = reverse("session-ages", args=[session.pk])
    lead = browse(world.lead)
    for page in (reverse("inbox"), reverse("session", args=[session.pk])):
        assert ages in lead.get(page).content.decode()
    short = factories.world()
    page = reverse("session", args=[short.request().agent_session.pk])
    assert "/ages" not in browse(short.lead).get(page).content.decode()


def test_age_that_is_not_known_is_said_and_asked_for_once(asked, browse, monkeypatch):
    world, _ = asked
    tried = []

    def silent(self, details):
        tried.append(details)
        raise CredentialError("OpenBao does not answer: we could not read.", silent=True)

    monkeypatch.setattr(static.Static, "since", silent)
    lead, one = browse(world.lead), path(world)
    answers = [lead.get(one).content.decode() for _ in range(2)]
    assert all("secret:github may be of any age: OpenBao does not answer" in each for each in answers)
    assert len(tried) == 1


def test_secret_that_is_not_there_has_no_age(asked):
    _, provider = asked
    with pytest.raises(CredentialError, match="OpenBao has no secret nowhere under agent-secrets"):
        provider.since([{**GITHUB, "locations": ["kv:nowhere"]}])


def test_nobody_else_learns_it(asked, browse):
    world, _ = asked
    assert browse(world.stranger).get(path(world)).status_code == 404
