"""Documents that are not of the contract's shape, or that nobody can have meant: refused whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadPolicy
from gateway.policy import Policy
from tests.gateway.documents import document, forward, rule, tunnel

BEARER = {"slot": "secret:a", "as": "bearer"}

DOCUMENTS = [
    {"v": 2},
    {"v": "1"},
    {"v": True},
    {"v": 1.0},
    {"v": None},
    {"session": None},
    {"session": 1},
    {"session": ""},
    {"serial": "1"},
    {"serial": True},
    {"serial": 0},
    {"serial": 1.5},
    {"grant_hash": None},
    {"not_after": None},
    {"not_after": 1},
    {"not_after": "2026-11-26"},
    {"not_after": "2026-11-26T07:15:00"},
    {"not_after": "soon"},
    {"ask": None},
    {"rules": None},
    {"rules": {}},
    {"rules": "rules"},
    {"rules": [None]},
    {"rules": [[]]},
    {"rules": ["rule"]},
    {"rules": [{}]},
    {"deny": ["allowed.com"]},
]


@pytest.mark.parametrize("changed", DOCUMENTS, ids=repr)
def test_a_document_of_another_shape_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadPolicy):
        Policy.read(document(**changed))


@pytest.mark.parametrize("field", document())
def test_a_document_without_a_field_is_refused(field: str) -> None:
    short = document()
    del short[field]
    with pytest.raises(BadPolicy):
        Policy.read(short)


@pytest.mark.parametrize("field", rule())
def test_a_rule_without_a_field_is_refused(field: str) -> None:
    short = rule()
    del short[field]
    with pytest.raises(BadPolicy):
        Policy.read(document(short))


RULES = [
    rule(id=None),
    rule(id=1),
    rule(mode="allow"),
    rule(mode=None),
    rule(mode=[]),
    rule(mode="INSPECT"),
    rule(scheme="tls"),
    rule(scheme="HTTPS"),
    rule(scheme=None),
    tunnel(scheme="https"),
    forward(scheme="tls"),
    rule(host="Allowed.com"),
    rule(host="allowed.com."),
    rule(host="bücher.example"),
    rule(host="allowed.com:443"),
    rule(host="https://allowed.com"),
    rule(host="user@allowed.com"),
    rule(host=" allowed.com"),
    rule(host="*"),
    rule(host="*."),
    rule(host=""),
    rule(host="*.*.allowed.com"),
    rule(host="a.*.com"),
    rule(host="*allowed.com"),
    rule(host="a*.allowed.com"),
    rule(host="**.allowed.com"),
    rule(host=".allowed.com"),
    rule(host=None),
    rule(host=["*."]),
    rule(host=5),
    rule(host="10.0.0.1"),
    rule(host="2130706433", network="127.0.0.0/8"),
    rule(host="*.10.0.0.1", network="10.0.0.0/8"),
    rule(host="FD12::1", network="fd12::/16"),
    rule(host="[fd12::1]", network="fd12::/16"),
    rule(host="fd12:0::1", network="fd12::/16"),
    rule(host="*.fd12::1", network="fd12::/16"),
    rule(host="::ffff:10.0.0.1", network="10.0.0.0/8"),
    rule(port=None),
    rule(port=0),
    rule(port=65_536),
    rule(port="443"),
    rule(port=True),
    rule(port=443.0),
    rule(methods="GET"),
    rule(methods=["get"]),
    rule(methods=["*"]),
    rule(methods=["GET\r\n"]),
    rule(methods=[""]),
    rule(methods=[None]),
    rule(methods={"GET": 1}),
    rule(path=None),
    rule(path=""),
    rule(path=5),
    rule(path=["/"]),
    rule(path="repos/"),
    rule(path="/repos/../"),
    rule(path="/repos/%2e%2e/"),
    rule(path="/repos/?a=b"),
    rule(path="/repos/#a"),
    rule(path="/中/"),
    rule(path="/\0"),
    rule(network=""),
    rule(network=5),
    rule(network="10.0.0.1/8"),
    rule(network="internal"),
    rule(listen=8080),
    tunnel(listen=8080),
    forward(listen=0),
    forward(listen="5432"),
    forward(listen=True),
    forward(host="*.allowed.com"),
    tunnel(methods=["GET"]),
    tunnel(methods=[]),
    tunnel(path="/"),
    tunnel(inject=BEARER),
    forward(methods=["GET"]),
    forward(path="/"),
    rule(not_after=""),
    rule(not_after="2026-11-26T07:15:00"),
    rule(not_after=0),
    rule(inject={}),
    rule(inject=[]),
    rule(inject="bearer"),
    rule(inject={"slot": "secret:a"}),
    rule(inject={"as": "bearer"}),
    rule(inject={"slot": "", "as": "bearer"}),
    rule(inject={"slot": "secret:a", "as": "cookie"}),
    rule(inject={"slot": "secret:a", "as": []}),
    rule(inject=BEARER | {"name": "X-Key"}),
    rule(inject={"slot": "secret:a", "as": "header"}),
    rule(inject={"slot": "secret:a", "as": "header", "name": ""}),
    rule(inject={"slot": "secret:a", "as": "header", "name": "X-Key: a\r\nX-Other"}),
    rule(inject={"slot": "secret:a", "as": "header", "name": "X Key"}),
    rule(inject={"slot": "secret:a", "as": "header", "name": "Host"}),
    rule(inject={"slot": "secret:a", "as": "header", "name": "Transfer-Encoding"}),
    rule(inject={"slot": "secret:a", "as": "basic", "name": "a"}),
    rule(inject={"slot": "secret:a", "as": "basic", "username": "a:b"}),
    rule(inject={"slot": "secret:a", "as": "basic", "username": "a\n"}),
    rule(inject={"slot": "secret:a", "as": "query", "name": 5}),
    rule(scheme="http", port=80, inject=BEARER),
    rule(unless={"path": "/repos/acme/secret/"}),
]


@pytest.mark.parametrize("bad", RULES, ids=lambda one: repr({k: v for k, v in one.items() if v != rule().get(k)}))
def test_a_rule_that_nobody_can_have_meant_is_refused_with_its_document(bad: dict[str, Any]) -> None:
    with pytest.raises(BadPolicy):
        Policy.read(document(rule(), bad))


MEANT = [
    rule(),
    rule(path="/"),
    rule(path="/exact"),
    rule(path="/%C3%BC/"),
    rule(methods=["M-SEARCH"]),
    rule(host="*.allowed.com"),
    rule(host="xn--bcher-kva.example"),
    rule(host="10.0.0.1", network="10.0.0.0/8"),
    rule(host="fd12::1", network="fd12::/16"),
    rule(host="db.internal", network="10.1.0.0/16", scheme="http", port=8080, inject=BEARER),
    rule(inject={"slot": "secret:a", "as": "basic", "username": "x-access-token"}),
    rule(inject={"slot": "secret:a", "as": "query", "name": "key"}),
    rule(inject={"slot": "aws:main", "as": "sigv4"}),
    tunnel(),
    forward(listen=1),
    forward(network="127.0.0.1/32"),
]


@pytest.mark.parametrize("good", MEANT)
def test_what_the_contract_describes_is_read(good: dict[str, Any]) -> None:
    assert len(Policy.read(document(good)).rules) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(rule())), JSON, st.sampled_from([rule, tunnel, forward]))
def test_any_value_in_a_rule_is_read_or_refused(field: str, value: object, kind: Any) -> None:
    try:
        read = Policy.read(document(kind(**{field: value})))
    except BadPolicy:
        return
    assert read.rules[0].host == kind(**{field: value})["host"]


@given(st.sampled_from(sorted(document())), JSON)
def test_any_value_in_a_document_is_read_or_refused(field: str, value: object) -> None:
    try:
        read = Policy.read(document(**{field: value}))
    except BadPolicy:
        return
    assert read.not_after.tzinfo is not None
