"""One event in full, its proof and its exact bytes: who may have them, and that the reading is logged."""

import pytest
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from audit import log
from audit.models import Event
from audit.note import VerifierKey
from audit.proof import Proof
from tests.audit.timeline.streams import event, integrate
from tests.factories import events_of, world
from tests.sessions.views.conftest import BACKEND

ROUTES = ("event", "event-proof", "event-leaf")


def address(name, agent_session, seq=1):
    return reverse(name, args=[agent_session.id, seq])


def body(agent_session, seq=1):
    return bytes(Event.objects.get(stream=agent_session.id, seq=seq).body)


@pytest.mark.parametrize("route", ROUTES)
def test_stranger_learns_nothing_of_an_event(world, browse, route):
    agent_session = world.approved()
    assert browse(world.stranger).get(address(route, agent_session)).status_code == 404


@pytest.mark.parametrize("route", ROUTES)
def test_event_that_is_not_there_is_not_found(world, browse, route):
    assert browse(world.lead).get(address(route, world.approved(), 99)).status_code == 404


@pytest.mark.parametrize("route", ROUTES)
def test_events_are_only_read(world, browse, route):
    assert browse(world.lead).post(address(route, world.approved())).status_code == 405


def test_page_shows_the_whole_event(world, browse):
    html = browse(world.auditor).get(address("event", world.approved())).content.decode()
    assert "<h1>Event 1</h1>" in html
    assert "session.requested" in html
    assert "Find late shipments" in html


def test_row_opens_to_a_fragment(world, browse):
    html = browse(world.lead).get(address("event", world.approved()), headers={"HX-Request": "true"}).content.decode()
    assert html.startswith('<div class="whole">')
    assert "<html" not in html


def test_event_that_no_checkpoint_covers_is_pending_and_asked_for_again(world, browse):
    agent_session = world.approved()
    html = browse(world.lead).get(address("event", agent_session)).content.decode()
    assert f'hx-get="{address("event", agent_session)}?proof=1" hx-trigger="load delay:2s"' in html
    assert "pending" in html
    assert "data-proof=" not in html


def test_proof_that_is_not_there_yet_is_a_conflict(world, browse):
    answer = browse(world.lead).get(address("event-proof", world.approved()))
    assert (answer.status_code, answer.content) == (
        409,
        b"No checkpoint covers this event yet. Try again in a few seconds.",
    )


def test_leaf_is_byte_for_byte_what_the_log_has(world, browse):
    agent_session = world.approved()
    answer = browse(world.lead).get(address("event-leaf", agent_session))
    assert answer.content == body(agent_session)
    assert answer["Content-Disposition"] == f'attachment; filename="{agent_session.id}-1.json"'


def test_proof_verifies_offline(committed, client, stack_environment):
    one = world()
    agent_session = one.approved()
    integrate(stack_environment)
    client.force_login(one.auditor, BACKEND)
    answer = client.get(address("event-proof", agent_session, 2))
    assert answer["Content-Disposition"] == f'attachment; filename="{agent_session.id}-2.tlog-proof"'
    keys = [VerifierKey.parse(key) for key in settings.LOG_VERIFIER_KEYS]
    Proof.parse(answer.content).verify(body(agent_session, 2), settings.LOG_ORIGIN, keys)


@pytest.mark.parametrize(
    ("route", "what"), [("event", "event"), ("event-proof", "proof"), ("event-leaf", "leaf")], ids=ROUTES
)
def test_reading_is_logged_once(world, browse, route, what):
    agent_session = world.approved()
    browse(world.auditor).get(address(route, agent_session))
    [noted] = [one for one in events_of(world.auditor.id) if one["kind"] == "log.read"]
    assert noted["data"] == {"what": what, "session": str(agent_session.id), "seq": 1}


def test_asking_again_for_the_proof_is_not_another_reading(world, browse):
    agent_session = world.approved()
    client = browse(world.auditor)
    client.get(address("event", agent_session) + "?proof=1", headers={"HX-Request": "true"})
    assert [one for one in events_of(world.auditor.id) if one["kind"] == "log.read"] == []


def test_event_is_shown_where_its_proof_cannot_be_had(world, browse, settings, tmp_path):
    settings.LOG_STORE = str(tmp_path / "nowhere")
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "checkpoint").write_text("nonsense")
    agent_session = world.approved()
    html = browse(world.lead).get(address("event", agent_session)).content.decode()
    assert "The log&#x27;s files do not give a proof now" in html
    assert browse(world.lead).get(address("event-proof", agent_session)).status_code == 503


def test_markup_in_an_event_stays_text(world, browse):
    agent_session = world.approved()
    with transaction.atomic():
        log.append(event(agent_session.id, data={"host": "<b>h</b>", "path": "</pre><script>x</script>"}))
    html = browse(world.lead).get(address("event", agent_session, 3)).content.decode()
    assert "<script>x" not in html
    assert "&lt;b&gt;h&lt;/b&gt;" in html
