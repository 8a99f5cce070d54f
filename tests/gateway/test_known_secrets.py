"""What the gateway knows of a session's secrets, and where each may go."""

import pytest

from gateway.known_secrets import Binding, KnownSecrets

ANSWER = {
    "secrets": {
        "secret:github": {"type": "secret", "value": "ghs_16C7e42F292c"},
        "aws:main": {
            "type": "aws",
            "access_key_id": "ASIAIOSFODNN7EXAMPLE",
            "secret_access_key": "wJalrXUtnFEMI/K7MDENG",
            "session_token": "IQoJb3JpZ2luX2Vj",
        },
        "secret:pin": {"type": "secret", "value": "1234567"},
    },
    "redact": ["dbs_session-token"],
}
RULES = [
    {"id": "1.1", "host": "api.github.com", "port": 443, "inject": {"slot": "secret:github", "as": "bearer"}},
    {"id": "1.2", "host": "*.s3.amazonaws.com", "port": 443, "inject": {"slot": "aws:main", "as": "sigv4"}},
    {"id": "1.3", "host": "example.com", "port": 443, "inject": None},
]
KNOWN = KnownSecrets.of(ANSWER, RULES)


def test_values_are_what_is_secret_in_each_slot():
    assert KNOWN.values == {
        "secret:github": (b"ghs_16C7e42F292c",),
        "aws:main": (b"wJalrXUtnFEMI/K7MDENG", b"IQoJb3JpZ2luX2Vj"),
        "secret:pin": (),
        "redact": (b"dbs_session-token",),
    }


def test_a_short_value_is_named_as_not_looked_for():
    assert KNOWN.ignored == ("secret:pin",)


def test_fields_are_there_for_injection():
    assert KNOWN.fields["aws:main"]["access_key_id"] == "ASIAIOSFODNN7EXAMPLE"
    assert KNOWN.fields["secret:pin"]["value"] == "1234567"


@pytest.mark.parametrize(
    ("host", "port", "slots"),
    [
        ("api.github.com", 443, {"secret:github"}),
        ("api.github.com", 8443, set()),
        ("bucket.s3.amazonaws.com", 443, {"aws:main"}),
        ("a.b.s3.amazonaws.com", 443, set()),
        ("s3.amazonaws.com", 443, set()),
        ("example.com", 443, set()),
    ],
)
def test_a_secret_is_bound_to_the_hosts_of_its_rules(host, port, slots):
    assert KNOWN.bound_to(host, port) == slots


def test_a_rule_binds_what_it_injects():
    assert KNOWN.of_rule("1.2") == {"aws:main"}
    assert KNOWN.of_rule("1.3") == frozenset()


def test_a_wildcard_stands_for_a_label_that_is_there():
    assert not Binding("1.1", "*.example.com", 443).covers(".example.com", 443)


def test_repr_never_shows_a_value():
    assert "ghs_16C7e42F292c" not in repr(KNOWN)
    assert "wJalr" not in repr(KNOWN)


def test_a_field_nobody_knows_counts_as_secret_at_any_depth():
    known = KnownSecrets.of({"secrets": {"x": {"new": {"deep": ["very-secret", {"user": "not-secret"}]}}}})
    assert known.values["x"] == (b"very-secret",)


def test_the_lines_of_a_private_key_are_looked_for_one_by_one():
    key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\nshort\n-----END PRIVATE KEY-----"
    known = KnownSecrets.of({"secrets": {"ssh": {"private_key": key}}})
    assert known.values["ssh"] == (key.encode(), b"MC4CAQAwBQYDK2VwBCIEIA")


def test_a_session_without_secrets_has_none():
    assert KnownSecrets.of({"redact": []}).values == {"redact": ()}
