"""What stands in the address of a timeline, and what an event must have to match."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from audit.filters import Filters, searched, words

AT = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Seen:
    kind: str = "tool.called"
    outcome: str = "success"
    occurred_at: datetime = AT
    actor: str | None = None
    host: str | None = "api.example"
    path: str | None = "/srv/work/a.txt"
    body: str = r'{"act":{"sub":"x"},"data":{"text":"Line one\nshipped_at \u0001café"},"id":"secret","kind":"x"}'


FULL = {
    "kind": "db,tool.called",
    "outcome": "denied",
    "host": "api.example",
    "path": "/srv",
    "actor": "person:1",
    "q": "late order",
    "since": "2026-11-25T08:00:00Z",
    "until": "2026-11-25T09:00:00.500000Z",
}


def test_filters_are_written_as_they_were_read():
    filters = Filters.from_query(FULL)
    assert filters.parts == FULL
    assert filters.query.startswith("kind=db%2Ctool.called&outcome=denied&host=api.example&path=%2Fsrv&")


def test_filters_read_what_they_wrote():
    filters = Filters.from_query(FULL)
    assert Filters.from_query(filters.parts) == filters


def test_no_filter_is_written_as_nothing():
    assert (Filters().query, Filters().parts) == ("", {})


@pytest.mark.parametrize(
    "query",
    [
        {"outcome": "maybe"},
        {"since": "yesterday"},
        {"until": "0001-01-01T00:00:00+14:00"},
        {"kind": " , ,"},
        {"q": "  ", "host": "\0", "page": "9"},
    ],
)
def test_nonsense_in_the_address_is_ignored(query):
    assert Filters.from_query(query) == Filters()


def test_filters_are_bounded_in_length_and_number():
    filters = Filters.from_query({"q": "x" * 5_000, "kind": ",".join(f"k{n}" for n in range(99)), "path": "/" * 9_000})
    assert (len(filters.text), len(filters.path)) == (100, 1024)
    assert len(filters.kinds) == 20


def test_time_without_a_zone_is_utc():
    assert Filters.from_query({"since": "2026-11-25T08:30:00"}).since == AT


def test_one_filter_is_taken_away_by_its_name():
    assert Filters.from_query(FULL).without("q").parts == {name: FULL[name] for name in FULL if name != "q"}


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({"kind": "tool"}, True),
        ({"kind": "tool.called"}, True),
        ({"kind": "too"}, False),
        ({"kind": "db,tool"}, True),
        ({"outcome": "denied"}, False),
        ({"host": "API.example"}, True),
        ({"host": "example"}, False),
        ({"path": "/srv/work"}, True),
        ({"path": "work"}, False),
        ({"actor": "agent"}, True),
        ({"actor": "person:1"}, False),
        ({"since": "2026-11-25T08:30:00Z"}, True),
        ({"until": "2026-11-25T08:30:00Z"}, False),
        ({"q": "one"}, True),
        ({"q": "LIN"}, True),
        ({"q": "ine"}, False),
        ({"q": "one line"}, True),
        ({"q": "line two"}, False),
        ({"q": "shipped_at"}, True),
        ({"q": "shipped_a"}, True),
        ({"q": "at_shipped"}, False),
        ({"q": "caf"}, True),
        ({"q": "CAFÉ"}, True),
        ({"q": "n"}, False),
        ({"q": "u0001"}, False),
        ({"q": "called"}, True),
        ({"q": "secret"}, False),
        ({"q": "!?"}, True),
    ],
)
def test_event_matches(query, matches):
    assert Filters.from_query(query).matches(Seen()) is matches


def test_actor_is_whoever_is_not_the_agent():
    assert Filters(actor="person:1").matches(Seen(actor="person:1"))
    assert not Filters(actor="agent").matches(Seen(actor="person:1"))


def test_event_without_a_path_matches_no_path():
    assert not Filters(path="/").matches(Seen(path=None))


def test_words_are_letters_and_digits_in_lower_case():
    assert words("Ab_cd-12 É!") == "ab cd 12 é"


def test_data_that_imitates_the_end_of_data_is_searched_whole():
    body = r'{"data":{"text":"a\",\"id\":\"b","x":{"data":1}},"id":"1","kind":"k"}'
    assert words(searched(body)) == "text a id b x data 1"
