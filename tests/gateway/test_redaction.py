"""Known secrets in streams: found in every encoding, whatever the chunks; nothing else is touched."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.encodings import encodings
from gateway.known_secrets import KnownSecrets
from gateway.redaction import REDACTED, Hit, Patterns, Scanner, clean_text, scan_text

TOKEN = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
PASSWORD = 'p/ä"ss+w<ö>rd ~&x!'


def patterns_of(**slots: str) -> Patterns:
    return Patterns.of(KnownSecrets.of({"secrets": {slot: {"value": value} for slot, value in slots.items()}}))


PATTERNS = patterns_of(github=TOKEN, db=PASSWORD)


def cleaned(patterns: Patterns, chunks: list[bytes], *, same_length: bool = True) -> tuple[bytes, list[Hit]]:
    scanner = Scanner(patterns, same_length=same_length)
    out = b"".join([scanner.feed(chunk) for chunk in chunks])
    return out + scanner.finish(), scanner.hits


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]


def test_an_exact_secret_is_covered_at_the_same_length():
    body = b'{"token": "' + TOKEN.encode() + b'"}'
    assert cleaned(PATTERNS, [body]) == (b'{"token": "' + b"*" * len(TOKEN) + b'"}', [Hit("github", "exact")])


def test_a_secret_is_replaced_by_words_where_the_length_is_free():
    out, hits = cleaned(PATTERNS, [b"a " + TOKEN.encode() + b" b"], same_length=False)
    assert (out, hits) == (b"a " + REDACTED + b" b", [Hit("github", "exact")])


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD])
@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("exact", lambda s: s),
        ("base64", lambda s: base64.b64encode(s.encode()).decode()),
        ("base64", lambda s: base64.b64encode(s.encode()).decode().rstrip("=")),
        ("base64", lambda s: base64.b64encode(f"user:{s}".encode()).decode()),
        ("base64", lambda s: base64.b64encode(f"users:{s}!".encode()).decode()),
        ("base64", lambda s: base64.urlsafe_b64encode(f"userid:{s}".encode()).decode()),
        ("base64", lambda s: quote(base64.b64encode(s.encode()), safe="")),
        ("base64", lambda s: json.dumps(base64.b64encode(s.encode()).decode()).replace("/", "\\/")),
        ("hex", lambda s: s.encode().hex()),
        ("hex", lambda s: s.encode().hex().upper()),
        ("url", lambda s: "".join(f"%{byte:02x}" for byte in s.encode())),
        ("url", lambda s: "".join(f"%{byte:02X}" for byte in s.encode())),
        ("json", lambda s: "".join(f"\\u{ord(char):04x}" for char in s)),
    ],
)
def test_every_encoding_is_found_and_gone(secret, encoding, encode):
    text = encode(secret).encode()
    out, hits = cleaned(PATTERNS, [b"before ", text, b" after"])
    assert Hit("github" if secret == TOKEN else "db", encoding) in hits
    assert len(out) == len(b"before  after") + len(text)
    assert out.startswith(b"before ")
    assert out.count(b"*") >= len(text) - 16


@pytest.mark.parametrize(
    "encode",
    [
        lambda s: quote(s),
        lambda s: quote(s, safe=""),
        lambda s: quote(s, safe="!'()*"),
        lambda s: quote(s, safe="").replace("%20", "+"),
        lambda s: "%".join([part[:2].lower() + part[2:] for part in quote(s, safe="").split("%")]),
        lambda s: json.dumps(s)[1:-1],
        lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
        lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
        lambda s: json.dumps(s)[1:-1].replace("\\u00e4", "\\u00E4").replace("\\u00f6", "\\u00F6"),
        lambda s: json.dumps(s)[1:-1].replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        lambda s: s.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;"),
    ],
)
def test_what_libraries_make_of_odd_characters_is_found_whole(encode):
    text = encode(PASSWORD).encode()
    assert cleaned(PATTERNS, [b"(" + text + b")"])[0] == b"(" + b"*" * len(text) + b")"


def test_a_secret_that_comes_byte_by_byte_never_leaves():
    scanner = Scanner(PATTERNS)
    pieces = [scanner.feed(bytes([byte])) for byte in TOKEN.encode()]
    assert b"".join(pieces) + scanner.finish() == b"*" * len(TOKEN)
    assert scanner.hits == [Hit("github", "exact")]


def test_only_what_may_begin_a_secret_is_held_back():
    scanner = Scanner(PATTERNS)
    assert scanner.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert scanner.feed(b"x ghs_16C7e4") == b"x "
    assert scanner.feed(b"!") == b"ghs_16C7e4!"


def test_a_beginning_at_the_end_of_the_stream_is_given_back():
    assert cleaned(PATTERNS, [b"it was ghs_16C7"]) == (b"it was ghs_16C7", [])


def test_a_secret_of_a_bound_slot_passes_and_others_do_not():
    scanner = Scanner(PATTERNS, bound=frozenset({"github"}))
    out = scanner.feed(TOKEN.encode() + PASSWORD.encode()) + scanner.finish()
    assert out == TOKEN.encode() + b"*" * len(PASSWORD.encode())
    assert scanner.hits == [Hit("db", "exact")]


def test_a_value_of_two_slots_passes_where_one_of_them_is_bound():
    both = patterns_of(one=TOKEN, two=TOKEN)
    assert scan_text(both, TOKEN) == [Hit("one", "exact")]
    assert scan_text(both, TOKEN, frozenset({"two"})) == []


def test_overlapping_secrets_are_one_hole():
    overlapping = patterns_of(a="abcdefghij", b="fghijklmno")
    out, hits = cleaned(overlapping, [b"abcdefg", b"hijkl", b"mno."], same_length=False)
    assert (out, hits) == (REDACTED + b".", [Hit("a", "exact"), Hit("b", "exact")])


def test_a_secret_inside_a_longer_one_is_found_in_both():
    nested = patterns_of(inner="abcdefgh", outer="abcdefghijkl")
    assert cleaned(nested, [b"abcdefgh", b"ijkl"]) == (b"*" * 12, [Hit("outer", "exact"), Hit("inner", "exact")])
    assert cleaned(nested, [b"abcdefgh", b"ij"]) == (b"*" * 8 + b"ij", [Hit("inner", "exact")])


def test_without_secrets_everything_passes():
    assert cleaned(patterns_of(), [b"any", b"thing"]) == (b"anything", [])


def test_patterns_and_hits_never_show_a_secret():
    assert TOKEN not in repr(PATTERNS) + repr(scan_text(PATTERNS, TOKEN))


def test_a_path_is_logged_without_the_secrets_in_it():
    path = f"/login/{TOKEN}/{quote(PASSWORD, safe='')}"
    assert clean_text(PATTERNS, path) == "/login/[redacted by Drawbridge]/[redacted by Drawbridge]"


def test_a_header_with_basic_auth_is_seen():
    value = b"Basic " + base64.b64encode(b"x-access-token:" + TOKEN.encode())
    assert scan_text(PATTERNS, value) == [Hit("github", "base64")]


SECRETS = st.text(min_size=8, max_size=24).filter(lambda text: len(text.encode("utf-8", "ignore")) >= 8)
SOUND = SECRETS.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))


@given(st.data(), SOUND, SOUND, st.booleans())
def test_the_result_does_not_depend_on_the_chunks(data, one, two, same_length):
    patterns = patterns_of(one=one, two=two)
    forms = [*encodings(one.encode()), *encodings(two.encode())]
    part = st.one_of(st.binary(max_size=6), st.sampled_from(forms), st.sampled_from(forms).map(lambda form: form[:9]))
    body = b"".join(data.draw(st.lists(part, max_size=6)))
    places = data.draw(st.lists(st.integers(0, 10_000), max_size=12))
    whole = cleaned(patterns, [body], same_length=same_length)
    assert cleaned(patterns, cut(body, places), same_length=same_length) == whole
    assert cleaned(patterns, [bytes([byte]) for byte in body], same_length=same_length) == whole


@given(st.data(), SOUND, st.binary(max_size=40), st.binary(max_size=40))
def test_no_form_of_a_secret_survives(data, secret, before, after):
    forms = encodings(secret.encode())
    form = data.draw(st.sampled_from(list(forms)))
    out, hits = cleaned(patterns_of(slot=secret), cut(before + form + after, data.draw(st.lists(st.integers(0, 999)))))
    assert Hit("slot", forms[form]) in hits
    assert len(out) == len(before + form + after)
    assert out[len(before) : len(before) + len(form)] == b"*" * len(form)


@given(st.lists(st.binary(max_size=60)))
def test_text_without_secrets_goes_through_unchanged(chunks):
    assert cleaned(patterns_of(slot=TOKEN), chunks) == (b"".join(chunks), [])
