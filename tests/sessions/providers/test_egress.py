"""What a profile may say about egress, and how a lead reads it."""

import pytest

from sessions.providers import egress, registry
from sessions.providers.contract import CredentialError, Held, Intent
from tests.factories import GITHUB, TO_DATABASE, TO_GITHUB

TUNNEL = {"type": "egress", "locations": ["tls://packages.example.org"], "actions": ["tunnel"]}


def problems(base, **changed):
    merged = {**base, **changed}
    return list(egress.problems({name: value for name, value in merged.items() if value is not ...}))


@pytest.mark.parametrize("sound", [TO_GITHUB, TO_DATABASE, TUNNEL])
def test_sound_object_has_no_problems(sound):
    assert problems(sound) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "An egress object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of 1 to 50 addresses."),
        ({"locations": "https://x.example/"}, "locations must be a list of 1 to 50 addresses."),
        ({"locations": ["https://x.example/"] * 2}, "locations names an address twice."),
        ({"locations": ["https://x.example/", "tls://x.example"]}, "One object has one mode, not inspect and tunnel"),
        ({"locations": ["https://x.example/" + "a" * 600]}, "it is too long."),
        ({"locations": ["https://X.example/"]}, "'https://X.example/' cannot be a location: the host must be"),
        ({"actions": []}, "actions must be a list of HTTP methods"),
        ({"actions": "GET"}, "actions must be a list of HTTP methods"),
        ({"actions": ["get"]}, "'get' is not an HTTP method in capital letters."),
        ({"actions": [5]}, "5 is not an HTTP method in capital letters."),
        ({"actions": ["CONNECT"]}, "CONNECT is never passed on."),
        ({"actions": ["TRACE"]}, "TRACE is never passed on."),
        ({"actions": ["GET", "GET"]}, "actions names a method twice"),
        ({"actions": ["*", "GET"]}, "actions names a method twice"),
        ({"network": "8.8.8.0/24"}, "'8.8.8.0/24' cannot be a network: it is not a range of private addresses"),
        ({"locations": ["https://10.0.0.7/"]}, "10.0.0.7 is no name of the Internet: say with network"),
        ({"locations": ["https://localhost/"]}, "localhost is no name of the Internet"),
        ({"locations": ["https://10.0.0.7/"], "network": "10.20.0.0/16"}, "10.0.0.7 does not lie in 10.20.0.0/16."),
        ({"listen": 8080}, "listen goes with one tcp:// location."),
        ({"inject": "github"}, "inject must be an object such as"),
        ({"inject": {"slot": "secret:github", "as": "magic"}}, "inject must be an object such as"),
        (
            {"inject": {"slot": "secret:github", "as": "header"}},
            "inject as header has exactly the fields as, name, slot.",
        ),
        ({"inject": {"slot": "a", "as": "bearer", "name": "x"}}, "inject as bearer has exactly the fields as, slot."),
        ({"inject": {"slot": "A b", "as": "bearer"}}, "'A b' is not the name of a credential."),
        ({"inject": {"slot": "a", "as": "header", "name": "X: y"}}, "inject.name cannot be 'X: y'."),
        ({"inject": {"slot": "a", "as": "header", "name": "Host"}}, "The header Host is the gateway's own."),
        ({"inject": {"slot": "a", "as": "basic", "username": "a:b"}}, "inject.username cannot be 'a:b'."),
        ({"inject": {"slot": "a", "as": "query", "name": "a&b"}}, "inject.name cannot be 'a&b'."),
        ({"locations": ["http://x.example/"]}, "A credential is not sent over http:// outside an approved network."),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_problem_is_said_in_a_sentence(changed, problem):
    assert any(found.startswith(problem) or found.endswith(problem) for found in problems(TO_GITHUB, **changed))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"actions": ["GET"]}, 'actions must be ["forward"] here.'),
        ({"listen": 0}, "listen must be a port from 1 to 65535."),
        ({"listen": True}, "listen must be a port from 1 to 65535."),
        ({"locations": ["tcp://*.corp.example:5432"]}, "A forward leads to one host, so it cannot have a wildcard."),
        ({"locations": ["tcp://a.corp.example:1", "tcp://a.corp.example:2"]}, "listen goes with one tcp:// location."),
        ({"inject": {"slot": "a", "as": "bearer"}}, "inject needs http:// or https://: nothing is added"),
    ],
)
def test_forward_has_rules_of_its_own(changed, problem):
    assert any(found.startswith(problem) for found in problems(TO_DATABASE, **changed))


@pytest.mark.parametrize(
    "shape",
    [
        {"as": "bearer"},
        {"as": "header", "name": "X-Api-Key"},
        {"as": "basic", "username": "x-access-token"},
        {"as": "query", "name": "api_key"},
        {"as": "sigv4"},
    ],
)
def test_every_way_to_inject_is_taken(shape):
    assert problems(TO_GITHUB, inject={"slot": "secret:github", **shape}) == []


def test_plain_http_may_inject_inside_an_approved_network():
    assert problems(TO_GITHUB, locations=["http://index.corp.example/"], network="10.20.0.0/16") == []


def test_injected_credential_must_be_made_by_the_grant():
    missing = "inject needs the credential secret:github, which no object here makes."
    assert registry.problems_of([TO_GITHUB]) == [missing]
    assert registry.problems_of([TO_GITHUB, GITHUB]) == []


def test_two_forwards_on_one_port_are_refused():
    other = {**TO_DATABASE, "locations": ["tcp://other.corp.example:5432"]}
    said = "Two forwards would listen on port 15432 of the sandbox: give one of them another with listen."
    assert registry.problems_of([TO_DATABASE, other]) == [said]
    assert registry.problems_of([TO_DATABASE, {**other, "listen": 15433}]) == []


@pytest.mark.parametrize(
    ("details", "sentences"),
    [
        (
            TO_GITHUB,
            [
                "May GET and POST on https://api.github.com/repos/acme/ and below it; "
                "the gateway adds the credential secret:github, the agent never sees it."
            ],
        ),
        (
            TO_DATABASE,
            [
                "May connect to db.corp.example port 5432 (port 15432 in the sandbox): "
                "what is inside is not seen (internal service in 10.20.0.0/16)."
            ],
        ),
        (TUNNEL, ["May open a tunnel to packages.example.org:443: what is inside is not seen."]),
        (
            {"type": "egress", "locations": ["https://*.example.com/x", "http://b.example/"], "actions": ["*"]},
            [
                "May use every method on https://*.example.com/x, any one name for *.",
                "May use every method on http://b.example/ and below it, unencrypted.",
            ],
        ),
    ],
)
def test_sentences_are_for_somebody_with_a_phone(details, sentences):
    assert registry.sentences_of([details]) == sentences


def test_egress_makes_no_credential():
    assert registry.slots_of([TO_GITHUB, TO_DATABASE]) == {}
    provider = registry.provider("gateway")
    assert provider.steps(Held("dbr_x", [], {}, None)) == ()
    with pytest.raises(CredentialError, match="no credential") as refused:
        provider.mint(Intent("dbr_x", [], 900), print)
    assert refused.value.permanent
