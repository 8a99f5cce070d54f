"""Every kind of event that lifecycle writes has a sentence of its own."""

import pytest

from audit.timeline import Filters, page
from sessions import lifecycle, narration
from tests.factories import issue


def told(stream):
    entries = page(stream, Filters()).entries
    names = narration.names_of(entry.act for entry in entries)
    return {entry.kind: narration.tell(entry, names) for entry in entries}


def test_life_of_a_session_is_told(world):
    credential = issue(world.approved())
    lifecycle.kill(credential.agent_session_id, world.lead)
    lifecycle.record_revoked(credential.revocation.id, {})
    sentences = {kind: f"{one.actor} {one.text}" for kind, one in told(credential.agent_session_id).items()}
    assert sentences == {
        "session.requested": "shipping-bot asked for a session of 1 hour",
        "session.approved": "Lead approved it for 1 hour",
        "credential.issued": "The issuer minted the credential for postgresql:warehouse",
        "session.active": "The issuer started the session: all credentials are there, the clock runs",
        "session.killed": "Lead killed the session",
        "credential.revoked": "The revoker revoked the credential for postgresql:warehouse",
    }


def test_reason_of_a_denial_is_quoted(world):
    agent_session = world.request().agent_session
    lifecycle.deny(agent_session.id, world.lead, agent_session.grant_hash, "Too broad")
    one = told(agent_session.id)["session.denied"]
    assert (one.text, one.quote) == ("denied it", "Too broad")


def test_suspending_and_resuming_are_told(world):
    agent_session = issue(world.approved()).agent_session
    lifecycle.suspend(agent_session.id, world.lead)
    lifecycle.resume(agent_session.id, world.lead)
    sentences = told(agent_session.id)
    assert sentences["session.suspended"].note == "1 credential to be revoked"
    assert sentences["session.resumed"].text == "resumed the session"


@pytest.mark.parametrize("reference", ["service:nobody", "nonsense"])
def test_actor_that_nobody_knows_is_named_as_the_event_names_it(world, reference):
    assert reference not in narration.names_of([reference])


def test_long_quote_is_cut(world):
    agent_session = world.request("x" * 500).agent_session
    assert told(agent_session.id)["session.requested"].quote == "x" * narration.LONGEST_QUOTE + "…"
