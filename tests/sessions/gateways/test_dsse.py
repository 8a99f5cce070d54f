"""DSSE envelopes: the bytes of the specification, and nothing that was not signed as what it says."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sessions.gateways import dsse

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
TYPE = "http://example.com/HelloWorld"


def test_encoding_is_that_of_the_specification():
    assert dsse.encoded(TYPE, b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_envelope_opens_with_the_key_that_signed_it():
    envelope = dsse.sign(TYPE, b"hello world", KEY)
    assert envelope["signatures"][0]["keyid"] == dsse.key_id(PUBLIC) == "56475aa75463474c"
    assert dsse.opened(envelope, TYPE, [PUBLIC]) == b"hello world"


def spoilt(**changed):
    return {**dsse.sign(TYPE, b"hello world", KEY), **changed}


@pytest.mark.parametrize(
    ("envelope", "expected", "keys"),
    [
        (spoilt(payload=base64.b64encode(b"hello World").decode()), TYPE, [PUBLIC]),
        (spoilt(), "another/type", [PUBLIC]),
        (spoilt(payloadType="another/type"), "another/type", [PUBLIC]),
        (spoilt(signatures=[]), TYPE, [PUBLIC]),
        (spoilt(signatures=[{"keyid": dsse.key_id(PUBLIC), "sig": "AAAA"}]), TYPE, [PUBLIC]),
        (spoilt(), TYPE, [bytes(32)]),
        (spoilt(), TYPE, []),
    ],
)
def test_what_was_not_signed_as_this_does_not_open(envelope, expected, keys):
    with pytest.raises(dsse.Unsigned):
        dsse.opened(envelope, expected, keys)
