"""Reading is logged, in the reader's own stream; a database that cannot be written keeps nobody from looking."""

import pytest
from django.db import OperationalError
from psycopg.errors import DiskFull

from audit import health, log
from audit.models import DeferredEvent
from sessions import reading
from sessions.api import problems
from tests import factories

FULL = 'could not extend file "base/16384/16999": No space left on device'


@pytest.mark.django_db
def test_a_reading_is_one_event_of_the_reader() -> None:
    person = factories.person("auditor")
    reading.noted(person, "session", {"session": "x"})
    [event] = factories.events_of(person.id)
    assert (event["kind"], event["act"]["sub"], event["data"]) == (
        "log.read",
        f"person:{person.id}",
        {"what": "session", "session": "x"},
    )


@pytest.mark.django_db
def test_a_full_disk_keeps_nobody_from_looking_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OperationalError(FULL)

    monkeypatch.setattr(health, "_unwritten", None)
    monkeypatch.setattr(log, "_append_each", full)
    monkeypatch.setattr(DeferredEvent.objects, "bulk_create", full)
    reading.noted(factories.person("security"), "session", {})
    assert health.problems()[0].problem == f"The database cannot be written to: {FULL}"


@pytest.mark.django_db
def test_an_agent_is_told_to_come_again_and_the_pages_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_unwritten", None)
    error = OperationalError(FULL)
    error.__cause__ = DiskFull(FULL)
    refused = problems.response(problems.of_error(error, "/api/v1/events"))
    assert (refused.status_code, refused["Retry-After"]) == (503, "1")
    assert health.problems()[0].part == "database"
