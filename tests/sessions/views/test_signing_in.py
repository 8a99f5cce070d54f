"""Who tries passwords is slowed down, and nobody else is."""

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from tests import factories
from tests.factories import World

FAILURES = 10


def tries(client: Client, email: str, password: str) -> HttpResponse:
    return client.post(reverse("account_login"), {"login": email, "password": password})


@pytest.fixture
def locked(world: World, client: Client, settings) -> World:  # type: ignore[no-untyped-def]
    settings.ACCOUNT_RATE_LIMITS = False
    for _ in range(FAILURES):
        tries(client, world.lead.email, "wrong")
    return world


def test_ten_wrong_passwords_lock_the_person_at_this_address(locked: World) -> None:
    answer = tries(Client(), locked.lead.email, factories.PASSWORD)
    assert answer.status_code == 429
    assert b"Too many tries" in answer.content


def test_others_at_the_same_address_sign_in(locked: World) -> None:
    answer = tries(Client(), locked.second_lead.email, factories.PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("inbox"))


def test_person_signs_in_from_another_address(locked: World) -> None:
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert tries(elsewhere, locked.lead.email, factories.PASSWORD).status_code == 302


@pytest.mark.parametrize("path", ["/", "/sessions/", "/accounts/2fa/"])
def test_pages_of_somebody_signed_in_are_not_kept(world: World, browse, path: str) -> None:  # type: ignore[no-untyped-def]
    assert "no-store" in browse(world.lead).get(path).headers["Cache-Control"]


def test_search_for_what_no_text_holds_finds_nothing(world: World, browse) -> None:  # type: ignore[no-untyped-def]
    assert browse(world.lead).get("/sessions/", {"q": "a\x00b"}).status_code == 200


def test_inbox_shows_fifty_requests_and_counts_them_all(world: World, browse, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sessions.views.inbox.MOST_CARDS", 2)
    for _ in range(3):
        world.request()
    page = browse(world.lead).get("/").content.decode()
    assert page.count('<article class="card request"') == 2
    assert "1 more" in page
