"""Addresses that no page of ours makes: none of them is an error of the server."""

from collections.abc import Callable

import pytest
from django.test import Client

from sessions.models import Person
from tests.factories import World

HUGE = "9" * 20


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sessions/?q=a%00b", 200),
        ("/sessions/?agent=%00&state=%00&before=x", 200),
        ("/sessions/{session}/?q=%00&kind=%00&outcome=%00", 200),
        (f"/sessions/{{session}}/?before={HUGE}", 200),
        ("/profiles/{profile}/?from=%00&to=%00", 200),
        ("/device?user_code=%00", 422),
        ("/device?user_code=WDJB%00MJHT", 422),
        ("/people/%00/", 404),
        ("/agents/%00/", 404),
    ],
)
def test_nonsense_in_an_address_is_no_error(
    world: World, browse: Callable[[Person], Client], path: str, status: int
) -> None:
    filled = path.format(session=world.request().agent_session.id, profile=world.profile.id)
    assert browse(world.lead).get(filled).status_code == status


def test_search_with_nul_looks_for_the_rest(world: World, browse: Callable[[Person], Client]) -> None:
    world.request(purpose="Count the parcels")
    page = browse(world.lead).get("/sessions/", {"q": "the\0 parcels"}).content.decode()
    assert "Count the parcels" in page
