"""Profiles: proposing, publishing by another, and what changed."""

import json

import pytest
from django.urls import reverse

from sessions import lifecycle
from sessions.models import Profile
from tests.factories import CONTENT


def path(name, world, *more):
    return reverse(f"profile-{name}", args=[world.profile.id, *more])


def page(client, world, query=""):
    return client.get(reverse("profile", args=[world.profile.id]) + query).content.decode()


def shorter(world):
    content = {**CONTENT, "limits": {**CONTENT["limits"], "duration": 1800}}
    return lifecycle.propose_profile_version(world.profile, content, world.admin)


def test_list_shows_what_is_offered(world, browse):
    html = browse(world.auditor).get("/profiles/").content.decode()
    assert "Read orders and customers, work on shipments." in html
    assert "v1, published" in html


def test_page_tells_the_published_version_in_words(world, browse):
    html = page(browse(world.auditor), world)
    assert "Read rows of customers and orders in the database warehouse." in html
    assert "A session lasts 1 hour at most, a credential 15 minutes." in html


def test_diff_has_signs_and_words(world, browse):
    shorter(world)
    html = page(browse(world.auditor), world)
    assert "What changed from v1 to v2" in html
    assert '<tr class="is-removed"><td><span aria-hidden="true">-</span><span class="unseen">removed</span>' in html
    assert "&quot;duration&quot;: 1800" in html


@pytest.mark.parametrize("query", ["?from=2&to=1", "?from=x&to=99", "?from=1&to=1"])
def test_any_two_versions_are_compared(world, browse, query):
    shorter(world)
    assert "What changed from v" in page(browse(world.auditor), world, query)


def test_propose_starts_from_the_newest_version(world, browse):
    html = browse(world.lead).get(path("propose", world)).content.decode()
    assert "&quot;summary&quot;: &quot;Read orders and customers, work on shipments.&quot;" in html


def test_propose_adds_a_version_for_somebody_else_to_publish(world, browse):
    content = json.dumps({**CONTENT, "summary": "Other"})
    answer = browse(world.lead).post(path("propose", world), {"content": content}, follow=True)
    html = answer.content.decode()
    assert world.profile.versions.count() == 2
    assert "You proposed this version, so somebody else has to publish it." in html


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": ', "This is not JSON: "),
        ("[]", "A profile is one JSON object"),
        ('{"authorization_details": [], "limits": {}}', "authorization_details must be a list of 1 to 20 objects."),
    ],
)
def test_propose_of_nonsense_says_why_and_loses_nothing(world, browse, content, said):
    answer = browse(world.lead).post(path("propose", world), {"content": content})
    html = answer.content.decode()
    assert (answer.status_code, world.profile.versions.count()) == (422, 1)
    assert said in html
    assert content.replace('"', "&quot;") in html


def test_publish_by_another_puts_it_to_use(world, browse):
    version = shorter(world)
    browse(world.lead).post(path("publish", world, version.id))
    assert world.profile.current == version


def test_publish_twice_is_a_conflict(world, browse):
    answer = browse(world.lead).post(path("publish", world, world.version.id))
    assert answer.status_code == 409
    assert "The profile version is published now" in answer.content.decode()


def test_version_of_another_profile_is_not_found_here(world, browse):
    other = lifecycle.create_profile(world.team, "other", "Other", world.admin)
    answer = browse(world.lead).post(reverse("profile-publish", args=[other.id, shorter(world).id]))
    assert answer.status_code == 404


def test_create_leads_to_its_first_version(world, browse):
    asked = {"name": "Billing", "slug": "billing", "team": world.team.slug}
    answer = browse(world.lead).post("/profiles/create", asked, follow=True)
    assert Profile.objects.filter(team=world.team, slug="billing").exists()
    assert "Propose a version" in answer.content.decode()


@pytest.mark.parametrize("slug", ["warehouse-orders", "not a slug"])
def test_create_that_fails_keeps_what_was_typed(world, browse, slug):
    asked = {"name": "Another name", "slug": slug, "team": world.team.slug}
    answer = browse(world.lead).post("/profiles/create", asked)
    assert answer.status_code == 422
    assert 'value="Another name"' in answer.content.decode()
