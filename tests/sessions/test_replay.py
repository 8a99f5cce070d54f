"""A search that finds nothing ends where it said that it would."""

import uuid

import pytest
from django.db import transaction

from audit import log, search, timeline
from audit.event import NewEvent
from audit.timeline import Filters
from tests.factories import World


def missed(world: World, count: int) -> uuid.UUID:
    """A session with `count` events that its agent reported, after the one that asked for it."""
    stream, act = world.request().agent_session.id, world.agent.reference
    events = [NewEvent("db.statement", stream, world.requester.reference, act, {"n": n}) for n in range(count)]
    with transaction.atomic():
        log.append_batch(stream, events)
    return stream


def test_search_that_finds_nothing_looks_no_further_than_its_bound(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_LOOKED", 100)
    stream = missed(world, 250)
    first = timeline.page(stream, Filters(text="nothing-like-it"))
    assert (first.entries, first.older) == ([], 152)
    assert timeline.page(stream, Filters(text="nothing-like-it"), before=101).older is None
