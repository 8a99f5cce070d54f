"""The page of all credentials that may be alive, and its switches."""

import uuid
from datetime import timedelta

import pytest
from django.urls import reverse

from audit.models import Event
from sessions import lifecycle
from sessions.models import AgentSession, Credential, KillOrder, Revocation, Role
from sessions.providers.contract import Minted
from tests import factories
from tests.factories import events_of, issue, minted

LIST, LOOKUP, EVERYTHING, CHOSEN = map(
    reverse, ("credential-list", "leak-lookup", "everything-kill", "credentials-kill")
)
TOKEN = "ghs_abcDEF0123456789"


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """The revocations that the page began; nothing is revoked here."""
    ids = []
    monkeypatch.setattr("sessions.revoking.start", lambda revocation_ids: ids.extend(revocation_ids) or [])
    return ids


@pytest.fixture
def credential(world):
    return issue(world.approved())


def text(answer):
    return " ".join(answer.content.decode().split())


def states(world):
    return sorted(AgentSession.objects.filter(team=world.team).values_list("end_reason", flat=True))


def joint(world, other, role=Role.SECURITY):
    """Security of the one team is security of the other too."""
    lifecycle.grant_role(other.team, world.security, role, other.admin)


@pytest.mark.parametrize("role", ["lead", "security", "admin", "requester", "auditor"])
def test_it_shows_whose_how_old_and_how_it_dies(world, browse, credential, role):
    page = text(browse(getattr(world, role)).get(LIST))
    assert credential.slot in page
    assert '<td data-label="A kill ends it">at once</td>' in page
    assert ("Kill<span" in page) == (role != "auditor")


def test_strangers_see_nothing(world, browse, credential):
    client = browse(world.stranger)
    paths = (LIST, reverse("credential-standing"))
    assert [client.get(path).status_code for path in paths] == [404, 404]
    kill = reverse("credential-kill", args=[credential.pk])
    assert [client.post(path).status_code for path in (kill, CHOSEN, EVERYTHING, LOOKUP)] == [404] * 4
    assert states(world) == [""]


def test_other_teams_credentials_are_not_shown_nor_killed(world, browse, credential):
    other = factories.world()
    theirs = issue(other.approved())
    client = browse(world.security)
    assert str(theirs.pk) not in text(client.get(LIST))
    assert client.post(reverse("credential-kill", args=[theirs.pk])).status_code == 404
    assert Credential.objects.get(pk=theirs.pk).state == "issued"


@pytest.mark.parametrize("role", ["lead", "security", "admin", "requester"])
def test_one_credential_is_killed_and_its_session_goes_on(world, browse, credential, started, role):
    answer = browse(getattr(world, role)).post(reverse("credential-kill", args=[credential.pk]))
    assert (answer.status_code, answer.headers["Location"]) == (302, LIST)
    revocation = Revocation.objects.get(credential=credential)
    assert (revocation.reason, list(started)) == ("killed", [revocation.pk])
    assert states(world) == [""]
    last = events_of(credential.agent_session_id)[-1]
    assert (last["kind"], last["act"]) == (
        "credential.revocation_requested",
        {"sub": getattr(world, role).reference},
    )


def test_an_auditor_kills_none(world, browse, credential):
    answer = browse(world.auditor).post(reverse("credential-kill", args=[credential.pk]))
    assert answer.status_code == 403
    assert Credential.objects.get(pk=credential.pk).state == "issued"


def test_a_second_click_says_that_it_is_done(world, browse, credential):
    path = reverse("credential-kill", args=[credential.pk])
    browse(world.lead).post(path)
    assert browse(world.lead).post(path).status_code == 409


@pytest.mark.parametrize("what", ["provider", "agent", "profile", "session", "team"])
def test_those_chosen_are_killed_with_their_sessions(world, browse, credential, what):
    other = issue(world.approved()).agent_session
    run = credential.agent_session
    values = {
        "provider": "openbao",
        "agent": run.agent_id,
        "profile": run.profile_version.profile_id,
        "session": run.pk,
        "team": run.team_id,
    }
    answer = browse(world.security).post(f"{CHOSEN}?{what}={values[what]}")
    assert answer.headers["Location"] == f"{LIST}?{what}={values[what]}"
    assert states(world) == (["", "killed"] if what == "session" else ["killed", "killed"])
    assert AgentSession.objects.get(pk=other.pk).killed_at is None or what != "session"


def test_what_no_session_holds_kills_none(world, browse, credential):
    browse(world.security).post(f"{CHOSEN}?provider=github")
    browse(world.security).post(f"{CHOSEN}?agent={uuid.uuid4()}")
    assert states(world) == [""]


def test_without_a_filter_it_is_an_order(world, browse, credential):
    browse(world.security).post(CHOSEN)
    assert (states(world), KillOrder.objects.count()) == ([""], 1)


def test_everything_needs_a_second_person(world, browse, credential):
    assert browse(world.security).post(EVERYTHING).status_code == 302
    order = KillOrder.objects.get()
    assert states(world) == [""]
    path = reverse("everything-confirm", args=[order.pk])
    alone = browse(world.security).post(path)
    assert alone.status_code == 403
    assert "somebody else has to confirm it" in text(alone)
    page = text(browse(world.lead).get(LIST))
    assert "Confirm: kill everything" in page
    assert browse(world.lead).post(path).status_code == 302
    assert states(world) == ["killed"]
    assert browse(world.lead).post(path).status_code == 409
    kinds = Event.objects.filter(kind__startswith="fleet.kill").order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == ["fleet.kill_ordered", "fleet.kill_confirmed"]


@pytest.mark.parametrize("role", ["requester", "auditor"])
def test_everything_is_not_ordered_by_others(world, browse, credential, role):
    assert browse(getattr(world, role)).post(EVERYTHING).status_code == 403
    assert KillOrder.objects.count() == 0


def test_an_order_lapses(world, browse, credential, monkeypatch):
    monkeypatch.setattr("sessions.lifecycle.orders.CONFIRM_WITHIN", timedelta(seconds=-1))
    order = lifecycle.order_kill(world.security)
    assert "Confirm: kill everything" not in text(browse(world.lead).get(LIST))
    assert browse(world.lead).post(reverse("everything-confirm", args=[order.pk])).status_code == 409
    assert states(world) == [""]


def test_only_what_both_may_kill_is_killed(world, browse, credential):
    other = factories.world()
    issue(other.approved())
    joint(world, other)
    order = lifecycle.order_kill(world.security)
    browse(world.lead).post(reverse("everything-confirm", args=[order.pk]))
    assert (states(world), states(other)) == (["killed"], [""])


def test_broken_glass_asks_nobody(world, browse, credential, settings):
    settings.KILL_EVERYTHING_ALONE = True
    browse(world.security).post(EVERYTHING)
    assert (states(world), KillOrder.objects.count()) == (["killed"], 0)


def test_the_whole_fleet_of_several_teams_is_everything(world, browse, credential, settings):
    other = factories.world()
    issue(other.approved())
    joint(world, other)
    answer = browse(world.security).post(reverse("fleet-kill"))
    assert (answer.headers["Location"], KillOrder.objects.count()) == (LIST, 1)
    assert states(world) + states(other) == ["", ""]
    browse(world.security).post(f"{reverse('fleet-kill')}?team={world.team.pk}")
    assert states(world) + states(other) == ["killed", ""]
    settings.KILL_EVERYTHING_ALONE = True
    browse(world.security).post(reverse("fleet-kill"))
    assert states(world) + states(other) == ["killed", "killed"]


def test_progress_is_asked_for_while_something_is_dying(world, browse, credential):
    client = browse(world.security)
    path = reverse("credential-standing")
    assert "hx-get" not in text(client.get(path))
    lifecycle.kill(credential.agent_session_id, world.lead)
    said = text(client.get(path))
    assert "hx-get" in said
    assert "1 killed in the last 15 minutes: 0 dead, 1 not yet" in said
    lifecycle.record_revoked(credential.revocation.pk, {})
    lifecycle.record_proven(credential.revocation.pk, {})
    said = text(client.get(path))
    assert "hx-get" not in said
    assert "1 killed in the last 15 minutes: 1 dead." in said


def test_a_leaked_string_is_looked_up_and_shown_nowhere(world, browse):
    credential = world.approved().credentials.get()
    made = minted()
    lifecycle.record_issued(credential.id, Minted({"token": TOKEN}, made.handle, made.expires_at))
    lifecycle.activate(credential.agent_session_id)
    answer = browse(world.security).post(LOOKUP, {"text": f"token={TOKEN}"})
    page = text(answer)
    assert answer.status_code == 200
    assert credential.name in page
    assert "Kill its session" in page
    assert TOKEN not in page
    bodies = b"".join(bytes(body) for body in Event.objects.values_list("body", flat=True))
    assert TOKEN.encode() not in bodies
    [read] = [one for one in events_of(world.security.pk) if one["data"].get("what") == "leak"]
    assert read["data"]["found"] == [str(credential.pk)]


def test_what_is_not_known_is_said(world, browse, credential):
    page = text(browse(world.lead).post(LOOKUP, {"text": "nothing-of-ours-at-all"}))
    assert "Nothing of it is a secret that Drawbridge made" in page


@pytest.mark.parametrize("given", ["", "short", "x" * 20_001])
def test_what_cannot_be_looked_up_is_said_and_not_repeated(world, browse, given):
    answer = browse(world.lead).post(LOOKUP, {"text": given})
    assert answer.status_code == 422
    assert given not in text(answer) or len(given) < 6


def test_auditors_look_up_nothing(world, browse):
    assert browse(world.auditor).post(LOOKUP, {"text": TOKEN}).status_code == 403


def test_nonsense_in_the_address_is_ignored(world, browse, credential):
    answer = browse(world.lead).get(f"{LIST}?provider=%00&agent=x&team=1&session=%27&before=0")
    assert answer.status_code == 200
    assert credential.slot in text(answer)


def test_pages_follow_each_other(world, browse, monkeypatch):
    monkeypatch.setattr("sessions.views.credentials.PAGE", 2)
    made = [issue(world.approved()) for _ in range(3)]
    client = browse(world.lead)
    first = text(client.get(LIST))
    assert [str(one.pk) in first for one in made] == [False, True, True]
    assert str(made[0].pk) in text(client.get(f"{LIST}?before={made[1].pk}"))
