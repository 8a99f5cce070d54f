"""Events on their way: in order, once, and never lost while the server is away."""

import json
from pathlib import Path

import httpx

from runner.client import Client
from runner.shapes import Event
from runner.spool import MOST_AT_ONCE, Spool


class Server:
    """The far end: away for a while, then there."""

    def __init__(self, away: int = 0, status: int = 200) -> None:
        self.away, self.status, self.batches = away, status, list[list[str]]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            self.away -= 1
            raise httpx.ConnectError("refused")
        ids = [event["id"] for event in json.loads(request.content)["events"]]
        self.batches.append(ids)
        receipts = [{"id": one, "answer": "stored", "why": None} for one in ids]
        return httpx.Response(self.status, json={"events": receipts, "code": "session_ended", "detail": "over"})

    def client(self) -> Client:
        return Client("http://drawbridge", httpx.MockTransport(self))


def spool(server: Server, path: Path) -> Spool:
    return Spool(server.client(), "token", "session", path)


def test_events_are_sent_in_order_and_the_file_is_gone(tmp_path: Path) -> None:
    server, sent = Server(), [Event("agent.step", {"n": n}) for n in range(450)]
    one = spool(server, tmp_path / "events")
    for event in sent:
        one.add(event)

    assert one.close() == 0
    assert [one for batch in server.batches for one in batch] == [event.id for event in sent]
    assert max(map(len, server.batches)) <= MOST_AT_ONCE
    assert not (tmp_path / "events").exists()


def test_a_server_that_comes_back_gets_everything(tmp_path: Path) -> None:
    server = Server(away=2)
    one = spool(server, tmp_path / "events")
    one.add(Event("agent.step", {}))

    assert one.close(10) == 0
    assert len(server.batches) == 1


def test_what_could_not_be_sent_is_sent_by_the_next_run(tmp_path: Path) -> None:
    event = Event("agent.step", {"n": 1})
    away = spool(Server(away=1000), tmp_path / "events")
    away.add(event)
    assert away.close(0.1) == 1

    server = Server()
    assert spool(server, tmp_path / "events").close() == 0
    assert server.batches == [[event.id]]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    event = Event("agent.step", {})
    (tmp_path / "events").write_text(event.line() + "\n" + event.line()[:20])
    server = Server()

    assert spool(server, tmp_path / "events").close() == 0
    assert server.batches == [[event.id]]


def test_events_that_are_refused_for_good_are_let_go(tmp_path: Path, capsys) -> None:
    one = spool(Server(status=409), tmp_path / "events")
    one.add(Event("agent.step", {}))

    assert one.close() == 0
    assert "refused" in capsys.readouterr().err


def test_large_events_go_in_several_requests(tmp_path: Path) -> None:
    server = Server()
    one = spool(server, tmp_path / "events")
    for _ in range(100):
        one.add(Event("agent.step", {"text": "x" * 59_000}))

    assert one.close() == 0
    assert len(server.batches) >= 2
