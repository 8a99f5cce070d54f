"""What an agent says of itself never looks like what Drawbridge did."""

import pytest
from django.db import transaction

from audit import log, timeline
from audit.event import NewEvent
from sessions import lifecycle, narration
from sessions.errors import Invalid
from sessions.models import Agent
from sessions.models.agents import Framework
from sessions.views.timeline import render_event
from tests.factories import World


@pytest.mark.parametrize("name", ["The revoker", "Drawbridge", "ISSUER", "sweep-2", "the_system", "\uff32evoker!"])
def test_agent_cannot_be_named_like_a_part_of_ours(world: World, name: str) -> None:
    with pytest.raises(Invalid, match="would look like a part of Drawbridge"):
        lifecycle.register_agent(world.team, world.requester, name, Framework.OTHER)


@pytest.mark.parametrize("name", ["sweeper", "filesystem-bot", "release-bot", "Issue triage"])
def test_agent_may_have_a_name_that_is_only_near_to_ours(world: World, name: str) -> None:
    assert lifecycle.register_agent(world.team, world.requester, name, Framework.OTHER).name == name


def test_agent_that_has_such_a_name_already_is_called_an_agent(world: World) -> None:
    Agent.objects.filter(pk=world.agent.pk).update(name="The revoker")
    told, _ = told_of(world, world.agent.reference)
    assert told.actor == "the agent “The revoker”"


def told_of(world: World, act: str) -> tuple[narration.Told, str]:
    stream = world.request().agent_session.id
    with transaction.atomic():
        log.append(NewEvent(kind="agent.proved_it", stream=stream, sub=world.requester.reference, act=act))
    entry = timeline.page(stream, timeline.Filters()).entries[0]
    return narration.tell(entry, narration.names_of([entry.act])), render_event(entry)


def test_what_an_agent_reports_is_marked_as_its_report(world: World) -> None:
    told, row = told_of(world, world.agent.reference)
    assert (told.actor, told.reported) == (world.agent.name, True)
    assert "as it reports" in row


def test_our_own_events_are_not_marked(world: World) -> None:
    agent_session = world.request().agent_session
    row = render_event(timeline.page(agent_session.id, timeline.Filters()).entries[0])
    assert "as it reports" not in row


def test_event_of_somebody_unknown_is_still_shown(world: World) -> None:
    told, _ = told_of(world, "agent:nobody")
    assert told.actor == "agent:nobody"
