"""The log: in the caller's transaction, numbered without gaps, once each, and never changed."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.utils import ProgrammingError

from audit import canonical, log
from audit.event import NewEvent, from_content, now
from audit.log import Answer
from audit.models import Event, Stream


def event(stream: uuid.UUID, **fields: object) -> NewEvent:
    return NewEvent(**{"kind": "tool.call", "stream": stream, "sub": "person:p", "act": "agent:a", **fields})  # type: ignore[arg-type]


def test_append_outside_a_transaction_is_refused(committed: None) -> None:
    with pytest.raises(RuntimeError, match="in the transaction of what it records"):
        log.append(event(uuid.uuid4()))


@pytest.mark.django_db
def test_append_stores_the_canonical_bytes() -> None:
    row = log.append(event(uuid.uuid4(), data={"z": 1, "a": "é"}))
    row.refresh_from_db()
    content = canonical.loads(bytes(row.body))
    assert bytes(row.body) == canonical.dumps(content)
    assert (content["seq"], content["data"]) == (1, {"a": "é", "z": 1})


@pytest.mark.django_db
def test_append_rolls_back_with_its_caller() -> None:
    stream = uuid.uuid4()
    with transaction.atomic():
        log.append(event(stream))
        transaction.set_rollback(True)
    log.append(event(stream))
    assert list(Event.objects.filter(stream=stream).values_list("seq", flat=True)) == [1]


@pytest.mark.django_db
def test_batch_sent_twice_counts_once() -> None:
    stream = uuid.uuid4()
    batch = [event(stream) for _ in range(3)]
    assert log.append_batch(stream, batch) == [Answer.STORED] * 3
    assert log.append_batch(stream, [*batch, event(stream)]) == [Answer.KNOWN] * 3 + [Answer.STORED]
    assert list(Event.objects.filter(stream=stream).order_by("seq").values_list("seq", flat=True)) == [1, 2, 3, 4]


@pytest.mark.django_db
def test_other_content_under_a_known_id_is_a_conflict() -> None:
    stream = uuid.uuid4()
    first = event(stream)
    other = event(stream, id=first.id, kind="tool.other", occurred_at=first.occurred_at)
    assert log.append_batch(stream, [first, other]) == [Answer.STORED, Answer.CONFLICT]
    assert log.append_batch(stream, [other]) == [Answer.CONFLICT]
    assert Event.objects.get(stream=stream).kind == "tool.call"


@pytest.mark.django_db
def test_too_long_event_is_refused_and_leaves_no_gap() -> None:
    stream = uuid.uuid4()
    with pytest.raises(ValueError, match="may have 60000 bytes"), transaction.atomic():
        log.append(event(stream, data={"text": "x" * 60_000}))
    assert not Stream.objects.filter(pk=stream).exists()


def test_event_survives_its_content() -> None:
    original = event(uuid.uuid4(), session=uuid.uuid4(), occurred_at=now() - timedelta(days=1), data={"n": 1})
    assert from_content(original.content()) == original


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_event SET kind = 'x'", "DELETE FROM audit_event", "TRUNCATE audit_event"],
)
@pytest.mark.django_db
def test_application_role_cannot_change_events(statement: str) -> None:
    log.append(event(uuid.uuid4()))
    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET kind = 'x'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
    ],
)
def test_trigger_refuses_even_the_owner(committed: None, stack, statement: str) -> None:  # type: ignore[no-untyped-def]
    with transaction.atomic():
        log.append(event(uuid.uuid4()))
    with stack.postgres.connect("drawbridge") as superuser, pytest.raises(Exception, match="append-only"):
        superuser.execute(statement)


def test_a_run_gets_its_place_once(committed: None, stack) -> None:  # type: ignore[no-untyped-def]
    stream = uuid.uuid4()
    with transaction.atomic():
        log.append(event(stream))
    with stack.postgres.connect("drawbridge") as superuser, superuser.transaction(force_rollback=True):
        superuser.execute("UPDATE audit_run SET first_leaf = %s WHERE stream = %s", [2**60, stream])
        with pytest.raises(Exception, match="append-only"):
            superuser.execute("UPDATE audit_run SET first_leaf = 6 WHERE stream = %s", [stream])


def test_concurrent_writers_of_one_stream_leave_no_gap(committed: None) -> None:
    """Commit order is number order: a reader that saw number n has seen all below it."""
    stream, each, writers = uuid.uuid4(), 25, 8
    seen: list[list[int]] = []

    def write() -> None:
        for _ in range(each):
            with transaction.atomic():
                log.append(event(stream))
        connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(list(Event.objects.filter(stream=stream).order_by("seq").values_list("seq", flat=True)))
    for numbers in [*seen, list(Event.objects.filter(stream=stream).order_by("seq").values_list("seq", flat=True))]:
        assert numbers == list(range(1, len(numbers) + 1))
    assert Event.objects.filter(stream=stream).count() == each * writers
