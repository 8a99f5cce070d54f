"""What a legal hold covers survives pruning byte for byte, with its bundles, until the hold is released."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from audit import retention
from audit.models import Event, Hold, LeftBundle
from tests.audit.retention.conftest import OLD, Aged, Two, bodies, reported
from tests.audit.retention.test_retention import said


def release(aged: Aged, hold: Hold) -> None:
    aged.act_as("app")
    Hold.objects.filter(pk=hold.pk).update(released_at=datetime.now(UTC), released_by="person:y")
    aged.act_as("integrator")


def test_held_session_survives_byte_for_byte(aged: Aged, two: Two) -> None:
    held, other = two
    hold = aged.hold("session", held)
    before, all_of_other = bodies(held), len(bodies(other))
    retention.prune()
    assert bodies(held) == before
    assert len(bodies(other)) < all_of_other - 200
    assert said()[0]["holds"] == [str(hold.pk)]
    assert said()[0]["held"] + said()[0]["pruned"] == 512


def test_bundle_with_a_held_entry_stays(aged: Aged, two: Two) -> None:
    aged.hold("session", two[0])
    files = {name: (aged.folder / "tile/entries" / name).read_bytes() for name in ("000", "001")}
    retention.prune()
    assert {name: (aged.folder / "tile/entries" / name).read_bytes() for name in files} == files
    assert sorted(LeftBundle.objects.values_list("index", flat=True)) == [0, 1]
    aged.grow()
    assert aged.verified().gaps.entries == 0


def test_bundle_without_a_held_entry_goes(aged: Aged) -> None:
    aged.entries_at(OLD, [aged.session_at(OLD)], 300)
    late = aged.session_at(OLD)
    aged.entries_at(OLD, [late], 300)
    aged.grow()
    aged.hold("session", late)
    retention.prune()
    assert aged.bundles()[0] == "001"


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("session", lambda aged, held: held),
        ("team", lambda aged, held: aged.world.team.id),
        ("person", lambda aged, held: aged.world.requester.id),
    ],
)
def test_hold_covers_all_streams_that_belong_to_it(
    aged: Aged, two: Two, what: str, value: Callable[[Aged, uuid.UUID], uuid.UUID]
) -> None:
    aged.hold(what, value(aged, two[0]))
    before = bodies(two[0])
    retention.prune()
    assert bodies(two[0]) == before
    assert (len(bodies(two[1])) == len(before)) is (what != "session")


def test_hold_on_a_person_covers_each_event_that_names_them(aged: Aged, two: Two) -> None:
    """A lead is on nobody's behalf there, but approved both sessions."""
    aged.hold("person", aged.world.lead.id)
    naming = {body for stream in (*two, aged.world.team.id) for body in bodies(stream) if lead(aged) in body}
    retention.prune()
    assert naming <= {body for stream in (*two, aged.world.team.id) for body in bodies(stream)}
    assert Event.objects.filter(stream=two[0], kind="session.approved").exists()
    assert not Event.objects.filter(stream=two[0], kind="session.requested").exists()


def test_released_entries_go_with_the_next_run(aged: Aged, two: Two) -> None:
    hold = aged.hold("session", two[0])
    retention.prune()
    release(aged, hold)
    assert retention.prune() == said()[0]["held"]
    assert [(one["first"], one["end"], one["minimum"]) for one in said()[1:]] == [(0, 512, 512)]
    assert aged.bundles()[0] == "002"
    aged.grow()
    assert aged.verified().gaps.entries == 512


def test_hold_that_another_one_covers_too_changes_nothing_when_released(aged: Aged, two: Two) -> None:
    hold = aged.hold("session", two[0])
    aged.hold("team", aged.world.team.id)
    before = bodies(two[0])
    release(aged, hold)
    retention.prune()
    assert bodies(two[0]) == before


def test_the_log_s_own_events_are_never_pruned(aged: Aged, two: Two) -> None:
    retention.prune()
    first = Event.objects.get(kind="log.pruned")
    aged.grow()
    assert retention.prune(at=datetime.now(UTC)) == 0
    assert bytes(Event.objects.get(pk=first.pk).body) == bytes(first.body)


def test_same_thing_is_held_once(aged: Aged) -> None:
    aged.hold("session", value := uuid.uuid4())
    with pytest.raises(Exception, match="hold_once"):
        aged.hold("session", value)
    assert reported(value).stream == value


def lead(aged: Aged) -> bytes:
    return str(aged.world.lead.id).encode()
