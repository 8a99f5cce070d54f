"""The policy document is made from the approved grant, and signed with the newest key."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import canonical
from sessions import lifecycle
from sessions.gateways import dsse, policy_document
from tests import factories
from tests.factories import GITHUB, READ_ORDERS, TO_DATABASE, TO_GITHUB


def test_rules_are_named_by_their_places_in_the_grant():
    two = {**TO_GITHUB, "locations": ["https://a.example/", "https://b.example:8443/x"], "actions": ["*"]}
    rules = policy_document.rules([READ_ORDERS, two, GITHUB, TO_DATABASE])
    assert [(rule["id"], rule["host"], rule["port"]) for rule in rules] == [
        ("2.1", "a.example", 443),
        ("2.2", "b.example", 8443),
        ("4.1", "db.corp.example", 5432),
    ]


def test_inspected_rule_is_as_the_contract_shows_it():
    assert policy_document.rules([TO_GITHUB]) == [
        {
            "id": "1.1",
            "mode": "inspect",
            "scheme": "https",
            "host": "api.github.com",
            "port": 443,
            "methods": ["GET", "POST"],
            "path": "/repos/acme/",
            "inject": {"slot": "secret:github", "as": "bearer"},
            "network": None,
            "listen": None,
            "not_after": None,
        }
    ]


@pytest.mark.parametrize(
    ("details", "mode", "methods", "path", "network", "listen"),
    [
        ({**TO_GITHUB, "actions": ["*"]}, "inspect", None, "/repos/acme/", None, None),
        (TO_DATABASE, "forward", None, None, "10.20.0.0/16", 15432),
        ({"type": "egress", "locations": ["tls://x.example"], "actions": ["tunnel"]}, "tunnel", None, None, None, None),
    ],
)
def test_other_modes_leave_out_what_is_not_seen(details, mode, methods, path, network, listen):
    [rule] = policy_document.rules([details])
    found = [rule[name] for name in ("mode", "methods", "path", "network", "listen")]
    assert found == [mode, methods, path, network, listen]


@pytest.fixture
def active(db):
    agent_session = factories.world(factories.egress_only()).approved()
    return lifecycle.activate(agent_session.id)


def test_document_names_session_grant_and_end(active):
    active.refresh_from_db()
    document = policy_document.document(active)
    assert document["ask"].endswith(f"/sessions/{active.id}/more")
    assert document["not_after"] == active.ends_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    named = [document[name] for name in ("v", "session", "serial", "grant_hash")]
    assert named == [1, str(active.id), 1, active.grant_hash]


def test_newest_key_signs_canonical_json(active, settings):
    older, newest = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    settings.POLICY_KEYS = [{"key": base64.b64encode(key.private_bytes_raw()).decode()} for key in (older, newest)]
    envelope = policy_document.signed(active)
    payload = dsse.opened(envelope, policy_document.PAYLOAD_TYPE, [newest.public_key().public_bytes_raw()])
    assert payload == canonical.dumps(json.loads(payload))
    assert json.loads(payload) == policy_document.document(active)


def test_only_injected_slots_are_needed():
    assert policy_document.needed_slots([READ_ORDERS, TO_GITHUB, TO_DATABASE, GITHUB]) == {"secret:github"}
    assert policy_document.needs_gateway([READ_ORDERS, GITHUB]) is False
    assert policy_document.needs_gateway([READ_ORDERS, TO_DATABASE]) is True
