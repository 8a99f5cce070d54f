"""Pages of a stream: what the database finds is what the filters mean, in both directions, whatever was integrated."""

import uuid

import pytest

from audit import search, timeline
from audit.models import Block
from audit.timeline import Filters
from audit.uuid7 import uuid7
from tests.audit.timeline.streams import event, integrate, mixed, write, written

QUERIES = (
    {},
    {"kind": "tool"},
    {"kind": "db.statement,file"},
    {"outcome": "denied"},
    {"outcome": "success"},
    {"host": "api.example"},
    {"host": "db.example", "kind": "tool", "outcome": "failure"},
    {"path": "/srv/a"},
    {"path": "/"},
    {"path": "/srv/ab", "host": "api.example"},
    {"actor": "agent"},
    {"actor": "service:issuer"},
    {"q": "hel"},
    {"q": "hélène row3"},
    {"q": "shipped_at", "kind": "http"},
    {"q": "say nothing"},
    {"q": "?!"},
)


def down(stream, filters, limit=7):
    """All pages from the newest on, as numbers from the lowest."""
    found, before = [], None
    while True:
        page = timeline.page(stream, filters, before=before, limit=limit)
        found += [entry.seq for entry in page.entries]
        if page.older is None:
            return found[::-1]
        before = page.older


def up(stream, filters, limit=7):
    found, after = [], 0
    while True:
        page = timeline.page(stream, filters, after=after, limit=limit)
        found += [entry.seq for entry in reversed(page.entries)]
        if page.newer is None:
            return found
        after = page.newer


def meant(stream, filters):
    entries, _ = timeline.after(stream, 0, Filters(), limit=10_000)
    return [entry.seq for entry in entries if filters.matches(entry)]


@pytest.fixture(scope="module")
def streams(django_db_setup, django_db_blocker, stack_environment):
    """Integrated whole; not at all; and in part, in the middle of a block."""
    with django_db_blocker.unblock():
        whole, none, part = uuid7(), uuid7(), uuid7()
        write(whole, mixed(whole, 300, seed=1))
        write(part, mixed(part, 130, seed=2))
        integrate(stack_environment)
        write(part, mixed(part, 50, seed=3))
        write(none, mixed(none, 120, seed=4))
    return {"whole": whole, "part": part, "none": none}


@pytest.mark.parametrize("query", QUERIES, ids=str)
@pytest.mark.parametrize("which", ["whole", "part", "none"])
def test_pages_have_what_the_filters_mean_both_ways(committed, streams, which, query):
    stream, filters = streams[which], Filters.from_query(query)
    expected = meant(stream, filters)
    assert down(stream, filters) == expected
    assert up(stream, filters) == expected


@pytest.mark.parametrize("query", [{}, {"kind": "tool,file"}, {"q": "row2"}, {"host": "db.example"}], ids=str)
@pytest.mark.parametrize("which", ["whole", "part", "none"])
def test_times_bound_what_is_found_both_ways(committed, streams, which, query):
    stream = streams[which]
    times = sorted(entry.occurred_at for entry in timeline.after(stream, 0, Filters(), 10_000)[0])
    early, late = times[len(times) // 4], times[len(times) // 2]
    for since, until in ((early, None), (None, late), (early, late), (late, early)):
        filters = Filters.from_query(query).between(since, until)
        expected = meant(stream, filters)
        assert down(stream, filters) == expected
        assert up(stream, filters) == expected


def test_middle_page_has_neighbours_on_both_sides(committed, streams):
    page = timeline.page(streams["whole"], Filters(), before=200, limit=10)
    assert [entry.seq for entry in page.entries] == list(range(199, 189, -1))
    assert (page.older, page.newer, page.looked) == (190, 199, 0)


def test_newest_page_has_nothing_newer_and_oldest_nothing_older(committed, streams):
    newest = timeline.page(streams["whole"], Filters(), limit=10)
    oldest = timeline.page(streams["whole"], Filters(), before=11, limit=10)
    assert (newest.newer, newest.older) == (None, 291)
    assert (oldest.newer, oldest.older) == (10, None)


def test_page_above_the_newest_is_empty_and_leads_back(committed, streams):
    page = timeline.page(streams["whole"], Filters(), after=300)
    assert (page.entries, page.newer, page.older) == ([], None, 301)


@pytest.mark.parametrize("before", [0, 1, -1])
def test_page_below_the_first_is_empty(committed, streams, before):
    page = timeline.page(streams["whole"], Filters(), before=before)
    assert (page.entries, page.older) == ([], None)


def test_stream_that_nobody_knows_is_empty(committed):
    assert timeline.page(uuid.uuid4(), Filters(text="x")) == timeline.Page([], None, None)


def test_search_stops_at_its_bound_and_goes_on_from_there(db, monkeypatch):
    monkeypatch.setattr(search, "MOST_LOOKED", 20)
    stream = uuid7()
    write(stream, [event(stream, data={"statement": "needle" if seq == 3 else "hay"}) for seq in range(1, 51)])
    first = timeline.page(stream, Filters(text="needle"))
    second = timeline.page(stream, Filters(text="needle"), before=first.older)
    third = timeline.page(stream, Filters(text="needle"), before=second.older)
    assert (first.entries, first.older, first.looked) == ([], 31, 20)
    assert (second.older, [entry.seq for entry in third.entries], third.older) == (11, [3], None)


def test_kinds_that_an_agent_makes_up_cost_no_more_than_the_bound(db, monkeypatch):
    monkeypatch.setattr(search, "MOST_KINDS", 10)
    stream = uuid7()
    write(stream, [event(stream, f"tool.k{seq}") for seq in range(30)] + [event(stream, "file.read")])
    assert down(stream, Filters(kinds=frozenset({"tool.k5", "file"}))) == [6, 31]


def test_search_far_back_asks_the_index_of_words(committed, stack_environment, monkeypatch):
    monkeypatch.setattr(search, "NEAR_BLOCKS", 2)
    stream = uuid7()
    for seq in range(1, 13):
        write(stream, [event(stream, data={"statement": f"needle{seq}" if seq in (2, 5) else "hay"})])
    integrate(stack_environment)
    assert Block.objects.filter(stream=stream).count() == 12
    assert down(stream, Filters(text="needle"), limit=1) == up(stream, Filters(text="needle"), limit=1) == [2, 5]


def test_words_of_other_streams_are_not_found(committed, stack_environment):
    one, other = written(data={"statement": "uncommonword"}), written(data={"statement": "hay"})
    integrate(stack_environment)
    assert down(one, Filters(text="uncommon")) == [1]
    assert down(other, Filters(text="uncommon")) == []


def test_path_is_found_behind_a_text_too_long_to_be_indexed(committed, stack_environment):
    stream = written(kind="file.read", data={"content": "x y " * 5_000, "path": "/srv/deep/file.txt"})
    integrate(stack_environment)
    assert down(stream, Filters(path="/srv/deep")) == [1]


def test_one_event_is_read_by_its_number(db):
    stream = written(data={"host": "API.example", "path": "/p"}, outcome="denied")
    entry = timeline.entry(stream, 1)
    assert (entry.seq, entry.outcome, entry.host, entry.path, entry.actor) == (1, "denied", "api.example", "/p", None)
    assert timeline.entry(stream, 2) is None


def test_those_who_acted_and_hosts_are_named_once(db):
    stream = uuid7()
    acts = ("person:1", "agent:a", "service:s", "person:1")
    write(stream, [event(stream, act=act, data={"host": host}) for act, host in zip(acts, "abab", strict=True)])
    assert timeline.actors(stream) == ["person:1", "service:s"]
    assert timeline.hosts(stream) == ["a", "b"]


def test_floor_of_a_stream_is_a_day_before_it_was_made():
    stream = uuid.UUID("01941f29-7c00-7000-8000-000000000000")
    assert search.floor(stream) == uuid.UUID(int=(0x01941F297C00 - 86_400_000) << 80)
    assert search.floor(uuid.uuid4()) == uuid.UUID(int=0)
