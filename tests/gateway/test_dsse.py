"""Signed envelopes: only what a known key signed, as this type, comes out."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.dsse import POLICY_TYPE, key_id, keys_of, pae, read_json, verified
from gateway.errors import BadPolicy

OURS, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([one]) * 32) for one in (1, 2))
PAYLOAD = b'{"v":1}'


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def signature(key: Ed25519PrivateKey, payload: bytes = PAYLOAD, kind: str = POLICY_TYPE) -> dict[str, str]:
    return {"keyid": key_id(raw(key)), "sig": encoded(key.sign(pae(kind, payload)))}


def envelope(*signatures: dict[str, str], **changed: Any) -> dict[str, Any]:
    return {"payloadType": POLICY_TYPE, "payload": encoded(PAYLOAD), "signatures": list(signatures)} | changed


KEYS = keys_of(encoded(raw(OURS)))


def test_what_a_known_key_signed_comes_out() -> None:
    assert verified(envelope(signature(OURS)), KEYS) == PAYLOAD


def test_the_encoding_is_that_of_the_specification() -> None:
    """The example of DSSE's protocol.md."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_key_is_known_by_its_digest() -> None:
    assert list(KEYS) == [key_id(raw(OURS))] == ["34750f98bd59fcfc"]


def test_one_good_signature_among_others_is_enough() -> None:
    other, wrong = signature(OTHER), signature(OURS, b"{}")
    assert verified(envelope(other, wrong, signature(OURS)), KEYS) == PAYLOAD
    assert verified(envelope(signature(OTHER)), keys_of(f"{encoded(raw(OURS))}, {encoded(raw(OTHER))}")) == PAYLOAD


GOOD = signature(OURS)
BAD: dict[str, object] = {
    "wrong key": envelope(signature(OTHER)),
    "wrong key under our id": envelope(signature(OTHER) | {"keyid": GOOD["keyid"]}),
    "our key under another id": envelope(GOOD | {"keyid": key_id(raw(OTHER))}),
    "no signatures": envelope(),
    "changed payload": envelope(GOOD, payload=encoded(b'{"v":2}')),
    "longer payload": envelope(GOOD, payload=encoded(PAYLOAD + b" ")),
    "signed as another type": envelope(signature(OURS, kind="application/vnd.in-toto+json")),
    "of another type": envelope(signature(OURS, kind="text/plain"), payloadType="text/plain"),
    "type in upper case": envelope(GOOD, payloadType=POLICY_TYPE.upper()),
    "signed without its type": envelope(GOOD | {"sig": encoded(OURS.sign(PAYLOAD))}),
    "empty signature": envelope(GOOD | {"sig": ""}),
    "short signature": envelope(GOOD | {"sig": encoded(b"x" * 63)}),
    "zeros": envelope(GOOD | {"sig": encoded(bytes(64))}),
    "no base64": envelope(GOOD | {"sig": "***"}),
    "payload is no base64": envelope(GOOD, payload="{}"),
    "payload with line ends": envelope(GOOD, payload=encoded(PAYLOAD) + "\n"),
    "payload is a list": envelope(GOOD, payload=[]),
    "no payload": {"payloadType": POLICY_TYPE, "signatures": [GOOD]},
    "no type": {"payload": encoded(PAYLOAD), "signatures": [GOOD]},
    "no list": {"payloadType": POLICY_TYPE, "payload": encoded(PAYLOAD)},
    "signatures are an object": envelope(signatures=GOOD),
    "signatures are text": envelope(signatures="signatures"),
    "a signature is nothing": envelope(signatures=[None]),
    "an id is a list": envelope(signatures=[GOOD | {"keyid": []}]),
    "an id is nothing": envelope(signatures=[GOOD | {"keyid": None}]),
    "a list": [],
    "text": "envelope",
    "nothing": None,
    "number": 1,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_nothing_else_comes_out(bad: object) -> None:
    with pytest.raises(BadPolicy):
        verified(bad, KEYS)


@given(st.integers(0, 63), st.integers(0, 7))
def test_a_signature_with_one_bit_changed_is_refused(at: int, bit: int) -> None:
    changed = bytearray(base64.b64decode(GOOD["sig"]))
    changed[at] ^= 1 << bit
    with pytest.raises(BadPolicy):
        verified(envelope(GOOD | {"sig": encoded(bytes(changed))}), KEYS)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keyid", "sig", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["payloadType", "payload", "signatures"]), JSON)
def test_junk_in_an_envelope_is_refused(field: str, junk: object) -> None:
    with pytest.raises(BadPolicy):
        verified(envelope(GOOD, **{field: junk}), KEYS)


@pytest.mark.parametrize("text", ["", " ", ",", "***", "AAAA", encoded(b"x" * 31), encoded(b"x" * 33), "ключ", "a b"])
def test_keys_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadPolicy):
        keys_of(text)


def test_a_bad_key_beside_a_good_one_is_refused() -> None:
    with pytest.raises(BadPolicy):
        keys_of(f"{encoded(raw(OURS))},AAAA")


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"1", b"null", b'"a"', b"\xff", b"[" * 100_000, b"1" * 5_000])
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(BadPolicy):
        read_json(payload)


def test_a_payload_is_read() -> None:
    assert read_json(PAYLOAD) == {"v": 1}
