"""People of a team and their roles."""

from django.test import Client
from django.urls import reverse

from sessions import lifecycle
from sessions.models import Person, Role
from tests.factories import events_of, roles_of


def path(name, world, *more):
    return reverse(name, args=[world.team.slug, *more])


def add(client, world, **changes):
    asked = {"email": "nora@example.test", "name": "Nora", "role": "lead", **changes}
    return client.post(path("people-add", world), asked)


def test_page_shows_everybody_with_their_roles(world, browse):
    html = browse(world.auditor).get(path("people", world)).content.decode()
    assert world.security.email in html
    assert "Add somebody" not in html


def test_new_person_gets_a_password_that_is_shown_once(world, browse):
    client = browse(world.admin)
    answer = add(client, world)
    added = answer.context["added"]
    assert added.password in answer.content.decode()
    assert roles_of(added.person) == {"lead"}
    assert answer.headers["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert added.password not in client.get(path("people", world)).content.decode()


def test_new_person_can_sign_in_with_it(world, browse):
    added = add(browse(world.admin), world).context["added"]
    client = Client()
    client.post(reverse("account_login"), {"login": "NORA@example.test", "password": added.password})
    assert client.get("/").status_code == 200


def test_event_of_a_new_person_names_nothing_personal(world, browse):
    added = add(browse(world.admin), world).context["added"]
    event = events_of(world.team.id)[-1]
    assert event["kind"] == "person.added"
    assert event["data"] == {"team": world.team.slug, "person": str(added.person.id), "role": "lead"}


def test_person_with_an_account_gets_the_role(world, browse):
    answer = add(browse(world.admin), world, email=world.stranger.email, name="")
    assert answer.status_code == 302
    assert roles_of(world.stranger) == {"lead"}


def test_new_person_without_a_name_is_asked_for_it(world, browse):
    answer = add(browse(world.admin), world, name="")
    assert (answer.status_code, Person.objects.filter(email="nora@example.test").exists()) == (422, False)
    assert "say what the person&#x27;s name is" in answer.content.decode()
    assert 'value="nora@example.test"' in answer.content.decode()


def test_nonsense_is_said_so_and_kept(world, browse):
    answer = add(browse(world.admin), world, email="nora at home")
    assert answer.status_code == 422
    assert 'value="nora at home"' in answer.content.decode()


def test_role_is_granted(world, browse):
    asked = {"person": world.lead.pk, "role": "security"}
    assert browse(world.admin).post(path("people-grant", world), asked).status_code == 302
    assert roles_of(world.lead) == {"lead", "security"}


def test_role_that_is_held_already_is_refused(world, browse):
    answer = browse(world.admin).post(path("people-grant", world), {"person": world.lead.pk, "role": "lead"})
    assert answer.status_code == 422
    assert "has the role lead already" in answer.content.decode()


def test_role_for_somebody_outside_the_team_is_not_found(world, browse):
    asked = {"person": world.stranger.pk, "role": "lead"}
    assert browse(world.admin).post(path("people-grant", world), asked).status_code == 404


def test_role_is_ended(world, browse):
    browse(world.admin).post(path("people-end", world, world.lead.memberships.get().pk))
    assert roles_of(world.lead) == set()


def test_role_ended_twice_is_a_conflict(world, browse):
    membership = world.lead.memberships.get().pk
    lifecycle.end_role(membership, world.admin)
    assert browse(world.admin).post(path("people-end", world, membership)).status_code == 409


def test_last_admin_stays(world, browse):
    answer = browse(world.admin).post(path("people-end", world, world.admin.memberships.get().pk))
    assert answer.status_code == 422
    assert "A team needs an admin" in answer.content.decode()


def test_role_of_another_team_is_not_found_here(world, browse):
    other = lifecycle.create_team("other-team-x", "Other", world.stranger)
    membership = lifecycle.grant_role(other, world.lead, Role.LEAD, world.stranger)
    assert browse(world.admin).post(path("people-end", world, membership.pk)).status_code == 404


def erase(client, world, **changes):
    asked = {"person": world.lead.pk, "confirm": world.lead.email, "reason": "They left", **changes}
    return client.post(path("people-erase", world), asked)


def test_person_is_erased_when_their_address_is_typed(world, browse):
    client = browse(world.admin)
    assert erase(client, world, confirm=f" {world.lead.email.upper()} ").status_code == 302
    assert Person.objects.get(pk=world.lead.pk).erased_at is not None
    assert world.lead.email not in client.get(path("people", world)).content.decode()


def test_wrong_address_erases_nobody(world, browse):
    answer = erase(browse(world.admin), world, confirm=world.security.email)
    assert (answer.status_code, Person.objects.get(pk=world.lead.pk).erased_at) == (422, None)
    assert "not this person&#x27;s e-mail address: nobody was erased" in answer.content.decode()


def test_erasing_without_a_reason_is_refused(world, browse):
    assert erase(browse(world.admin), world, reason="").status_code == 422
    assert Person.objects.get(pk=world.lead.pk).erased_at is None


def test_only_admins_erase(world, browse):
    for role in (world.security, world.second_lead, world.auditor, world.requester):
        assert erase(browse(role), world).status_code == 403
    assert erase(browse(world.stranger), world).status_code == 404
    assert Person.objects.get(pk=world.lead.pk).erased_at is None


def test_somebody_outside_the_team_is_not_found_to_be_erased(world, browse):
    answer = erase(browse(world.admin), world, person=world.stranger.pk, confirm=world.stranger.email)
    assert answer.status_code == 404


def test_nobody_is_offered_to_erase_themselves(world, browse):
    html = browse(world.admin).get(path("people", world)).content.decode()
    assert html.count("Erase for good") == html.count("<tr data-item>") - 1
    answer = erase(browse(world.admin), world, person=world.admin.pk, confirm=world.admin.email)
    assert (answer.status_code, "Somebody else has to erase you" in answer.content.decode()) == (403, True)


def test_page_of_an_erased_person_s_session_still_opens(world, browse):
    requested = world.request().agent_session
    lifecycle.withdraw(requested.id, world.requester.reference)
    lifecycle.erase_person(world.requester, world.admin, "They left")
    answer = browse(world.auditor).get(reverse("session", args=[requested.id]))
    assert (answer.status_code, "Find late shipments" in answer.content.decode()) == (200, False)
