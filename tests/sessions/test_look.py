"""A look at a session for all who watch it: a constant number of queries, one rendering for each set of rights."""

from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit import timeline
from audit.timeline import Filters
from sessions import lifecycle, look
from sessions.audience import Gone, SignIn, digest, signed_in
from sessions.look import Look, authorise
from sessions.models import AgentSession, Membership, Person
from tests import actors, factories
from tests.e2e.watching import active_session, append

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def world() -> factories.World:
    return factories.world()


@pytest.fixture
def watched(world: factories.World) -> AgentSession:
    """Active, with six events in its stream."""
    agent_session = active_session(world)
    append(agent_session, ["tool.called", "db.statement"])
    return agent_session


def sign_in(person: Person) -> SignIn:
    return SignIn(actors.signed_in(person), str(person.id), digest(person.password))


def looked(watched: AgentSession, after: int, *people: Person) -> Look:
    return look.look(watched.id, Filters(), after, [sign_in(person) for person in people])


def test_a_look_returns_a_page_of_rows_and_then_the_fragments(world: factories.World, watched: AgentSession) -> None:
    first, then = looked(watched, 2, world.lead), looked(watched, 6, world.lead)
    assert ([seq for seq, _ in first.rows], first.position, first.more, first.fragments) == ([3, 4, 5, 6], 6, True, {})
    assert (then.rows, then.position, then.more) == ([], 6, False)
    panel, chart = then.fragments[then.rights[0]]  # type: ignore[index]
    assert b'id="chart"' in chart
    assert panel.startswith(b'event: fragment\ndata: <section id="panel"')


def test_a_row_that_does_not_match_moves_the_position_only(world: factories.World, watched: AgentSession) -> None:
    found = look.look(watched.id, Filters(frozenset({"db"})), 4, [])
    assert ([seq for seq, _ in found.rows], found.position, found.more) == ([6], 6, True)


def test_who_was_away_for_long_gets_page_by_page_and_the_panel_last(
    world: factories.World, watched: AgentSession
) -> None:
    append(watched, ["db.statement"] * 245)
    found = [looked(watched, 0, world.lead)]
    while found[-1].more:
        found.append(looked(watched, found[-1].position, world.lead))
    assert [seq for one in found for seq, _ in one.rows] == list(range(1, 252))
    assert [(len(one.rows), len(one.fragments)) for one in found] == [(100, 0), (100, 0), (51, 0), (0, 1)]


def test_rights_come_in_the_order_of_the_asked(world: factories.World, watched: AgentSession) -> None:
    people = [world.stranger, world.lead, world.auditor, world.stranger, world.lead, world.requester]
    nobody, lead, auditor, nobody_else, lead_again, requester = looked(watched, 6, *people).rights
    assert (nobody, nobody_else) == (None, None)
    assert lead == lead_again
    assert [bool(one and one.kill) for one in (lead, auditor, requester)] == [True, False, True]


def test_those_with_the_same_rights_share_one_rendering(world: factories.World, watched: AgentSession) -> None:
    found = looked(watched, 6, world.lead, world.second_lead, world.lead, world.auditor)
    assert len(found.fragments) == 2
    kill = [b'id="kill"' in found.fragments[may][0] for may in found.rights if may]
    assert kill == [True, True, True, False]


def test_a_rendering_carries_no_token_of_anybody(world: factories.World, watched: AgentSession) -> None:
    found = looked(watched, 6, world.lead)
    [(panel, _)] = found.fragments.values()
    assert b'name="csrfmiddlewaretoken" value=""' in panel


def test_a_look_for_many_asks_as_often_as_for_one(world: factories.World, watched: AgentSession) -> None:
    def queries(people: list[Person]) -> int:
        sign_ins = [sign_in(person) for person in people]
        with CaptureQueriesContext(connection) as captured:
            look.look(watched.id, Filters(), 6, sign_ins)
        return len(captured)

    assert queries([world.lead] * 200) == queries([world.lead])


def test_nobody_watching_is_no_error(watched: AgentSession) -> None:
    found = look.look(watched.id, Filters(), 6, [])
    assert (found.rights, found.fragments) == ([], {})


def end_roles(person: Person, by: Person) -> None:
    lifecycle.end_role(Membership.objects.get(person=person, ended_at=None).id, by)


def sign_out(one: SignIn) -> None:
    Session.objects.get(pk=one.session_key).delete()


def change_password(person: Person) -> None:
    person.set_password("another horse battery staple")
    person.save()


LOSSES: dict[str, Callable[[factories.World, SignIn], object]] = {
    "loses the role": lambda world, one: end_roles(world.auditor, world.admin),
    "signs out": lambda world, one: sign_out(one),
    "sign-in expires": lambda world, one: Session.objects.filter(pk=one.session_key).update(
        expire_date="2020-01-01T00:00Z"
    ),
    "is deactivated": lambda world, one: Person.objects.filter(pk=world.auditor.pk).update(is_active=False),
    "changes the password": lambda world, one: change_password(world.auditor),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_whoever_lost_the_right_is_not_among_those_who_may(
    world: factories.World, watched: AgentSession, lose: Callable[[factories.World, SignIn], object]
) -> None:
    loser, other = sign_in(world.auditor), sign_in(world.lead)
    authorise(watched.id, loser)
    lose(world, loser)
    found = look.look(watched.id, Filters(), 6, [loser, other])
    assert [may is not None for may in found.rights] == [False, True]
    with pytest.raises(Gone):
        authorise(watched.id, loser)


@pytest.mark.parametrize("lose", [LOSSES[name] for name in LOSSES if name != "loses the role"])
def test_a_sign_in_that_ended_is_gone(
    world: factories.World, lose: Callable[[factories.World, SignIn], object]
) -> None:
    loser = sign_in(world.auditor)
    assert signed_in(loser) == world.auditor
    lose(world, loser)
    with pytest.raises(Gone):
        signed_in(loser)


def test_a_session_that_is_not_there_is_gone(world: factories.World) -> None:
    with pytest.raises(Gone):
        authorise(world.team.id, sign_in(world.lead))


def test_a_snapshot_does_not_see_what_comes_after_it(watched: AgentSession) -> None:
    from tests.e2e.watching import in_thread

    with look.snapshot():
        before = timeline.last_seq(watched.id)
        in_thread(lambda: append(watched, ["db.statement"]))
        assert timeline.last_seq(watched.id) == before == 6
    assert timeline.last_seq(watched.id) == 7
