"""What a place lets grants name, and which credential serves what."""

import pytest

from sessions.providers.openbao_api import OpenBaoApi
from sessions.providers.pki import Pki
from sessions.providers.places import Place


@pytest.mark.parametrize(
    ("engine", "what", "permitted"),
    [
        ("kv", "shop/db", True),
        ("kv", "hr/salaries", False),
        ("mysql", "shop/orders", True),
        ("valkey", "shop/orders", True),
        ("transit", "shop/", True),
        ("transit", "shop/other", False),
        ("ssh", "shop/", True),
        ("ssh", "shop/root", False),
        ("pki", "shop/", True),
        ("pki", "shop/x", False),
        ("kubernetes", "shop/", True),
        ("kubernetes", "shop/x", False),
    ],
)
def test_keys_users_and_names_are_whole_and_the_rest_begins_so(engine: str, what: str, permitted: bool) -> None:
    assert Place(engine, "mount", allowed=["shop/"]).permits(what) is permitted


@pytest.mark.parametrize(
    ("engine", "permitted"),
    [("kv", True), ("transit", True), ("mysql", True), ("ssh", False), ("pki", False), ("kubernetes", False)],
)
def test_where_nothing_is_named_no_user_and_no_certificate_can_be_had(engine: str, permitted: bool) -> None:
    assert Place(engine, "mount").permits("anything") is permitted


def test_names_that_begin_alike_have_slots_of_their_own_that_fit() -> None:
    api = OpenBaoApi("http://127.0.0.1:1", "role", "secret", 1)
    names = [f"pki:services/{'x' * 60}.{end}.internal" for end in ("a", "b")]
    objects = [{"type": "pki", "locations": [name], "actions": ["client"]} for name in (*names, names[0])]
    slots = Pki(api, {"services": Place("pki", "pki", allowed=names)}).slots(objects)
    assert [len(each) for each in slots.values()] == [2, 1]
    assert all(len(slot) <= 64 for slot in slots)
