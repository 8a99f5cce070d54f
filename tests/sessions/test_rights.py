"""What the application's own database role may not do, whatever its code does."""

import pytest
from django.db import IntegrityError, connection, transaction

from audit import canonical
from sessions import issuing
from sessions.models import Credential
from tests.factories import World

KEPT = (
    "agent_sessions_agent",
    "agent_sessions_agentsession",
    "agent_sessions_credential",
    "agent_sessions_grant",
    "agent_sessions_person",
    "agent_sessions_profile",
    "agent_sessions_revocationstep",
    "agent_sessions_team",
    "audit_event",
    "audit_stream",
)
FROZEN = (
    ("agent_sessions_approval", "person_id"),
    ("agent_sessions_grant", "body"),
    ("agent_sessions_revocationstep", "evidence"),
    ("agent_sessions_transition", "act"),
    ("audit_event", "body"),
)
ALL_OF_PAYMENTS = [
    {
        "type": "postgresql",
        "locations": ["postgresql://warehouse/public.payments"],
        "actions": ["read"],
        "limits": {"connections": 4},
    }
]


@pytest.mark.parametrize("right", ["DELETE", "TRUNCATE", "TRIGGER"])
@pytest.mark.parametrize("table", KEPT)
@pytest.mark.django_db
def test_rows_are_never_deleted(table: str, right: str) -> None:
    assert not _asked("SELECT has_table_privilege(current_user, %s, %s)", table, right)


@pytest.mark.parametrize(("table", "column"), FROZEN)
@pytest.mark.django_db
def test_what_was_decided_is_never_changed(table: str, column: str) -> None:
    assert not _asked("SELECT has_column_privilege(current_user, %s, %s, 'UPDATE')", table, column)


def test_what_a_credential_may_open_never_changes(world: World) -> None:
    credential = world.approved().credentials.get()
    with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
        Credential.objects.filter(pk=credential.pk).update(details=canonical.dumps(ALL_OF_PAYMENTS))


def test_published_version_never_changes(world: World) -> None:
    with pytest.raises(IntegrityError, match="a profile version never changes"), transaction.atomic():
        world.profile.versions.update(body=b"{}")


def test_credential_that_was_not_approved_is_not_minted(world: World) -> None:
    """Written beside the approved one, as somebody with the application's rights could."""
    agent_session = world.approved()
    forged = agent_session.credentials.get()
    forged.pk, forged.generation, forged.details = None, 2, canonical.dumps(ALL_OF_PAYMENTS)
    forged.save(force_insert=True)
    issuing.run(forged.pk)
    agent_session.refresh_from_db()
    assert (agent_session.state, agent_session.end_reason) == ("ended", "failed")
    assert forged.handle == {}


def _asked(query: str, *values: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        [answer] = cursor.fetchone()
    return bool(answer)
