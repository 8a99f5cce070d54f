"""Evidence files from the form to the download: made by a worker's code, verified as an outsider would."""

import hashlib
import json
import re
import uuid
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as configured
from django.db import transaction
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import reverse

from audit import log
from audit.cosignature import WitnessKey
from audit.errors import ProofError
from audit.event import NewEvent
from audit.models import Export
from audit.note import VerifierKey
from audit.personal import reveal
from audit.verify import Policy
from audit.verify_evidence import VerifiedEvidence, verify_evidence
from sessions import exporting, exports, lifecycle, policy
from sessions.models import Membership, Person
from sessions.parties import agent_of, person_of
from tests import factories
from tests.audit.evidence.authority import Authority, served
from tests.audit.integrating import Integrating, running
from tests.factories import World, events_of
from tests.sessions.views.conftest import BACKEND

HOSTILE = '=HYPERLINK("http://evil.test")<script>alert(1)</script>\u202e'


@pytest.fixture(scope="module")
def integrator(django_db_setup: None, stack_environment: dict[str, str]) -> Iterator[Integrating]:
    with running(stack_environment) as found:
        yield found


@pytest.fixture
def world(committed: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Committed, with a folder of its own; workers are not woken: a test runs what they would."""
    settings.EXPORT_FOLDER = str(tmp_path / "exports")
    settings.TIMESTAMP_URL = ""
    monkeypatch.setattr(exports, "wake", lambda export_id: None)
    return factories.world()


@pytest.fixture
def session_id(world: World) -> uuid.UUID:
    """A session of which an agent reported something hostile."""
    agent_session = world.approved(purpose=HOSTILE)
    person, agent = person_of(agent_session), agent_of(agent_session)
    data = {"path": HOSTILE, "command": HOSTILE}
    with transaction.atomic():
        log.append_batch(
            agent_session.id,
            [
                NewEvent("tool.result", agent_session.id, person, agent, data, agent, agent_session.id)
                for _ in range(20)
            ],
        )
    return agent_session.id


def client_of(person: Person) -> Client:
    client = Client()
    client.force_login(person, BACKEND)
    return client


def ask(by: Person, /, **form: str) -> Export:
    answer = client_of(by).post(reverse("export-create"), form)
    assert answer.status_code == 302, answer.content.decode()
    return Export.objects.get(pk=re.findall(r"/exports/([^/]+)/", answer.headers["Location"])[0])


def ask_session(person: Person, session_id: uuid.UUID, **form: str) -> Export:
    return ask(person, what="session", session=str(session_id), **form)


def make(export: Export, patience_s: float = 60.0) -> Export:
    exporting.run(export.id, patience_s)
    export.refresh_from_db()
    return export


def verified(export: Export, **given: Any) -> VerifiedEvidence:
    keys = tuple(map(VerifierKey.parse, configured.LOG_VERIFIER_KEYS))
    return verify_evidence(exports.file_of(export), Policy(configured.LOG_ORIGIN, keys), **given)


def download(person: Person, export: Export) -> tuple[HttpResponse, bytes]:
    """Over ASGI, as it is served."""

    async def read(pieces: AsyncIterator[bytes]) -> bytes:
        return b"".join([piece async for piece in pieces])

    client = AsyncClient()
    client.cookies = client_of(person).cookies
    path = reverse("export-download", args=[export.pk])
    answer: Any = async_to_sync(client.get)(path)
    return answer, async_to_sync(read)(answer.streaming_content) if answer.streaming else answer.content


def test_session_is_exported_and_verifies(world: World, session_id: uuid.UUID, integrator: Integrating) -> None:
    export = make(ask_session(world.auditor, session_id))
    found = verified(export)
    assert (export.state, export.error, export.unproven) == ("ready", "", 0)
    assert found.events == export.events == len(events_of(session_id))
    assert found.manifest.streams[0].stream == str(session_id)


def test_export_is_an_event_with_the_files_hash(world: World, session_id: uuid.UUID, integrator: Integrating) -> None:
    export = make(ask_session(world.auditor, session_id))
    event = events_of(world.team.id)[-1]
    assert (event["kind"], event["act"]["sub"]) == ("log.exported", world.auditor.reference)
    assert event["data"]["sha256"] == hashlib.sha256(exports.file_of(export).read_bytes()).hexdigest()
    assert event["data"]["selection"]["session"] == str(session_id)
    assert (event["data"]["events"], event["data"]["checkpoint"]) == (22, verified(export).opened.checkpoint.size)


def test_download_is_streamed_and_is_an_event(world: World, session_id: uuid.UUID, integrator: Integrating) -> None:
    export = make(ask_session(world.auditor, session_id))
    answer, data = download(world.auditor, export)
    assert (answer.status_code, hashlib.sha256(data).hexdigest()) == (200, export.sha256)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="evidence-{export.pk}.zip"'
    event = events_of(world.team.id)[-1]
    assert (event["kind"], event["data"]["sha256"]) == ("log.export_downloaded", export.sha256)


def test_what_agents_say_is_no_formula_and_no_markup(
    world: World, session_id: uuid.UUID, integrator: Integrating
) -> None:
    export = make(ask_session(world.auditor, session_id))
    with zipfile.ZipFile(exports.file_of(export)) as archive:
        index, report = archive.read("index.csv").decode(), archive.read("report.html").decode()
    assert "HYPERLINK" in index
    assert re.findall(r'(?:^|,)"[=+\-@\t\r]', index, re.MULTILINE) == []
    assert ("<script" in report, "\u202e" in report, "&lt;script&gt;" in report) == (False, False, True)


def test_period_of_a_team_has_its_sessions(world: World, session_id: uuid.UUID, integrator: Integrating) -> None:
    day = events_of(session_id)[0]["recorded_at"][:10]
    export = make(ask(world.auditor, what="period", team=world.team.slug, since=day, until=day))
    streams = {span.stream for span in verified(export).manifest.streams}
    assert streams == {str(world.team.id), str(session_id)}


def test_period_without_events_is_an_empty_file(world: World, integrator: Integrating) -> None:
    export = make(ask(world.auditor, what="period", team=world.team.slug, since="2001-01-01", until="2001-01-02"))
    assert (export.state, verified(export).events) == ("ready", 0)


def test_person_has_what_they_did_and_what_was_done_for_them(
    world: World, session_id: uuid.UUID, integrator: Integrating
) -> None:
    export = make(ask(world.auditor, what="person", person=str(world.lead.pk)))
    events = [json.loads(data) for name, data in _files(export).items() if name.startswith("entries/")]
    assert "session.approved" in {event["kind"] for event in events}
    assert {world.lead.reference in (event["sub"], event["act"]["sub"]) for event in events} == {True}
    expected = [
        event
        for stream in (world.team.id, session_id, world.lead.id)
        for event in events_of(stream)
        if world.lead.reference in (event["sub"], event["act"]["sub"]) and event["kind"] != "log.exported"
    ]
    assert len(events) == len(expected) == verified(export).events


def test_export_of_a_person_is_in_the_stream_of_whoever_exports(world: World, integrator: Integrating) -> None:
    make(ask(world.auditor, what="person", person=str(world.lead.pk)))
    event = events_of(world.auditor.id)[-1]
    assert (event["kind"], event["data"]["selection"]["person"]) == ("log.exported", str(world.lead.pk))
    assert world.lead.name not in json.dumps(event)


def test_events_that_no_checkpoint_covers_are_named(
    world: World, session_id: uuid.UUID, integrator: Integrating
) -> None:
    integrator.covers(session_id)
    with integrator.paused():
        lifecycle.kill(session_id, world.security)
        export = make(ask_session(world.auditor, session_id), patience_s=0)
    assert (export.state, export.unproven) == ("ready", 1)
    assert len(verified(export, unproven=True).unproven) == 1
    with pytest.raises(ProofError, match="1 events have no proof"):
        verified(export)
    page = client_of(world.auditor).get(reverse("export", args=[export.pk])).content.decode()
    assert "1 of the events are not proven" in page


def test_sealed_text_is_readable_in_the_report_and_sealed_in_the_entries(
    world: World, session_id: uuid.UUID, integrator: Integrating
) -> None:
    files = _files(make(ask_session(world.auditor, session_id)))
    [entry] = [data for name, data in files.items() if name.startswith("entries/") and b"session.requested" in data]
    assert set(json.loads(entry)["data"]["purpose"]) == {"sealed", "for"}
    assert reveal([json.loads(entry)])[0]["data"]["purpose"] == HOSTILE
    assert b"asked for a session of 1 hour <q>=HYPERLINK" in files["report.html"]


def test_checkpoint_is_stamped_by_the_authority(
    world: World, session_id: uuid.UUID, integrator: Integrating, settings: Any, tmp_path: Path
) -> None:
    with served(Authority.make(tmp_path / "authority")) as authority:
        settings.TIMESTAMP_URL = authority.url
        export = make(ask_session(world.auditor, session_id))
    assert verified(export, authorities=authority.roots).stamped_at is not None


def test_authority_that_fails_stops_nothing_and_is_said(
    world: World, session_id: uuid.UUID, integrator: Integrating, settings: Any
) -> None:
    settings.TIMESTAMP_URL = "http://127.0.0.1:1/"
    export = make(ask_session(world.auditor, session_id))
    assert (export.state, verified(export).manifest.timestamp["authority"]) == ("ready", "http://127.0.0.1:1/")  # type: ignore[index]
    assert b"There is no time-stamp" in _files(export)["report.html"]


def test_keys_are_there_with_their_fingerprints(world: World, session_id: uuid.UUID, integrator: Integrating) -> None:
    lines = _files(make(ask_session(world.auditor, session_id)))["keys.txt"].decode().splitlines()
    key = VerifierKey.parse(configured.LOG_VERIFIER_KEYS[-1])
    assert f"log {key} sha256:{hashlib.sha256(key.public).hexdigest()}" in lines
    witnesses = [str(WitnessKey.parse(one["key"])) for one in configured.LOG_WITNESSES]
    assert [line.split()[1] for line in lines if line.startswith("witness ")] == witnesses


def test_too_many_events_fail_with_the_way_out(
    world: World, session_id: uuid.UUID, integrator: Integrating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MOST_EVENTS", 5)
    export = make(ask_session(world.auditor, session_id))
    assert (export.state, "Ask for a shorter period" in export.error) == ("failed", True)
    page = client_of(world.auditor).get(reverse("export", args=[export.pk])).content.decode()
    assert "Ask for a shorter period" in page
    assert list(Path(configured.EXPORT_FOLDER).iterdir()) == []


def test_page_shows_how_far_it_is_and_asks_again(world: World, session_id: uuid.UUID) -> None:
    export = ask_session(world.auditor, session_id)
    Export.objects.filter(pk=export.pk).update(state="running", done=500, total=2_000)
    page = client_of(world.auditor).get(reverse("export", args=[export.pk])).content.decode()
    status = client_of(world.auditor).get(reverse("export-status", args=[export.pk])).content.decode()
    assert '<progress id="export-progress" max="2000" value="500">' in status
    assert f'hx-get="{reverse("export-status", args=[export.pk])}"' in status
    assert status.strip() in page


def test_page_that_is_done_asks_no_more(world: World, session_id: uuid.UUID) -> None:
    export = ask_session(world.auditor, session_id)
    for state in ("ready", "failed", "expired"):
        Export.objects.filter(pk=export.pk).update(state=state)
        assert b"hx-get" not in client_of(world.auditor).get(reverse("export-status", args=[export.pk])).content


ROUTES = ("export", "export-status", "export-download")


@pytest.mark.parametrize("route", ROUTES)
def test_file_of_another_does_not_exist(world: World, session_id: uuid.UUID, route: str) -> None:
    export = ask_session(world.auditor, session_id)
    Export.objects.filter(pk=export.pk).update(state="ready")
    for person in (world.stranger, world.security):
        answer, _ = download(person, export) if route == "export-download" else (_get(person, route, export), b"")
        assert answer.status_code == 404


@pytest.mark.parametrize("route", ROUTES)
def test_whoever_lost_the_right_has_no_file_any_more(
    world: World, session_id: uuid.UUID, integrator: Integrating, route: str
) -> None:
    export = make(ask_session(world.auditor, session_id))
    lifecycle.end_role(Membership.objects.get(person=world.auditor, ended_at=None).id, world.admin)
    answer = download(world.auditor, export)[0] if route == "export-download" else _get(world.auditor, route, export)
    assert answer.status_code == 404


def _get(person: Person, route: str, export: Export) -> Any:
    return client_of(person).get(reverse(route, args=[export.pk]))


@pytest.mark.parametrize("state", ["waiting", "running", "failed", "expired"])
def test_file_that_is_not_there_cannot_be_taken(world: World, session_id: uuid.UUID, state: str) -> None:
    export = ask_session(world.auditor, session_id)
    Export.objects.filter(pk=export.pk).update(state=state)
    assert download(world.auditor, export)[0].status_code == 404


def test_requester_sees_why_they_may_not(world: World, session_id: uuid.UUID) -> None:
    answer = client_of(world.requester).post(
        reverse("export-create"), {"what": "session", "session": str(session_id), "since": "", "until": ""}
    )
    assert answer.status_code == 403
    assert policy.may_export(policy.Viewer(world.requester.id, {}), world.team.id).why in answer.content.decode()


def test_session_of_strangers_does_not_exist(world: World, session_id: uuid.UUID) -> None:
    path = reverse("export-create")
    assert client_of(world.stranger).get(path, {"session": str(session_id)}).status_code == 404
    assert client_of(world.stranger).post(path, {"what": "session", "session": str(session_id)}).status_code == 404


def test_team_and_people_of_strangers_cannot_be_chosen(world: World) -> None:
    other = factories.world()
    client = client_of(other.auditor)
    for form in (
        {"what": "person", "person": str(world.lead.pk)},
        {"what": "period", "team": world.team.slug, "since": "2026-01-01", "until": "2026-01-02"},
    ):
        assert client.post(reverse("export-create"), form).status_code == 422
    assert not Export.objects.filter(by=other.auditor.pk).exists()


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"what": "period", "since": "2026-01-02", "until": "2026-01-01"}, 422),
        ({"what": "period", "since": "", "until": ""}, 422),
        ({"what": "period", "since": "yesterday", "until": "2026-01-01"}, 422),
        ({"what": "person", "person": "nobody"}, 422),
        ({"what": "session"}, 404),
        ({"what": "session", "session": "x"}, 404),
        ({"what": "everything"}, 404),
    ],
)
def test_nonsense_is_refused(world: World, form: dict[str, str], status: int) -> None:
    answer = client_of(world.auditor).post(reverse("export-create"), {"team": world.team.slug, **form})
    assert answer.status_code == status


def test_form_names_the_session_and_the_files_that_there_are(world: World, session_id: uuid.UUID) -> None:
    ask_session(world.auditor, session_id)
    page = client_of(world.auditor).get(reverse("export-create"), {"session": str(session_id)}).content.decode()
    assert f'name="session" value="{session_id}"' in page
    assert f"Session of {world.agent.name}, asked for on 20" in page


def _files(export: Export) -> dict[str, bytes]:
    with zipfile.ZipFile(exports.file_of(export)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
