"""Somebody holds what a kill needs, and does not let go. The kill goes ahead all the same."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections

from sessions import lifecycle
from sessions.models import AgentSession
from sessions.views.kill import insist
from tests import factories
from tests.waiting import eventually

PATIENCE_S = 9.0


@contextmanager
def held(sql: str, key: object, options: str = "") -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction that locked a row and then stopped, with the application's role."""
    database = settings.DATABASES["default"]
    with psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        dbname=database["NAME"],
        user=database["USER"],
        password=database["PASSWORD"],
        options=options,
    ) as holder:
        holder.execute(sql, [key])
        try:
            yield holder
        finally:
            holder.close()


def kill_in_thread(agent_session: AgentSession, by: object) -> float:
    """Kill as the page does; seconds that it took."""
    began = time.monotonic()

    def act() -> None:
        insist(lambda: lifecycle.kill(agent_session.id, by))  # type: ignore[arg-type]
        connections.close_all()

    thread = threading.Thread(target=act)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return time.monotonic() - began


def somebody_waits() -> bool:
    """Whether a connection waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        [count] = cursor.fetchone()
    return bool(count)


@pytest.mark.usefixtures("committed")
def test_kill_does_not_wait_for_the_log() -> None:
    world = factories.world()
    credential = factories.issue(world.approved())
    with held("SELECT 1 FROM audit_stream WHERE id = %s FOR UPDATE", credential.agent_session_id):
        assert kill_in_thread(credential.agent_session, world.security) < PATIENCE_S
        assert factories.kinds_of(credential.agent_session_id)[-1] == "session.active"


@pytest.mark.usefixtures("committed")
def test_kill_does_not_wait_for_one_who_waits_for_the_log() -> None:
    world = factories.world()
    credential = factories.issue(world.approved())

    def deliver() -> None:
        with pytest.raises(OperationalError, match="lock timeout"):
            lifecycle.deliver(credential.id)
        connections.close_all()

    with held("SELECT 1 FROM audit_stream WHERE id = %s FOR UPDATE", credential.agent_session_id):
        delivery = threading.Thread(target=deliver)
        delivery.start()
        eventually(somebody_waits)
        assert kill_in_thread(credential.agent_session, world.security) < PATIENCE_S
        delivery.join()


@pytest.mark.usefixtures("committed")
def test_kill_does_not_wait_for_a_process_that_was_stopped() -> None:
    """The options are those of every connection of the application: PostgreSQL ends it after five seconds."""
    world = factories.world()
    credential = factories.issue(world.approved())
    sql = "SELECT 1 FROM agent_sessions_agentsession WHERE id = %s FOR UPDATE"
    with held(sql, credential.agent_session_id, settings.DATABASES["default"]["OPTIONS"]["options"]):
        assert kill_in_thread(credential.agent_session, world.security) < PATIENCE_S
    assert AgentSession.objects.get(pk=credential.agent_session_id).end_reason == "killed"
