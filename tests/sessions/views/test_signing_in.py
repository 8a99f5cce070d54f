"""Who tries passwords is slowed down, and nobody else is."""

from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from audit.event import now
from sessions import guessing
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


def test_name_counts_however_it_is_written(locked: World) -> None:
    answer = tries(Client(), f" {locked.lead.email.upper()} ", factories.PASSWORD)
    assert answer.status_code == 429


@pytest.fixture
def guessed_at(world: World, settings, monkeypatch) -> World:  # type: ignore[no-untyped-def]
    """The lead signed in at 192.0.2.1 once; then somebody guesses from many addresses."""
    settings.ACCOUNT_RATE_LIMITS = False
    monkeypatch.setattr(guessing, "MOST_FROM_ANYWHERE", 6)
    assert tries(Client(REMOTE_ADDR="192.0.2.1"), world.lead.email, factories.PASSWORD).status_code == 302
    for last in range(10, 16):
        tries(Client(REMOTE_ADDR=f"198.51.100.{last}"), world.lead.email, "wrong")
    return world


def test_guessing_from_many_addresses_closes_unknown_addresses(guessed_at: World) -> None:
    answer = tries(Client(REMOTE_ADDR="198.51.100.99"), guessed_at.lead.email, factories.PASSWORD)
    assert answer.status_code == 429


def test_guessing_from_many_addresses_keeps_nobody_out_at_their_own(guessed_at: World) -> None:
    answer = tries(Client(REMOTE_ADDR="192.0.2.1"), guessed_at.lead.email, factories.PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("inbox"))


def test_guessing_ends_by_itself(guessed_at: World) -> None:
    with time_machine.travel(now() + timedelta(minutes=16)):
        answer = tries(Client(REMOTE_ADDR="198.51.100.99"), guessed_at.lead.email, factories.PASSWORD)
    assert answer.status_code == 302


def test_failures_of_a_stranger_lock_out_nobody_elsewhere(world: World) -> None:
    """With the rate limits as they are in production."""
    cache.clear()
    for _ in range(7):
        tries(Client(REMOTE_ADDR="198.51.100.1"), world.lead.email, "wrong")
    assert tries(Client(), world.lead.email, factories.PASSWORD).status_code == 302


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
