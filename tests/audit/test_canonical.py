"""RFC 8785, by its own examples."""

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import canonical


def test_canonical_json_of_the_rfc() -> None:
    """RFC 8785, section 3.2.2 and 3.2.3."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '\u20ac$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical.dumps(value) == expected.encode()


def test_keys_are_sorted_by_utf16_units() -> None:
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert [ord(key[0]) for key in canonical.loads(canonical.dumps(value))] == [
        0x0D,
        0x31,
        0x80,
        0xF6,
        0x20AC,
        0x1F600,
        0xFB33,
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53 + 1, b"bytes", {1: 2}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="canonical JSON"):
        canonical.dumps(value)


KEYS = st.text(st.characters(codec="ascii"), max_size=6) | st.text(max_size=4)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=12)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(VALUES)
@settings(max_examples=500, deadline=None)
def test_the_quick_way_writes_what_the_reference_does(value: object) -> None:
    assert canonical.dumps(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": [1, "é\u2028\x7f\x1f", None, True, {"b": -(2**53) + 1}]}, True),
        ({"é": 1}, False),
        ({"a": 1.0}, False),
        ({"a": [[2**53]]}, False),
        ((1, 2), False),
    ],
)
def test_only_what_needs_no_rules_goes_the_quick_way(value: object, plain: bool) -> None:
    assert canonical.plain(value) is plain
