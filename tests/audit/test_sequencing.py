"""What the integrator makes of committed events: places without gaps, proofs, and what pages search and count by."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from audit import comparison, health, log, proofs, sequencing, timeline
from audit.event import NewEvent
from audit.filters import Filters
from audit.models import Block, Density, Event, Run
from audit.note import VerifierKey
from audit.sources import Folder
from stack import Stack
from tests.conftest import REPOSITORY
from tests.waiting import eventually

Integrate = Callable[[], bool]


@pytest.fixture(scope="module")
def integrator(stack: Stack, django_db_setup: None) -> Iterator[None]:
    with stack.processes("integrator", "witness"):
        yield


@pytest.fixture
def integrate(integrator: None) -> Integrate:
    """Waits until all that is committed is signed for."""

    def signed() -> bool:
        if Run.objects.filter(first_leaf=None).exists():
            return False
        head = sequencing.head()
        return head.size == head.published_size == head.indexed_size

    return lambda: bool(eventually(signed, 60))


def append(stream: uuid.UUID, *data: Mapping[str, Any], kind: str = "tool.call", outcome: str = "success") -> None:
    events = [
        NewEvent(kind, stream, "person:p", "agent:a", one, agent="agent:a", session=stream, outcome=outcome)
        for one in data
    ]
    with transaction.atomic():
        log.append_batch(stream, events)


def test_every_committed_event_has_its_place_and_its_proof(committed: None, integrate: Integrate) -> None:
    stream = uuid.uuid4()
    append(stream, *({"n": n} for n in range(130)))
    append(stream, {"n": 130})
    integrate()

    runs = list(Run.objects.order_by("first_leaf"))
    ends = [run.first_leaf + run.last_seq - run.first_seq + 1 for run in runs if run.first_leaf is not None]
    assert [run.first_leaf for run in runs] == [0, *ends[:-1]]
    assert sequencing.head().published_size == sequencing.head().size == ends[-1]
    assert [sequencing.leaf_of(stream, seq) for seq in (1, 131, 132)] == [ends[-1] - 131, ends[-1] - 1, None]


def test_a_proof_verifies_offline(committed: None, integrate: Integrate, stack_environment: Mapping[str, str]) -> None:
    stream = uuid.uuid4()
    append(stream, {"n": 1}, {"n": 2})
    integrate()

    proof = proofs.proof_of(stream, 2)
    keys = [VerifierKey.parse(line) for line in Path(stack_environment["LOG_VERIFIER_KEYS_FILE"]).read_text().split()]
    assert proof is not None
    proof.verify(bytes(Event.objects.get(stream=stream, seq=2).body), stack_environment["LOG_ORIGIN"], keys)


def test_the_databases_rows_are_those_of_the_log(
    committed: None, integrate: Integrate, stack_environment: Mapping[str, str]
) -> None:
    append(uuid.uuid4(), *({"n": n, "host": "Host.example", "path": "/x"} for n in range(300)))
    integrate()
    size = sequencing.head().published_size
    assert comparison.compare(Folder(Path(stack_environment["LOG_STORE"])), size) == size


def test_density_counts_each_kind_and_what_was_refused(committed: None, integrate: Integrate) -> None:
    stream = uuid.uuid4()
    append(stream, {}, {}, kind="file.read")
    append(stream, {}, kind="http.request", outcome="denied")
    integrate()
    append(stream, {}, kind="file.read")
    integrate()

    counted: dict[str, list[int]] = {}
    for row in Density.objects.filter(stream=stream).order_by("kind", "bucket"):
        known = counted.setdefault(row.kind, [0, 0, row.first_seq, row.last_seq])
        known[0] += row.events
        known[1] += row.refused
        known[3] = max(known[3], row.last_seq)
    assert counted == {"file.read": [3, 0, 1, 4], "http.request": [1, 1, 3, 3]}


HOSTILE: dict[str, dict[str, Any]] = {
    "nul": {"statement": "be\0fore"},
    "escapes": {"statement": 'a\\nb "quoted" \\u0041 tab\there'},
    "looks like the end of data": {"text": '"},"id":"x","kind":"y'},
    "not Latin": {"statement": "naïve Ωmega 漢字"},
    "one long word": {"statement": "w" * 50_000},
    "many words": {"statement": " ".join(f"word{n}" for n in range(5_500))},
    "nothing": {},
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_no_event_keeps_the_log_from_going_on(committed: None, integrate: Integrate, data: dict[str, Any]) -> None:
    stream = uuid.uuid4()
    append(stream, data)
    integrate()
    assert sequencing.leaf_of(stream, 1) is not None
    assert not health.problems()


def test_words_are_what_stands_between_punctuation(committed: None, integrate: Integrate) -> None:
    stream = uuid.uuid4()
    append(stream, {"path": "/srv/App/main_test.py", "statement": 'line\nnext "q" Ωmega'}, kind="file.read")
    integrate()
    words = ["file", "read", "path", "srv", "app", "main_test", "py", "statement", "line", "next", "q", "ωmega"]
    found = {word: [entry.seq for entry in timeline.page(stream, Filters(text=word)).entries] for word in words}
    assert found == dict.fromkeys(words, [1])
    assert not timeline.page(stream, Filters(text="mega")).entries


def test_blocks_cover_a_stream_without_gaps(committed: None, integrate: Integrate) -> None:
    stream = uuid.uuid4()
    append(stream, *({"n": n} for n in range(150)))
    append(stream, {"n": 151})
    integrate()
    spans = Block.objects.filter(stream=stream).order_by("first_seq").values_list("first_seq", "last_seq")
    assert list(spans) == [(1, 64), (65, 128), (129, 150), (151, 151)]


def test_a_second_integrator_waits_for_the_first(
    committed: None, integrator: None, stack_environment: Mapping[str, str]
) -> None:
    env = {**os.environ, **stack_environment, "DATABASE_URL": stack_environment["DATABASE_INTEGRATOR_URL"]}
    argv = [sys.executable, "manage.py", "integrate", "--once"]
    ended = subprocess.run(argv, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, "another integrator is at work" in ended.stderr) == (1, True)


def test_the_applications_role_gives_no_places(committed: None) -> None:
    with pytest.raises(Exception, match="permission denied"), connection.cursor() as cursor:
        cursor.execute("UPDATE audit_run SET first_leaf = 0")
    connection.close()
    with pytest.raises(Exception, match="permission denied"), connection.cursor() as cursor:
        cursor.execute("UPDATE audit_head SET size = 0")
    connection.close()


@pytest.mark.parametrize("columns", ["first_leaf", "id"])
def test_nobody_appends_a_run_that_has_its_place(committed: None, stack: Stack, columns: str) -> None:
    for role in ("drawbridge_app", "drawbridge_integrator"):
        url = stack.postgres.url("drawbridge", role)
        with psycopg.connect(url, autocommit=True) as insider, pytest.raises(psycopg.errors.InsufficientPrivilege):
            insider.execute(
                f"INSERT INTO audit_run (stream, first_seq, last_seq, {columns}) VALUES (gen_random_uuid(), 1, 1, 7)"
            )


def test_an_endless_run_is_refused(committed: None, stack: Stack) -> None:
    url = stack.postgres.url("drawbridge", "drawbridge_app")
    with psycopg.connect(url, autocommit=True) as insider, pytest.raises(psycopg.errors.CheckViolation):
        insider.execute("INSERT INTO audit_run (stream, first_seq, last_seq) VALUES (gen_random_uuid(), 1, 9e17)")
