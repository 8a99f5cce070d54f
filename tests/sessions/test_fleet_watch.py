"""What those who watch the fleet get: first everything, then only what changed, each by their own rights."""

import pytest
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from sessions import lifecycle
from sessions.audience import Gone, SignIn, digest
from sessions.fleet_watch import Looker, Watcher
from sessions.models import AgentSession, Membership, Person
from sessions.views.fleet import Wanted
from tests import factories
from tests.actors import signed_in
from tests.factories import issue
from tests.sessions.views import test_fleet


@pytest.fixture
def world(committed: None) -> factories.World:
    return factories.world()


def watcher(person: Person, **query: str) -> Watcher:
    person.refresh_from_db()
    return Watcher(SignIn(signed_in(person), str(person.id), digest(person.password)), Wanted.from_query(query))


def report(agent_session: AgentSession, **data: str) -> None:
    with transaction.atomic():
        test_fleet.report(agent_session, **data)


def look(looker: Looker, *watchers: Watcher) -> list[str]:
    """What each gets of one look."""
    pictures, _ = looker.look([(one.sign_in, one.wanted) for one in watchers])
    for one, picture in zip(watchers, pictures, strict=True):
        one.asked, one.picture = True, picture
    return [one.news().decode() for one in watchers]


def test_first_look_brings_the_order_and_every_lane(world: factories.World) -> None:
    first, second = world.approved(), world.approved()
    [news] = look(Looker(), watcher(world.lead, order="started"))
    assert news.count("event: fragment") == 3
    assert news.index(f'data-order="{first.id} {second.id}"') < news.index(f'id="lane-{first.id}"')


def test_then_only_what_changed_comes(world: factories.World) -> None:
    quiet, busy = world.approved(), issue(world.approved()).agent_session
    looker, viewer = Looker(), watcher(world.lead)
    look(looker, viewer)
    assert look(looker, viewer) == [""]
    report(busy, statement="SELECT 7")
    [news] = look(looker, viewer)
    assert (news.count('id="lane-'), str(quiet.id) in news.partition("</div>")[2], "SELECT 7" in news) == (
        1,
        False,
        True,
    )


def test_new_session_comes_with_its_place_and_a_past_one_leaves_the_order(world: factories.World) -> None:
    looker, viewer = Looker(), watcher(world.lead)
    look(looker, viewer)
    agent_session = issue(world.approved()).agent_session
    [came] = look(looker, viewer)
    assert f'data-order="{agent_session.id}"' in came
    assert f'id="lane-{agent_session.id}"' in came
    lifecycle.complete(agent_session.id, f"agent:{world.agent.id}")
    [left] = look(looker, viewer)
    assert 'data-order=""' in left
    assert "No agent is at work" in left


def test_switch_comes_only_to_those_who_may_kill_and_without_a_token(world: factories.World) -> None:
    world.approved()
    for_lead, for_auditor, for_stranger = look(
        Looker(), watcher(world.lead), watcher(world.auditor), watcher(world.stranger)
    )
    assert 'class="kill"' in for_lead
    assert 'name="csrfmiddlewaretoken" value=""' in for_lead
    assert 'class="kill"' not in for_auditor
    assert 'id="lane-' not in for_stranger


def test_those_with_the_same_rights_share_a_picture(world: factories.World) -> None:
    world.approved()
    asked = [watcher(one) for one in (world.lead, world.second_lead, world.requester)]
    lead, second, requester = Looker().look([(one.sign_in, one.wanted) for one in asked])[0]
    assert lead is second
    assert requester is not lead


@pytest.mark.parametrize("leave", ["role", "sign-out", "deactivated"])
def test_who_may_not_see_it_any_more_gets_nothing_that_comes_after(world: factories.World, leave: str) -> None:
    looker, viewer = Looker(), watcher(world.auditor)
    look(looker, viewer)
    if leave == "role":
        lifecycle.end_role(Membership.objects.get(person=world.auditor, ended_at=None).id, world.admin)
    elif leave == "sign-out":
        Session.objects.filter(pk=viewer.sign_in.session_key).delete()
    else:
        Person.objects.filter(pk=world.auditor.pk).update(is_active=False)
    agent_session = world.approved()
    if leave == "role":
        assert str(agent_session.id) not in look(looker, viewer)[0]
    else:
        with pytest.raises(Gone):
            look(looker, viewer)


def test_number_of_queries_does_not_depend_on_how_many_watch(world: factories.World) -> None:
    report(issue(world.approved()).agent_session)
    counts = []
    for count in (1, 12):
        asked = [watcher(world.lead) for _ in range(count)]
        with CaptureQueriesContext(connection) as queries:
            look(Looker(), *asked)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_look_says_whether_more_may_be_on_its_way(world: factories.World) -> None:
    viewer = watcher(world.lead)
    wish = [(viewer.sign_in, viewer.wanted)]
    assert Looker().look(wish)[1] is False
    report(issue(world.approved()).agent_session)
    assert Looker().look(wish)[1] is True
