"""Agents and their keys."""

from django.urls import reverse

from sessions import lifecycle, tokens
from sessions.models import Agent, AgentKey


def register(client, world, **changes):
    asked = {"name": "new-bot", "framework": "cursor", "team": world.team.slug, **changes}
    return client.post("/agents/register", asked)


def test_list_shows_the_agents_of_my_teams(world, browse):
    assert "shipping-bot" in browse(world.auditor).get("/agents/").content.decode()


def test_register_makes_an_agent_of_mine(world, browse):
    answer = register(browse(world.requester), world)
    made = Agent.objects.get(name="new-bot", team=world.team)
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("agent", args=[made.id]))
    assert (made.owner, made.framework) == (world.requester, "cursor")


def test_register_of_a_taken_name_keeps_what_was_typed(world, browse):
    answer = register(browse(world.requester), world, name="shipping-bot")
    html = answer.content.decode()
    assert answer.status_code == 422
    assert "The team has an agent named &#x27;shipping-bot&#x27; already." in html
    assert 'value="shipping-bot"' in html


def test_register_with_nonsense_says_what_is_wrong(world, browse):
    answer = register(browse(world.requester), world, framework="abacus")
    assert answer.status_code == 422
    assert "abacus is not one of the available choices" in answer.content.decode()


def test_register_in_a_team_where_i_may_not(world, browse):
    answer = register(browse(world.auditor), world)
    assert (answer.status_code, Agent.objects.filter(name="new-bot", team=world.team).exists()) == (422, False)
    assert "Only a requester, a lead or an admin" in answer.content.decode()


def test_new_key_is_shown_once(world, browse):
    client = browse(world.requester)
    answer = client.post(reverse("agent-key-issue", args=[world.agent.id]))
    key = answer.context["new_key"]
    assert tokens.well_formed(key, tokens.AGENT_KEY)
    assert key in answer.content.decode()
    assert answer.headers["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert AgentKey.objects.get(digest=tokens.digest(key)).agent == world.agent
    assert key not in client.get(reverse("agent", args=[world.agent.id])).content.decode()


def test_key_is_revoked(world, browse):
    key = world.agent.keys.get()
    answer = browse(world.security).post(reverse("agent-key-revoke", args=[world.agent.id, key.id]), follow=True)
    key.refresh_from_db()
    assert key.revoked_by == world.security
    assert "Revoked" in answer.content.decode()


def test_key_revoked_twice_is_a_conflict(world, browse):
    key = world.agent.keys.get()
    lifecycle.revoke_agent_key(key.id, world.requester)
    answer = browse(world.lead).post(reverse("agent-key-revoke", args=[world.agent.id, key.id]))
    assert answer.status_code == 409
    assert "The key is revoked now" in answer.content.decode()


def test_key_of_another_agent_is_not_found_here(world, browse):
    other = lifecycle.register_agent(world.team, world.lead, "other", "codex")
    path = reverse("agent-key-revoke", args=[other.id, world.agent.keys.get().id])
    assert browse(world.lead).post(path).status_code == 404


def test_live_session_of_an_agent_has_its_switch(world, browse):
    agent_session = world.approved()
    html = browse(world.lead).get(reverse("agent", args=[world.agent.id])).content.decode()
    assert f'id="kill-{agent_session.id}"' in html
