"""Lengths of time, and other people's text."""

from datetime import timedelta

import pytest

from sessions import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (5_400, "1 hour 30 minutes"),
        (86_400, "1 day"),
        (90_061, "1 day 1 hour"),
    ],
)
def test_span_uses_two_units(seconds, said):
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(0.42, "0.4 ms"), (43, "43 ms"), (999, "999 ms"), (1_260, "1.26 s"), (59_999, "60.00 s"), (180_000, "3 minutes")],
)
def test_elapsed_is_as_exact_as_it_matters(milliseconds, said):
    assert words.elapsed(timedelta(milliseconds=milliseconds)) == said


@pytest.mark.parametrize("character", ["\u202e", "\u200b", "\u2066", "\ufeff", "\x00", "\x1b", "\u2028", "\U000e0041"])
def test_plain_shows_what_would_hide(character):
    assert words.plain(f"a{character}b\n") == "a\ufffdb\n"


def test_plain_leaves_text_alone():
    assert words.plain("Späte Sendungen: 遅れ 🚚") == "Späte Sendungen: 遅れ 🚚"


def test_what_a_database_that_is_gone_allowed_is_still_told():
    details = {"type": "postgresql", "locations": ["postgresql://elsewhere/public.t"], "actions": ["read"]}
    assert words.allowed([details]) == ["read on postgresql://elsewhere/public.t (postgresql)."]


def test_what_several_objects_repeat_is_said_once_and_last():
    details = [
        {"type": "postgresql", "locations": [f"postgresql://warehouse/public.{table}"], "actions": ["read"]}
        for table in ("orders", "customers")
    ]
    assert words.allowed(details) == [
        "Read rows of orders in the database warehouse.",
        "Read rows of customers in the database warehouse.",
        "At most 4 connections at once.",
    ]
