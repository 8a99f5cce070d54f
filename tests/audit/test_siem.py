"""The SIEM gets each leaf that is signed for, in order, at least once, and can tell that it is from us."""

import base64
import hashlib
import hmac
import io
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from audit import health, log, siem, siem_tasks
from audit.event import NewEvent, now
from audit.models import Delivery, Event
from audit.stores import tile_store
from tests.audit.integrating import Integrating, running, size

KEY = b"thirty-two bytes of test secret!"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@dataclass
class Receiver:
    """What came, and with which status the next ones are answered."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def events(self, number: int = -1) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.got[number][1].splitlines()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/in"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def integrator(django_db_setup: None, stack_environment: dict[str, str]) -> Iterator[Integrating]:
    with running(stack_environment) as found:
        yield found


@pytest.fixture
def stream(committed: None, receiver: Receiver, settings: Any, integrator: Integrating) -> uuid.UUID:
    """A new stream, whose first event the webhook comes to next."""
    settings.SIEM_WEBHOOK_URL, settings.SIEM_WEBHOOK_SECRET = receiver.url, SECRET
    found = uuid.uuid4()
    append(found, 1)
    integrator.covers(found)
    siem.resume_at(size())
    return found


def append(stream: uuid.UUID, count: int) -> None:
    with transaction.atomic():
        log.append_batch(
            stream, [NewEvent("tool.result", stream, "person:p", "agent:a", {"number": n}) for n in range(count)]
        )


def due() -> None:
    Delivery.objects.filter(name=siem.WEBHOOK).update(due_at=now())


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["unmapped"]["data"]["number"] for event in events]


def deliver_all() -> int:
    total = 0
    while count := siem.deliver_once():
        total += count
    return total


def problem() -> list[str]:
    return [found.problem for found in health.problems() if found.part == siem.PART]


def test_events_arrive_in_the_order_of_their_leaves(
    stream: uuid.UUID, receiver: Receiver, integrator: Integrating
) -> None:
    first = size()
    append(stream, 3)
    integrator.covers(stream)
    assert deliver_all() == 3
    events = [event for number in range(len(receiver.got)) for event in receiver.events(number)]
    assert numbers(events) == [0, 1, 2]
    assert [event["metadata"]["sequence"] for event in events] == [first, first + 1, first + 2]


def test_batch_ends_with_its_bundle_and_the_next_one_goes_on(
    stream: uuid.UUID, receiver: Receiver, integrator: Integrating
) -> None:
    append(stream, 600)
    integrator.covers(stream)
    assert deliver_all() == 600
    sent = [number for batch in range(len(receiver.got)) for number in numbers(receiver.events(batch))]
    assert sent == list(range(600))
    assert max(len(receiver.events(batch)) for batch in range(len(receiver.got))) <= 256


def test_what_is_not_signed_for_waits(stream: uuid.UUID, receiver: Receiver, integrator: Integrating) -> None:
    with integrator.paused():
        append(stream, 1)
        assert siem.deliver_once() == 0
    integrator.covers(stream)
    assert siem.deliver_once() == 1


def test_signature_is_that_of_standard_webhooks(stream: uuid.UUID, receiver: Receiver, integrator: Integrating) -> None:
    append(stream, 1)
    integrator.covers(stream)
    siem.deliver_once()
    [(headers, body)] = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["content-type"] == "application/x-ndjson"


def test_signature_is_what_standardwebhooks_makes() -> None:
    """Made once with its own library, standardwebhooks 1.1.0 for Python."""
    made = siem.signature(SECRET, "drawbridge.test/log/0-2", "1795608000", b'{"class_uid":6003}\n')
    assert made == "v1,FsP3oAJBHuFzYSECT3cVGtWvnFDxh2oFwUOijfWlvXw="


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64"])
def test_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="SIEM_WEBHOOK_SECRET"):
        siem.signature(secret, "id", "1", b"")


@pytest.mark.parametrize("status", [400, 401, 302, 429, 500])
def test_refused_batch_is_sent_again_with_its_id(
    stream: uuid.UUID, receiver: Receiver, integrator: Integrating, status: int
) -> None:
    append(stream, 1)
    integrator.covers(stream)
    receiver.statuses = [status]
    assert siem.deliver_once() == 0
    assert [f"its webhook answered {status}" in text for text in problem()] == [True]
    due()
    assert (siem.deliver_once(), problem()) == (1, [])
    (first, _), (again, _) = receiver.got
    assert first["webhook-id"] == again["webhook-id"]
    assert receiver.events(0) == receiver.events(1)


def test_receiver_that_is_away_is_said_and_loses_nothing(
    stream: uuid.UUID, receiver: Receiver, integrator: Integrating, settings: Any
) -> None:
    append(stream, 1)
    integrator.covers(stream)
    settings.SIEM_WEBHOOK_URL = "http://127.0.0.1:1/"
    assert siem.deliver_once() == 0
    assert "did not answer" in problem()[0]
    settings.SIEM_WEBHOOK_URL = receiver.url
    due()
    assert siem.deliver_once() == 1


def test_each_failure_waits_longer_up_to_five_minutes(
    stream: uuid.UUID, receiver: Receiver, integrator: Integrating
) -> None:
    append(stream, 1)
    integrator.covers(stream)
    receiver.statuses = [500] * 12
    waits = []
    for _ in range(10):
        due()
        siem.deliver_once()
        waits.append(round((Delivery.objects.get(name=siem.WEBHOOK).due_at - now()) / timedelta(seconds=1)))
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_nothing_is_sent_before_it_is_due(stream: uuid.UUID, receiver: Receiver, integrator: Integrating) -> None:
    append(stream, 1)
    integrator.covers(stream)
    receiver.statuses = [500]
    assert [siem.deliver_once(), siem.deliver_once()] == [0, 0]
    assert len(receiver.got) == 1


def test_worker_that_dies_after_the_answer_sends_it_again(
    stream: uuid.UUID, receiver: Receiver, integrator: Integrating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted, and the cursor was not moved: at least once."""
    append(stream, 1)
    integrator.covers(stream)

    def die(*_: object) -> None:
        raise SystemExit

    send = siem._send
    monkeypatch.setattr(siem, "_send", lambda *given: (send(*given), die()))
    with pytest.raises(SystemExit):
        siem.deliver_once()
    monkeypatch.setattr(siem, "_send", send)
    assert siem.deliver_once() == 1
    assert receiver.events(0) == receiver.events(1)


def test_two_workers_never_send_at_once(stream: uuid.UUID, receiver: Receiver, integrator: Integrating) -> None:
    append(stream, 1)
    integrator.covers(stream)
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [siem.LOCK])
    assert siem.deliver_once() == 0
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [siem.LOCK])
    other.close()
    assert siem.deliver_once() == 1


def test_bundle_that_was_pruned_stops_it_with_the_way_on(
    stream: uuid.UUID, receiver: Receiver, settings: Any, tmp_path: Path, integrator: Integrating
) -> None:
    append(stream, 1)
    integrator.covers(stream)
    (tmp_path / "checkpoint").write_bytes(tile_store(settings.LOG_STORE).read("checkpoint"))
    settings.LOG_STORE = str(tmp_path)
    assert siem.deliver_once() == 0
    assert "was pruned" in problem()[0]
    assert "--resume-at" in problem()[0]


def test_task_delivers_all_that_is_there(stream: uuid.UUID, receiver: Receiver, integrator: Integrating) -> None:
    append(stream, 300)
    integrator.covers(stream)
    siem_tasks.deliver()
    assert sum(len(receiver.events(batch)) for batch in range(len(receiver.got))) == 300


def test_without_a_webhook_nothing_happens(committed: None, settings: Any) -> None:
    settings.SIEM_WEBHOOK_URL = ""
    assert siem.deliver_once() == 0


def test_file_has_the_leaves_that_were_asked_for(stream: uuid.UUID, integrator: Integrating, tmp_path: Path) -> None:
    first = size()
    append(stream, 5)
    integrator.covers(stream)
    said = io.StringIO()
    call_command(
        "export_ocsf", "--from", str(first + 1), "--to", str(first + 3), "-o", str(tmp_path / "out"), stderr=said
    )
    assert said.getvalue() == f"Written: leaves {first + 1} to {first + 3}. The next file begins at {first + 4}.\n"
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert numbers(lines) == [1, 2, 3]
    body = Event.objects.get(stream=stream, seq=3).body
    assert lines[0]["raw_data_hash"]["value"] == hashlib.sha256(bytes(body)).hexdigest()


def test_webhook_goes_on_where_it_is_told(stream: uuid.UUID, receiver: Receiver, integrator: Integrating) -> None:
    append(stream, 3)
    integrator.covers(stream)
    call_command("export_ocsf", "--resume-at", str(size() - 1), stdout=io.StringIO())
    assert siem.deliver_once() == 1
    assert numbers(receiver.events()) == [2]


@pytest.mark.parametrize("given", [("--from", "-1"), ("--from", "5", "--to", "4"), ("--to", "999999999")])
def test_range_that_is_none_is_wrong_usage(stream: uuid.UUID, given: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as raised:
        call_command("export_ocsf", *given)
    assert raised.value.returncode == 2


def test_file_of_pruned_leaves_fails(stream: uuid.UUID, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(tile_store(settings.LOG_STORE).read("checkpoint"))
    settings.LOG_STORE = str(tmp_path)
    with pytest.raises(CommandError, match="was pruned") as raised:
        call_command("export_ocsf", "-o", str(tmp_path / "out"))
    assert raised.value.returncode == 1
