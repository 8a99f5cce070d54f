"""The credential that goes in, and what of the agent's own goes out."""

import base64

import pytest

from gateway.head import Head
from gateway.injection import inject
from gateway.policy import Injection
from gateway.refusal import HeadError, InjectionError

HOST = (b"Host", b"api.example.com")
SECRET = {"type": "secret", "value": "s3cr3t/+ä&="}
TOKEN = {"type": "secret", "value": "ghs_token"}


def head(*headers: tuple[bytes, bytes], target: bytes = b"/v1/x") -> Head:
    return Head(b"GET", target, (HOST, *headers))


def injection(how: str, **more: str) -> Injection:
    return Injection("secret:x", how, *more.values())


def test_bearer_takes_the_place_of_every_authorization():
    agent = head((b"authorization", b"Bearer placeholder"), (b"Accept", b"*/*"), (b"AUTHORIZATION", b"Basic eA=="))
    done = inject(injection("bearer"), TOKEN, agent)
    assert done.headers == (HOST, (b"Accept", b"*/*"), (b"Authorization", b"Bearer ghs_token"))


def test_a_custom_header_takes_the_place_of_all_of_its_name():
    agent = head((b"x-api-key", b"a"), (b"X-Api-Key", b"b"))
    assert inject(injection("header", name="X-API-Key"), TOKEN, agent).headers == (HOST, (b"X-API-Key", b"ghs_token"))


def test_an_agent_cannot_add_its_own_identity_beside_ours():
    agent = head((b"Authorization", b"Bearer of-an-attacker"), (b"X-Goog-Api-Key", b"attacker"))
    assert inject(injection("header", name="x-api-key"), TOKEN, agent).headers == (HOST, (b"x-api-key", b"ghs_token"))


def test_basic_joins_the_rules_user_and_the_secret():
    done = inject(injection("basic", username="x-access-token"), SECRET, head((b"Authorization", b"Basic eDp5")))
    [value] = done.all(b"authorization")
    assert base64.b64decode(value.removeprefix(b"Basic ")) == "x-access-token:s3cr3t/+ä&=".encode()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/x", b"/v1/x?api+key"),
        (b"/v1/x?", b"/v1/x?api+key"),
        (b"/v1/x?a=1&api%20key=mine&b=2", b"/v1/x?a=1&b=2&api+key"),
        (b"/v1/x?api+key=mine&%61pi%20key&a=1&", b"/v1/x?a=1&api+key"),
    ],
)
def test_query_takes_the_place_of_every_spelling(target, expected):
    done = inject(injection("query", name="api key"), SECRET, head(target=target))
    assert done.target == expected.replace(b"api+key", b"api%20key=s3cr3t%2F%2B%C3%A4%26%3D")


def test_a_body_s_head_is_otherwise_as_it_was():
    agent = Head(b"POST", b"/a?b=c", (HOST, (b"Content-Length", b"3"), (b"Cookie", b"a=b")))
    done = inject(injection("bearer"), TOKEN, agent)
    assert (done.method, done.target, done.headers[:3]) == (agent.method, agent.target, agent.headers)


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "a\nb", "a\0b", "ä", "a\x7f"])
@pytest.mark.parametrize("how", [("bearer", ""), ("header", "X-Key")])
def test_a_value_that_does_not_fit_a_header_is_refused(value, how):
    with pytest.raises(InjectionError) as refused:
        inject(Injection("secret:x", *how), {"value": value}, head())
    assert refused.value.code == "secret_unfit"
    assert value not in str(refused.value)


def test_a_missing_slot_is_refused_by_name():
    with pytest.raises(InjectionError, match="The session has no credential secret:x now.") as refused:
        inject(injection("bearer"), None, head())
    assert refused.value.code == "secret_missing"


@pytest.mark.parametrize("fields", [{}, {"value": ""}, {"value": "one", "token": "two"}, {"username": "u"}])
def test_a_credential_without_exactly_one_secret_is_refused(fields):
    with pytest.raises(InjectionError, match="does not hold exactly one secret"):
        inject(injection("bearer"), fields, head())


def test_a_user_with_a_colon_is_refused():
    with pytest.raises(InjectionError, match="colon"):
        inject(injection("basic", username="a:b"), TOKEN, head())


def test_sigv4_is_not_put_into_a_head():
    with pytest.raises(InjectionError, match="as sigv4"):
        inject(injection("sigv4"), TOKEN, head())


@pytest.mark.parametrize(("name", "value"), [(b"A\r\nB", b"x"), (b"A", b"x\r\nB: y"), (b"A", b"x\0")])
def test_a_head_takes_no_line_ends(name, value):
    with pytest.raises(HeadError, match="line end or NUL"):
        head().having(name, value)


def test_a_header_that_must_be_single_is_refused_twice():
    assert head().one(b"host") == b"api.example.com"
    assert head().one(b"none") is None
    with pytest.raises(HeadError, match="Host is there more than once"):
        head((b"HOST", b"evil")).one(b"Host")


def test_repr_never_shows_target_or_headers():
    assert repr(head((b"Authorization", b"x"), target=b"/?token=secret")) == "<Head GET: 2 headers>"
