"""The kill switch, and what the panel says afterwards."""

from datetime import timedelta

import pytest
from django.urls import reverse

from audit.event import now
from sessions import lifecycle
from sessions.models import Revocation, RevocationStep
from sessions.views.session import render_panel
from tests.factories import issue, kinds_of


@pytest.fixture
def started(monkeypatch):
    """The revocations that the page began; nothing is revoked here."""
    ids = []

    def start(revocation_ids):
        ids.extend(revocation_ids)
        return []

    monkeypatch.setattr("sessions.revoking.start", start)
    return ids


def path(agent_session):
    return reverse("session-kill", args=[agent_session.id])


def htmx(target):
    return {"HX-Request": "true", "HX-Target": target}


def step(revocation, name, kind="proof", done=True, attempt=1, **evidence):
    return RevocationStep.objects.create(
        revocation=revocation,
        attempt=attempt,
        name=name,
        kind=kind,
        label=f"Label of {name}",
        done=done,
        evidence=evidence,
        at=now(),
        elapsed_us=4_200,
    )


def killed(world):
    credential = issue(world.approved())
    lifecycle.kill(credential.agent_session_id, world.lead)
    return credential, credential.revocation


@pytest.mark.parametrize("role", ["lead", "security", "admin", "requester"])
def test_one_click_kills_and_begins_to_revoke(world, browse, started, role):
    credential = issue(world.approved())
    agent_session = credential.agent_session
    answer = browse(getattr(world, role)).post(path(agent_session))
    agent_session.refresh_from_db()
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("session", args=[agent_session.id]))
    assert (agent_session.state, agent_session.end_reason) == ("ended", "killed")
    assert started == [Revocation.objects.get(credential=credential).pk]
    assert kinds_of(agent_session.id)[-1] == "session.killed"


def test_kill_from_the_panel_answers_with_the_panel(world, browse, started):
    agent_session = issue(world.approved()).agent_session
    html = browse(world.lead).post(path(agent_session), headers=htmx("panel")).content.decode()
    assert html.lstrip().startswith('<section id="panel"')
    assert "1 of 1 credential not proven dead yet." in html
    assert 'id="kill"' not in html


def test_kill_from_a_list_answers_with_the_row(world, browse, started):
    agent_session = issue(world.approved()).agent_session
    answer = browse(world.lead).post(path(agent_session), headers=htmx(f"session-{agent_session.id}"))
    html = answer.content.decode()
    assert html.lstrip().startswith(f'<tr id="session-{agent_session.id}"')
    assert "1 of 1 not proven dead yet" in html


def test_second_kill_is_told_and_the_first_is_pushed_on(world, browse, started):
    credential, revocation = killed(world)
    answer = browse(world.security).post(path(credential.agent_session), headers=htmx("panel"))
    assert answer.status_code == 409
    assert "The session is ended now" in answer.content.decode()
    assert started == [revocation.pk]


def test_kill_by_an_auditor_is_refused(world, browse, started):
    agent_session = issue(world.approved()).agent_session
    answer = browse(world.auditor).post(path(agent_session), headers=htmx("panel"))
    agent_session.refresh_from_db()
    assert (answer.status_code, agent_session.state, started) == (403, "active", [])


def test_kill_before_anything_was_minted_leaves_nothing_alive(world, browse, started):
    agent_session = world.request().agent_session
    assert browse(world.lead).post(path(agent_session)).status_code == 409
    assert "Kill" not in render_panel(agent_session.id, world.lead)


def test_panel_counts_milliseconds_from_the_request(world):
    credential, revocation = killed(world)
    lifecycle.record_revoked(revocation.id, {})
    lifecycle.record_proven(revocation.id, {})
    at = revocation.requested_at
    Revocation.objects.update(revoked_at=at + timedelta(milliseconds=42), proven_at=at + timedelta(milliseconds=1_260))
    html = render_panel(credential.agent_session_id, world.lead)
    assert "<b>Revoked</b> <span>+42 ms</span>" in html
    assert "<b>Proven dead</b> <span>+1.26 s</span>" in html
    assert "Dead, and proven 1.26 s after the kill." in html


def test_revoked_is_not_called_proven(world):
    credential, revocation = killed(world)
    lifecycle.record_revoked(revocation.id, {})
    html = render_panel(credential.agent_session_id, world.lead)
    assert "<b>Revoked</b>" in html
    assert "<b>Not proven yet</b>" in html
    assert "1 of 1 credential not proven dead yet." in html


def test_expired_unrevoked_is_called_neither(world):
    credential, revocation = killed(world)
    lifecycle.record_expired_unrevoked(revocation.id, {})
    html = render_panel(credential.agent_session_id, world.lead)
    assert "<b>Expired, not revoked</b>" in html
    assert "1 of 1 expired before it could be revoked." in html
    assert "<b>Revoked</b>" not in html
    assert "<b>Proven dead</b>" not in html


def test_panel_shows_the_newest_try_of_each_step_with_its_evidence(world):
    credential, revocation = killed(world)
    step(revocation, "login", done=False, problem="The database does not answer")
    step(revocation, "login", attempt=2, sqlstate="28000", open_sessions=0)
    html = render_panel(credential.agent_session_id, world.lead)
    assert html.count("Label of login") == 1
    assert "4.2 ms" in html
    assert "open sessions: <bdi>0</bdi>" in html
    assert "The database does not answer" not in html


def test_panel_says_what_is_not_dead_and_that_we_go_on(world):
    credential, revocation = killed(world)
    step(revocation, "lease", kind="revoke", done=False, problem="OpenBao does not answer")
    later = revocation.requested_at + timedelta(seconds=4)
    Revocation.objects.filter(pk=revocation.pk).update(attempts=3, next_attempt_at=later)
    html = render_panel(credential.agent_session_id, world.lead)
    assert "Not done yet: Label of lease. 3 tries so far, the next " in html
    assert "Last problem: <bdi>OpenBao does not answer</bdi>" in html
    assert "We keep trying until it is dead" in html


def test_page_of_a_dying_session_reloads_without_javascript(world, browse):
    credential, _ = killed(world)
    html = browse(world.lead).get(reverse("session", args=[credential.agent_session_id])).content.decode()
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
