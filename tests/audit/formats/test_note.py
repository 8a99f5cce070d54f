"""C2SP signed-note v1.0.0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import note
from audit.errors import FormatError, SignatureError, UnsignedError
from audit.note import KeyList, Signature, SigningKey, VerifierKey

# The example of the C2SP signed-note specification.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
OLD = SigningKey("log.example/a", b"\x01" * 32)
NEW = SigningKey("log.example/a", b"\x02" * 32)
OTHER = SigningKey("witness.example/w", b"\x03" * 32)
TEXT = b"some text\nwith lines\n"


def test_the_example_of_the_specification() -> None:
    key = VerifierKey.parse(SPEC_KEY)
    opened = note.open_note(SPEC_NOTE, [key])
    assert opened.text == b"This is an example message.\n"
    assert [signature.name for signature in opened.verified] == ["example.com/foo"]
    assert str(key) == SPEC_KEY


def test_the_example_with_another_text_is_refused() -> None:
    with pytest.raises(SignatureError) as caught:
        note.open_note(SPEC_NOTE.replace(b"example message", b"Example message"), [VerifierKey.parse(SPEC_KEY)])
    assert (caught.value.name, caught.value.key_id.hex()) == ("example.com/foo", "530d903a")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, range(32))))))
def test_every_text_comes_back(line: str) -> None:
    text = f"{line}\n\n{line}\n".encode()
    assert note.open_note(note.sign(text, [OLD]), [OLD.verifier]).text == text


@given(st.data())
def test_every_flipped_bit_is_noticed(data: st.DataObject) -> None:
    signed = note.sign(TEXT, [OLD])
    at, bit = data.draw(st.integers(0, len(signed) - 1)), data.draw(st.integers(0, 7))
    damaged = bytearray(signed)
    damaged[at] ^= 1 << bit
    with pytest.raises((FormatError, SignatureError)):
        note.open_note(bytes(damaged), [OLD.verifier])


def test_signatures_of_unknown_keys_are_ignored() -> None:
    opened = note.open_note(note.sign(TEXT, [OTHER, OLD]), [OLD.verifier])
    assert [signature.name for signature in opened.verified] == [OLD.name]
    assert [signature.name for signature in opened.others] == [OTHER.name]


def test_a_key_is_unknown_if_only_name_or_only_id_is_known() -> None:
    signed = note.sign(TEXT, [OLD])
    same_name, same_key = NEW.verifier, VerifierKey("log.example/b", OLD.verifier.public)
    with pytest.raises(UnsignedError) as caught:
        note.open_note(signed, [same_name, same_key])
    assert caught.value.found == [f"log.example/a+{OLD.key_id.hex()}"]


@pytest.mark.parametrize("order", [(OLD, OTHER), (OTHER, OLD)])
def test_one_bad_signature_of_a_known_key_condemns_the_note(order: tuple[SigningKey, ...]) -> None:
    good = note.sign(TEXT, order)
    bad = Signature(OLD.name, OLD.key_id, OLD.sign(b"another text\n")).line().encode()
    condemned = good.replace(Signature(OLD.name, OLD.key_id, OLD.sign(TEXT)).line().encode(), bad)
    with pytest.raises(SignatureError):
        note.open_note(condemned, [OLD.verifier, OTHER.verifier])


def test_a_second_bad_signature_of_the_same_key_condemns_the_note() -> None:
    bad = Signature(OLD.name, OLD.key_id, bytes(64)).line().encode()
    with pytest.raises(SignatureError):
        note.open_note(note.sign(TEXT, [OLD]) + bad, [OLD.verifier])


def test_a_repeated_signature_counts_once() -> None:
    signed = note.sign(TEXT, [OLD])
    again = note.open_note(signed + signed[len(TEXT) + 1 :], [OLD.verifier])
    assert len(again.verified) == 1


@pytest.mark.parametrize("count", [16, 100])
def test_many_signatures_are_fine(count: int) -> None:
    keys = [SigningKey(f"witness.example/{n}", bytes([n]) * 32) for n in range(1, count + 1)]
    opened = note.open_note(note.sign(TEXT, keys), [keys[-1].verifier])
    assert (len(opened.verified), len(opened.others)) == (1, count - 1)


def test_too_many_signatures_are_refused() -> None:
    keys = [SigningKey(f"witness.example/{n}", bytes([n]) * 32) for n in range(1, 102)]
    with pytest.raises(FormatError, match="at most 100"):
        note.open_note(note.sign(TEXT, keys), [keys[0].verifier])


LINE = Signature(OLD.name, OLD.key_id, OLD.sign(TEXT)).line().encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TEXT,
        TEXT + b"\n",
        TEXT + LINE,
        TEXT + b"\n" + LINE[:-1],
        TEXT + b"\n" + LINE + b"\n",
        TEXT + b"\n" + LINE + b"more\n",
        TEXT + b"\n" + LINE.replace("—".encode(), b"-"),
        TEXT + b"\n" + LINE.replace(b" log", b"  log"),
        TEXT + b"\n" + LINE.replace(b"log.", b"log+"),
        TEXT + b"\n" + LINE.replace(b"log.", "log\u3000".encode()),
        TEXT + b"\n" + LINE.replace(b"\n", b" \n"),
        TEXT + b"\n" + LINE.replace(b"=", b""),
        TEXT + b"\n" + b"\xe2\x80\x94 log.example/a AAAAAA==\n",
        TEXT + b"\n" + b"\xe2\x80\x94 log.example/a\n",
        b"tab\there\n\n" + LINE,
        b"carriage\r\n\n" + LINE,
        b"not \xff utf-8\n\n" + LINE,
        b"surrogate \xed\xa0\x80\n\n" + LINE,
        b"nul \x00\n\n" + LINE,
    ],
)
def test_what_is_not_a_note_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        note.open_note(data, [OLD.verifier])


@pytest.mark.parametrize("text", [b"no newline", b"", b"a\tb\n", b"\xff\n"])
def test_what_cannot_be_a_text_is_not_signed(text: bytes) -> None:
    with pytest.raises(FormatError):
        note.sign(text, [OLD])


def test_signing_again_replaces_the_key_s_own_signature() -> None:
    _, found = note.parse(note.sign(TEXT, [OLD, OTHER]))
    assert note.sign(TEXT, [OLD], found) == note.sign(TEXT, [OTHER, OLD])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/fooo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "ex ample+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+!!!",
    ],
)
def test_a_damaged_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(FormatError):
        VerifierKey.parse(vkey)


def test_a_signing_key_both_ways_and_never_shown() -> None:
    assert SigningKey.parse(OLD.format() + "\n") == OLD
    assert OLD.format().split("+")[-1] not in repr(OLD)


@pytest.mark.parametrize(
    "damage", [("PRIVATE", "PUBLIC"), ("+AQEB", "+BQEB"), ("/a+", "/b+"), ("AQEB", "QEB"), ("AQEB", "!")]
)
def test_a_damaged_signing_key_is_refused_and_never_shown(damage: tuple[str, str]) -> None:
    text = OLD.format().replace(*damage)
    with pytest.raises(FormatError) as caught:
        SigningKey.parse(text)
    assert text.split("+")[-1] not in str(caught.value)


def test_rotation_signs_with_the_newest_and_verifies_with_any() -> None:
    before = KeyList.parse(OLD.format())
    after = before.rotated(NEW)
    assert after == KeyList.parse(f"{OLD.format()}\n{NEW.format()}\n")
    assert after.newest == NEW
    for key in (before.newest, after.newest):
        assert note.open_note(note.sign(TEXT, [key]), after.verifiers).text == TEXT
    with pytest.raises(UnsignedError):
        note.open_note(note.sign(TEXT, [after.newest]), before.verifiers)


@pytest.mark.parametrize("keys", [(), (OLD, NEW, OLD)])
def test_a_key_list_names_each_key_once_and_one_at_least(keys: tuple[SigningKey, ...]) -> None:
    with pytest.raises(FormatError):
        KeyList(keys)
