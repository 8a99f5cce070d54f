"""The envelope, and the keys that we hand out."""

import pytest

from audit import envelope
from audit.envelope import Sealed, Unreadable
from sessions import tokens

SECRET = {"password": "canary-5d1f"}


def test_sealed_secret_opens_for_its_row_only() -> None:
    sealed = envelope.seal(SECRET, "row-1")
    assert b"canary" not in sealed.blob
    assert envelope.unseal(sealed, "row-1") == SECRET
    with pytest.raises(Unreadable, match="does not belong to this row"):
        envelope.unseal(sealed, "row-2")


def test_changed_secret_does_not_open() -> None:
    sealed = envelope.seal(SECRET, "row-1")
    changed = sealed.blob[:-1] + bytes([sealed.blob[-1] ^ 1])
    with pytest.raises(Unreadable):
        envelope.unseal(Sealed(sealed.key_id, changed), "row-1")


def test_secret_under_an_older_key_still_opens(settings) -> None:  # type: ignore[no-untyped-def]
    sealed = envelope.seal(SECRET, "row-1")
    newer = {"id": "k2", "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    settings.ENVELOPE_KEYS = [*settings.ENVELOPE_KEYS, newer]
    envelope._keys.cache_clear()
    assert envelope.seal(SECRET, "row-1").key_id == "k2"
    assert envelope.unseal(sealed, "row-1") == SECRET
    envelope._keys.cache_clear()


def test_missing_key_is_named() -> None:
    with pytest.raises(Unreadable, match="'gone'"):
        envelope.unseal(Sealed("gone", b"x" * 40), "row-1")


@pytest.mark.parametrize("prefix", [tokens.AGENT_KEY, tokens.SESSION_TOKEN, tokens.DEVICE_CODE])
def test_key_is_recognised_by_prefix_and_checksum(prefix: str) -> None:
    key = tokens.new(prefix)
    assert tokens.well_formed(key, prefix)
    swapped = key[:10] + ("A" if key[10] != "A" else "B") + key[11:]
    assert not tokens.well_formed(swapped, prefix)
    assert not tokens.well_formed(key, "xyz")


@pytest.mark.parametrize("key", ["", "dbk_", "dbk_" + "0" * 38, "dbk_é" + "0" * 37, "x" * 42, "dbk_" + "\x00" * 38])
def test_garbage_is_no_key(key: str) -> None:
    assert not tokens.well_formed(key, tokens.AGENT_KEY)


def test_user_codes_have_no_vowels() -> None:
    code = tokens.new_user_code()
    assert len(code) == 9
    assert not set(code) & set("AEIOUY01")
