"""A stream that was away for long gets what it missed page by page, and the panel last."""

import uuid

import pytest
from django.db import transaction
from django.http import HttpRequest

from audit import log, timeline
from audit.event import NewEvent
from audit.timeline import Filters
from sessions.streams import Look, SessionWatch
from tests.factories import World


def missed(world: World, count: int) -> uuid.UUID:
    """A session with `count` events that its agent reported, after the one that asked for it."""
    stream, act = world.request().agent_session.id, world.agent.reference
    events = [NewEvent("db.statement", stream, world.requester.reference, act, {"n": n}) for n in range(count)]
    with transaction.atomic():
        log.append_batch(stream, events)
    return stream


@pytest.fixture
def looks(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Look]:
    """All looks of somebody who has seen nothing yet of 251 events."""
    watch = SessionWatch(HttpRequest(), missed(world, 250), Filters(), 0)
    monkeypatch.setattr(watch, "authorise", lambda: world.lead)
    found = [watch.look()]
    while found[-1].more:
        found.append(watch.look())
    return found


def test_replay_is_cut_into_pages(looks: list[Look]) -> None:
    assert [len(look.frames) for look in looks] == [100, 100, 51, 1]


def test_replay_shows_the_panel_once_and_last(looks: list[Look]) -> None:
    frames = [frame for look in looks for frame in look.frames]
    assert [number for number, frame in enumerate(frames) if frame.startswith("event: fragment")] == [251]


def test_search_that_finds_nothing_looks_no_further_than_its_bound(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MOST_LOOKED", 100)
    stream = missed(world, 250)
    first = timeline.latest(stream, Filters(text="nothing-like-it"))
    assert (first.entries, first.older) == ([], 152)
    assert timeline.latest(stream, Filters(text="nothing-like-it"), before=101).older is None
