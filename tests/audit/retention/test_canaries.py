"""After an erasure no canary is in any table, tile or search block, and proofs made before and after verify."""

from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from audit import log, sequencing
from audit.event import NewEvent
from audit.models import Event
from audit.proofs import Prover
from sessions import lifecycle
from sessions.models import AgentSession, Person
from stack import Stack
from tests import factories
from tests.audit.retention.conftest import KEY, ORIGIN, Aged
from tests.canaries import Canaries

PURPOSE, NAME, PROMPT = "Purpose-canary-81b0", "Name-canary-81b0", "Prompt-canary-81b0"


@pytest.fixture
def alone(empty: Aged) -> Aged:
    """A database and a log of its own, to be searched as a whole."""
    empty.act_as("app")
    empty.world = factories.world()
    return empty


def dump(alone: Aged, stack: Stack) -> bytes:
    """Every row of every table, as text; bytea both as hexadecimal digits and as what they stand for."""
    with stack.postgres.connect(alone.database) as superuser:
        tables = superuser.execute(
            "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
        rows = [row for (table,) in tables for row in superuser.execute(f"SELECT t FROM {table} AS t").fetchall()]  # noqa: S608
        sealed = superuser.execute("SELECT body FROM audit_event UNION ALL SELECT body FROM agent_sessions_grant")
        return "\n".join(str(row) for row in rows).encode() + b"\n".join(bytes(body) for (body,) in sealed.fetchall())


def test_no_canary_is_left_anywhere_and_every_proof_verifies(alone: Aged, stack: Stack) -> None:
    world, canaries = alone.world, Canaries()
    Person.objects.filter(pk=world.requester.pk).update(name=NAME)
    canaries.add("purpose", PURPOSE)
    canaries.add("name", NAME)
    canaries.add("reason", "Reason-canary-81b0")
    canaries.add("prompt", PROMPT)
    canaries.add("address", world.requester.email)
    world = factories.World(**{**vars(world), "requester": Person.objects.get(pk=world.requester.pk)})
    world.agent.owner.refresh_from_db()
    requested = world.request(PURPOSE).agent_session
    agent_session = lifecycle.deny(requested.id, world.lead, requested.grant_hash, "Reason-canary-81b0")
    prompt = {"prompt": PROMPT, "command": "psql", "user.email": world.requester.email}
    with transaction.atomic():
        reference = f"agent:{world.agent.pk}"
        said = NewEvent("agent.prompt", agent_session.id, world.requester.reference, reference, prompt, reference)
        log.append_batch(agent_session.id, [said])
    alone.grow()
    leaves = [sequencing.leaf_of(agent_session.id, seq) for seq in (1, 2, 3)]
    entries = [bytes(body) for body in rows_of(agent_session)]
    before = [Prover().proof(leaf) for leaf in leaves]
    alone.act_as("app")
    assert canaries.found_in({"database": dump(alone, stack)})  # the search finds what is there
    assert not canaries.found_in(files(alone.folder))
    lifecycle.erase_person(world.requester, world.admin, "They asked for it")
    alone.grow()
    assert canaries.found_in({"database": dump(alone, stack), **files(alone.folder)}) == []
    assert [bytes(body) for body in rows_of(agent_session)] == entries
    for proof, entry in zip([*before, *(Prover().proof(leaf) for leaf in leaves)], entries * 2, strict=True):
        assert proof is not None
        proof.verify(entry, ORIGIN, [KEY.verifier])
    assert alone.verified().entries == alone.verified().opened.checkpoint.size


def rows_of(agent_session: AgentSession) -> Any:
    return Event.objects.filter(stream=agent_session.id).order_by("seq").values_list("body", flat=True)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
