"""From a grant to the providers that serve it."""

import pytest

from sessions.providers import registry
from sessions.providers.contract import CredentialError

TYPES = (
    "postgresql, openbao-token, mysql, valkey, ssh, pki, kubernetes, egress, secret, github, github-injected, "
    "gitlab, gitlab-injected, oauth2, aws, aws-injected, aws-secret, google, google-injected, azure, azure-injected"
)
TARGET = {
    "kind": "postgresql",
    "host": "127.0.0.1",
    "port": 1,
    "dbname": "d",
    "mount": "database",
    "connection": "c",
    "cutter_user": "u",
    "cutter_password_file": "/nonexistent",
}


@pytest.fixture(autouse=True)
def two_targets(settings):
    settings.TARGETS = {"warehouse": TARGET, "archive": TARGET}
    registry.provider.cache_clear()
    yield
    registry.provider.cache_clear()


def sound(target="warehouse", table="orders", **changed):
    location = f"postgresql://{target}/public.{table}"
    return {"type": "postgresql", "locations": [location], "actions": ["read"], **changed}


@pytest.mark.parametrize("kind", list(registry.PROVIDERS))
def test_every_registered_kind_builds_a_provider_of_that_kind(kind):
    assert registry.provider(kind).kind == kind
    assert registry.provider(kind) is registry.provider(kind)


def test_unknown_kind_is_permanent_and_told():
    with pytest.raises(CredentialError, match="There is no provider 'magic'") as refusal:
        registry.provider("magic")
    assert (refusal.value.permanent, refusal.value.untouched) == (True, True)


def test_objects_of_one_database_share_a_credential_and_others_do_not():
    first, second, elsewhere = sound(), sound(table="shipments"), sound("archive")
    assert registry.slots_of([first, elsewhere, second]) == {
        ("openbao", "postgresql:warehouse"): [first, second],
        ("openbao", "postgresql:archive"): [elsewhere],
    }


@pytest.mark.parametrize("untrusted", [None, {}, "x", 7, [], [sound()] * 21])
def test_anything_but_a_short_list_is_refused(untrusted):
    assert registry.problems_of(untrusted) == ["authorization_details must be a list of 1 to 20 objects."]


@pytest.mark.parametrize(
    ("each", "problem"),
    [
        (None, "it is not a JSON object."),
        ([], "it is not a JSON object."),
        ({1: 2}, "it is not a JSON object."),
        (
            {},
            f"its type must be one of: {TYPES}.",
        ),
        (
            {"type": "root"},
            f"its type must be one of: {TYPES}.",
        ),
        (
            {"type": ["postgresql"]},
            f"its type must be one of: {TYPES}.",
        ),
        (sound(actions=["fly"]), "'fly' is not an action: use read, write, delete."),
    ],
)
def test_problems_name_the_object_by_its_number(each, problem):
    assert registry.problems_of([sound(), each]) == [f"Object 2: {problem}"]


def test_sound_details_have_no_problems_and_read_in_order():
    details = [sound(), sound("archive", actions=["delete"])]
    assert registry.problems_of(details) == []
    assert registry.sentences_of(details) == [
        "Read rows of orders in the database warehouse.",
        "At most 4 connections at once.",
        "Delete rows of orders in the database archive.",
        "At most 4 connections at once.",
    ]


def test_type_that_nobody_provides_is_told():
    with pytest.raises(CredentialError, match="Nobody provides 'root'"):
        registry.slots_of([{"type": "root"}])
