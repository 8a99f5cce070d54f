"""What a policy allows: deny by default, and each way in which peers' allowlists were got round."""

from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.names import Host
from gateway.policy import Code, Mode, Policy, Request, Rule, Verdict, decide, opening
from tests.gateway.documents import LATER, NOW, document, forward, policy, request, rule, tunnel

SECOND = timedelta(seconds=1)


def test_a_rule_allows_what_it_names() -> None:
    verdict = decide(policy(rule()), request("https://allowed.com/repos/acme/x?y=1"), NOW)
    assert verdict
    assert (verdict.rule and verdict.rule.id, verdict.code, verdict.text) == ("1.1", None, "")


def test_without_rules_nothing_is_allowed() -> None:
    assert decide(policy(), request("https://allowed.com/"), NOW).code is Code.NO_RULE
    verdict = opening(policy(), Host.read("[2001:DB8::1]"), 443, NOW)
    assert (bool(verdict), verdict.text) == (False, "No rule allows [2001:db8::1]:443.")


DENIED = {
    "suffix confusion (N05)": ("https://evilallowed.com/repos/acme/x", Code.NO_RULE),
    "prefix confusion (CVE-2026-24052)": ("https://allowed.com.evil.tld/repos/acme/x", Code.NO_RULE),
    "a name below": ("https://www.allowed.com/repos/acme/x", Code.NO_RULE),
    "the name above": ("https://com/repos/acme/x", Code.NO_RULE),
    "look-alike": ("https://аllowed.com/repos/acme/x", Code.NO_RULE),
    "another port (gh-aw-firewall#207)": ("https://allowed.com:8443/repos/acme/x", Code.NO_RULE),
    "port 80": ("https://allowed.com:80/repos/acme/x", Code.NO_RULE),
    "plain HTTP (claude-code#40213)": ("http://allowed.com/repos/acme/x", Code.NO_RULE),
    "plain HTTP on the port of TLS": ("http://allowed.com:443/repos/acme/x", Code.NO_RULE),
    "WebSocket's scheme": ("wss://allowed.com/repos/acme/x", Code.NO_RULE),
    "scheme in upper case": ("HTTPS://allowed.com/repos/acme/x", Code.NO_RULE),
    "beside the prefix": ("https://allowed.com/repos/acmeevil/x", Code.PATH),
    "the prefix without its end": ("https://allowed.com/repos/acme", Code.PATH),
    "above the prefix": ("https://allowed.com/repos/", Code.PATH),
    "the root": ("https://allowed.com/", Code.PATH),
    "case": ("https://allowed.com/repos/ACME/x", Code.PATH),
    "empty segment": ("https://allowed.com//repos/acme/x", Code.PATH),
    "escaped slash": ("https://allowed.com/repos/acme%2fx", Code.PATH),
    "escaped slash before": ("https://allowed.com/repos%2facme/x", Code.PATH),
    "path parameter": ("https://allowed.com/repos/acme;x/y", Code.PATH),
    "dot segments": ("https://allowed.com/repos/acme/../evil/x", Code.BAD_NAME),
    "escaped dot segments": ("https://allowed.com/repos/acme/%2e%2e/evil/x", Code.BAD_NAME),
    "no path": ("https://allowed.com", Code.BAD_NAME),
}


@pytest.mark.parametrize(("url", "code"), DENIED.values(), ids=DENIED.keys())
def test_what_only_looks_like_the_rule_is_denied(url: str, code: Code) -> None:
    verdict = decide(policy(rule()), request(url), NOW)
    assert (bool(verdict), verdict.rule, verdict.code) == (False, None, code)


@pytest.mark.parametrize("host", ["ALLOWED.com", "allowed.com.", "allowed。com", "ａllowed.com"])
def test_other_spellings_of_the_name_are_the_name(host: str) -> None:
    assert decide(policy(rule()), Request("https", Host.read(host), 443, "GET", "/repos/acme/%78"), NOW)


@pytest.mark.parametrize("method", ["DELETE", "get", "Get", "GET ", "", "POSTER", "GETPOST", "*", "CONNECT"])
def test_methods_are_compared_whole(method: str) -> None:
    verdict = decide(policy(rule()), request("https://allowed.com/repos/acme/x", method), NOW)
    assert (verdict.rule, verdict.code) == (None, Code.METHOD)


def test_methods_null_is_any() -> None:
    assert decide(policy(rule(methods=None)), request("https://allowed.com/repos/acme/x", "PROPFIND"), NOW)
    assert decide(policy(rule(methods=[])), request("https://allowed.com/repos/acme/x"), NOW).code is Code.METHOD


def test_a_denial_names_what_came_closest_in_its_text_only() -> None:
    verdict = decide(policy(rule(id="2.3")), request("https://allowed.com/repos/acme/x", "DELETE"), NOW)
    assert verdict == Verdict(None, Code.METHOD, "No rule allows DELETE here. (rule 2.3)")


@pytest.mark.parametrize("path", ["/a/b", "/%61/b", "/a/b?c=/d"])
def test_an_exact_path_is_one_path(path: str) -> None:
    assert decide(policy(rule(path="/a/b")), request(f"https://allowed.com{path}"), NOW)


@pytest.mark.parametrize("path", ["/a/b/", "/a/b/c", "/a/bc", "/a", "/a/", "/a/b;c", "/a/b%2f", "/a/B", "//a/b"])
def test_an_exact_path_is_no_prefix(path: str) -> None:
    assert decide(policy(rule(path="/a/b")), request(f"https://allowed.com{path}"), NOW).code is Code.PATH


WILD = [("a.allowed.com", True), ("xn--bcher-kva.allowed.com", True), ("_a.allowed.com", True), ("allowed.com", False)]
WILD += [
    ("a.b.allowed.com", False),
    ("evilallowed.com", False),
    ("a.allowed.com.evil.tld", False),
    ("a.allowed.co", False),
]


@pytest.mark.parametrize(("host", "allowed"), WILD)
def test_a_wildcard_is_exactly_one_label(host: str, allowed: bool) -> None:
    wild = policy(rule(host="*.allowed.com"), tunnel(host="*.allowed.com", port=8443))
    assert bool(decide(wild, request(f"https://{host}/repos/acme/x"), NOW)) is allowed
    assert bool(opening(wild, Host.read(host), 8443, NOW)) is allowed


def test_an_address_is_no_name_under_a_wildcard() -> None:
    wild = Rule("1.1", Mode.TUNNEL, "tls", "*.0.0.1", 443)
    assert not wild.names(Host.read("127.0.0.1"), 443)


def test_nothing_is_allowed_from_the_end_of_the_session_on() -> None:
    short = policy(rule(), tunnel(host="other.com"))
    asked, host = request("https://allowed.com/repos/acme/x"), Host.read("other.com")
    assert decide(short, asked, LATER - SECOND)
    assert opening(short, host, 443, LATER - SECOND)
    assert decide(short, asked, LATER).code is Code.EXPIRED
    assert opening(short, host, 443, LATER) == Verdict(None, Code.EXPIRED, "The session's time is up.")


def test_an_added_rule_ends_before_the_session() -> None:
    added = policy(rule(not_after="2026-11-26T07:05:00Z"))
    asked, end = request("https://allowed.com/repos/acme/x"), NOW + timedelta(minutes=5)
    assert decide(added, asked, end - SECOND)
    assert decide(added, asked, end).code is Code.NO_RULE
    assert opening(added, asked.host, 443, end).code is Code.NO_RULE


@pytest.mark.parametrize("reverse", [False, True])
def test_of_the_rules_that_allow_it_the_longest_path_decides(reverse: bool) -> None:
    rules = [
        rule(id="1", path="/"),
        rule(id="2", path="/%61%61/"),
        rule(id="3", path="/aa/b/"),
        rule(id="4", path="/aa/b/c"),
    ]
    several = policy(*(rules[::-1] if reverse else rules))
    expected = {"/x": "1", "/aa/x": "2", "/aa/b/x": "3", "/aa/b/": "3", "/aa/b/c": "4", "/aa/b/c/d": "3", "/aa": "1"}
    verdicts = {path: decide(several, request(f"https://allowed.com{path}"), NOW) for path in expected}
    assert {path: verdict.rule and verdict.rule.id for path, verdict in verdicts.items()} == expected


def test_a_longer_path_that_forbids_the_method_leaves_the_shorter_one() -> None:
    several = policy(rule(id="1", path="/", methods=["DELETE"]), rule(id="2", path="/a/", methods=["GET"]))
    verdict = decide(several, request("https://allowed.com/a/b", "DELETE"), NOW)
    assert verdict.rule
    assert verdict.rule.id == "1"


@pytest.mark.parametrize("first", ["*.allowed.com", "a.allowed.com"])
def test_where_any_rule_looks_inside_inside_is_looked(first: str) -> None:
    both = policy(forward(host="a.allowed.com", port=443), tunnel(host="a.allowed.com"), rule(id="9", host=first))
    verdict = opening(both, Host.read("a.allowed.com"), 443, NOW)
    assert verdict.rule
    assert (verdict.rule.mode, verdict.rule.id) == (Mode.INSPECT, "9")


def test_a_tunnel_allows_an_opening_and_no_request() -> None:
    blind = policy(tunnel(), forward())
    assert opening(blind, Host.read("allowed.com"), 443, NOW).rule == blind.rules[0]
    assert opening(blind, Host.read("allowed.com"), 5432, NOW).rule == blind.rules[1]
    assert decide(blind, request("https://allowed.com/repos/acme/x"), NOW).code is Code.NO_RULE
    assert decide(blind, request("tls://allowed.com:443/repos/acme/x"), NOW).code is Code.NO_RULE
    assert blind.forwards() == [blind.rules[1]]


@pytest.mark.parametrize(("method", "path"), [("GET", None), (None, "/repos/acme/x")])
def test_a_request_without_a_method_or_path_is_no_opening(method: str | None, path: str | None) -> None:
    half = Request("https", Host.read("allowed.com"), 443, method, path)
    assert decide(policy(rule()), half, NOW).code is Code.BAD_REQUEST


def test_an_opening_is_decided_as_one() -> None:
    whole = Request("https", Host.read("allowed.com"), 443)
    assert decide(policy(rule()), whole, NOW) == opening(policy(rule()), whole.host, 443, NOW)


def test_a_document_is_read_whole() -> None:
    inner = {
        "mode": "inspect",
        "network": "10.0.0.0/8",
        "inject": {"slot": "secret:a", "as": "header", "name": "X-Key"},
    }
    read = policy(rule(**inner, not_after="2026-11-26T07:15:00+00:00"), forward(listen=15432), serial=7)
    assert (read.serial, read.grant_hash, read.not_after) == (7, "ab" * 32, LATER)
    assert (read.rules[0].network, read.rules[0].not_after) == (ip_network("10.0.0.0/8"), LATER)
    assert read.rules[0].inject
    assert (read.rules[0].inject.kind, read.rules[0].inject.name) == ("header", "X-Key")
    assert read.rules[1].listen == 15432


HOSTS = ["allowed.com", "evilallowed.com", "a.allowed.com", "a.b.allowed.com", "allowed.com.evil.tld", "10.0.0.1"]
PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/", "/ab/", "/A/", "/a/b/c", "//a/", "/a//b", "/b", "/%61/b"]


def rules() -> st.SearchStrategy[dict[str, object]]:
    hosts = st.sampled_from(["allowed.com", "*.allowed.com", "a.allowed.com", "evilallowed.com"])
    methods = st.none() | st.lists(st.sampled_from(["GET", "POST"]), max_size=2)
    ends = st.sampled_from([None, "2026-11-26T06:59:59Z", "2026-11-26T07:00:00Z", "2026-11-26T07:01:00Z"])
    common = {"host": hosts, "port": st.sampled_from([443, 8443]), "not_after": ends}
    inspect = st.builds(
        rule, **common, methods=methods, path=st.sampled_from(PATHS), scheme=st.sampled_from(["http", "https"])
    )
    return inspect | st.builds(tunnel, **common)


def naively(one: dict[str, object], asked: Request) -> bool:
    """The contract again, on the raw document and with strings only."""
    host, path, prefix = str(one["host"]), str(asked.path).replace("%61", "a"), str(one["path"]).replace("%61", "a")
    wild = (
        host.startswith("*.") and asked.host.text.endswith(host[1:]) and asked.host.text.count(".") == host.count(".")
    )
    below = path.startswith(prefix) if prefix.endswith("/") else path == prefix
    named = (asked.host.text == host or wild) and asked.port == one["port"] and asked.scheme == one["scheme"]
    allowed = one["methods"] is None or asked.method in one["methods"]  # type: ignore[operator]
    living = one["not_after"] in (None, "2026-11-26T07:01:00Z")
    return one["mode"] == "inspect" and named and allowed and below and living


@given(
    st.lists(rules(), max_size=4),
    st.builds(
        Request,
        st.sampled_from(["http", "https"]),
        st.sampled_from(HOSTS).map(Host.read),
        st.sampled_from([443, 8443]),
        st.sampled_from(["GET", "POST", "get"]),
        st.sampled_from(PATHS),
    ),
)
def test_decide_agrees_with_a_naive_reading(raw: list[dict[str, object]], asked: Request) -> None:
    numbered = [one | {"id": str(at)} for at, one in enumerate(raw)]
    verdict = decide(Policy.read(document(*numbered)), asked, NOW)
    assert bool(verdict) is any(naively(one, asked) for one in numbered)
    if verdict.rule is not None:
        assert naively(numbered[int(verdict.rule.id)], asked)
