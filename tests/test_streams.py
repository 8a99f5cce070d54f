"""Streams over HTTP, read by a client that is no browser: replay, heartbeat, farewell, end, and what they hold."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from django.db import connection, connections

from sessions import lifecycle, streams
from sessions.models import AgentSession, Membership, Person
from tests import factories
from tests.actors import signed_in
from tests.e2e.watching import active_session, append
from tests.serving import free_port
from tests.waiting import eventually

STREAMS = 30
PERSON_LEAVES: dict[str, Callable[[factories.World, httpx.Client], object]] = {
    "loses the role": lambda world, http: lifecycle.end_role(
        Membership.objects.get(person=world.auditor, ended_at=None).id, world.admin
    ),
    "signs out": lambda world, http: sign_out(http),
    "is deactivated": lambda world, http: Person.objects.filter(pk=world.auditor.pk).update(is_active=False),
}
# The chart and the panel.
FRAGMENTS = ["fragment", "fragment"]


@dataclass(frozen=True)
class Frame:
    """One event of a stream; a comment has neither name nor id."""

    event: str
    id: str
    data: str


@pytest.fixture
def server(committed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """uvicorn in a thread of this process, with a short heartbeat."""
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.2)
    port = free_port()
    config = uvicorn.Config(
        "webapp.asgi:application", port=port, lifespan="off", log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    eventually(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def world(committed: None) -> factories.World:
    return factories.world()


@pytest.fixture
def watched(world: factories.World) -> AgentSession:
    """Active, with eight events in its stream."""
    agent_session = active_session(world)
    append(agent_session, ["tool.called", "db.statement", "file.read", "db.statement"])
    return agent_session


@contextmanager
def client(server: str, person: Person | None) -> Iterator[httpx.Client]:
    cookies = {"drawbridge": signed_in(person)} if person else {}
    with httpx.Client(base_url=server, cookies=cookies, timeout=10, trust_env=False) as http:
        yield http


def sign_out(http: httpx.Client) -> None:
    http.get("/").raise_for_status()
    form = {"csrfmiddlewaretoken": http.cookies["csrftoken"]}
    assert http.post("/accounts/logout/", data=form, headers={"Referer": str(http.base_url)}).status_code == 302


def frames(answer: httpx.Response) -> Iterator[Frame]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = fields.get(name, "") + value
        else:
            yield Frame(fields.get("event", ""), fields.get("id", ""), fields.get("data", ""))
            fields = {}


def first_look(answer: httpx.Response) -> list[Frame]:
    """What the first look sent: all before the first comment, without the retry line."""
    seen = []
    for frame in frames(answer):
        if not frame.event and seen:
            break
        seen.append(frame)
    return [frame for frame in seen if frame.event]


def opening(received: Iterator[Frame]) -> list[str]:
    """What a stream begins with, where nothing is to be caught up with."""
    return [next(frame for frame in received if frame.event).event for _ in FRAGMENTS]


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("", {}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ("", {"Last-Event-ID": "5"}, [6, 7, 8]),
        ("?after=5", {}, [6, 7, 8]),
        ("?after=2", {"Last-Event-ID": "6"}, [7, 8]),
        ("?after=6", {"Last-Event-ID": "2"}, [7, 8]),
        ("?after=8", {}, []),
        ("?after=nonsense", {"Last-Event-ID": "-1"}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ("?kind=db&after=6", {}, [8]),
        ("?kind=tool,file", {}, [5, 7]),
    ],
)
def test_a_stream_replays_what_comes_after_the_viewers_position(
    server: str, world: factories.World, watched: AgentSession, query: str, headers: dict[str, str], expected: list[int]
) -> None:
    path = f"/sessions/{watched.id}/stream{query}"
    with client(server, world.auditor) as http, http.stream("GET", path, headers=headers) as answer:
        seen = first_look(answer)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert [int(frame.id) for frame in seen if frame.event == "row"] == expected
    assert [frame.event for frame in seen if frame.event != "row"] == FRAGMENTS


def test_new_events_follow_the_replay(server: str, world: factories.World, watched: AgentSession) -> None:
    path = f"/sessions/{watched.id}/stream?after=8"
    with client(server, world.auditor) as http, http.stream("GET", path) as answer:
        received = frames(answer)
        assert opening(received) == FRAGMENTS
        append(watched, ["db.statement", "file.read"])
        rows = [next(frame for frame in received if frame.event == "row") for _ in range(2)]
    assert [row.id for row in rows] == ["9", "10"]


def test_a_quiet_stream_keeps_beating(server: str, world: factories.World, watched: AgentSession) -> None:
    path = f"/sessions/{watched.id}/stream?after=8"
    with client(server, world.auditor) as http, http.stream("GET", path) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith(":"))
        assert [next(lines) for _ in range(4)] == [": "] * 4


@pytest.mark.parametrize("leave", PERSON_LEAVES.values(), ids=PERSON_LEAVES)
def test_a_viewer_who_may_not_see_it_any_more_is_sent_away(
    server: str, world: factories.World, watched: AgentSession, leave: Callable[[factories.World, httpx.Client], object]
) -> None:
    path = f"/sessions/{watched.id}/stream?after=8"
    with client(server, world.auditor) as http, http.stream("GET", path) as answer:
        received = frames(answer)
        assert opening(received) == FRAGMENTS
        leave(world, http)
        append(watched, ["db.statement"])
        rest = list(received)
    assert [frame.event for frame in rest if frame.event] == ["bye"]


@pytest.mark.parametrize("path", ["/inbox/stream", "/sessions/stream"])
def test_a_list_says_farewell_after_sign_out(server: str, world: factories.World, path: str) -> None:
    with client(server, world.lead) as http, http.stream("GET", path) as answer:
        received = frames(answer)
        assert next(frame for frame in received if frame.event).event == "fragment"
        sign_out(http)
        assert [frame.event for frame in received if frame.event][-1] == "bye"


def test_a_stranger_does_not_learn_that_there_is_a_stream(
    server: str, world: factories.World, watched: AgentSession
) -> None:
    with client(server, world.stranger) as http:
        assert http.get(f"/sessions/{watched.id}/stream").status_code == 404
        assert http.get("/sessions/01890000-0000-7000-8000-000000000000/stream").status_code == 404
    with client(server, None) as http:
        answer = http.get(f"/sessions/{watched.id}/stream")
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/accounts/login/")


def test_a_stream_ends_by_itself(
    server: str, world: factories.World, watched: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LONGEST_S", 0.5)
    path = f"/sessions/{watched.id}/stream?after=8"
    with client(server, world.auditor) as http, http.stream("GET", path) as answer:
        # The chart may come anew once events are counted.
        assert {frame.event for frame in frames(answer) if frame.event} == {"fragment"}


def test_open_streams_hold_no_database_connection(
    server: str, world: factories.World, watched: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 15.0)
    cookies = {"drawbridge": signed_in(world.auditor)}
    connections.close_all()
    ids = asyncio.run(_hold_streams(server, f"/sessions/{watched.id}/stream?after=8", cookies, watched))
    assert ids == ["9"] * STREAMS


async def _hold_streams(server: str, path: str, cookies: dict[str, str], watched: AgentSession) -> list[str]:
    """Open all, see that nothing is held, append one event, and return the id that each stream brought."""
    before = held()
    limits = httpx.Limits(max_connections=STREAMS)
    async with httpx.AsyncClient(base_url=server, cookies=cookies, timeout=20, trust_env=False, limits=limits) as http:
        open_streams = [asyncio.Event() for _ in range(STREAMS)]
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            readers = [group.create_task(_first_id(http, path, is_open)) for is_open in open_streams]
            await asyncio.gather(*(is_open.wait() for is_open in open_streams))
            await asyncio.to_thread(eventually, lambda: held() <= before)
            await asyncio.to_thread(_append_and_close, watched)
    return [reader.result() for reader in readers]


async def _first_id(http: httpx.AsyncClient, path: str, is_open: asyncio.Event) -> str:
    async with http.stream("GET", path) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("event: fragment"):
                is_open.set()
            if line.startswith("id: "):
                return line.removeprefix("id: ")
    raise AssertionError("the stream ended without an event")


def held() -> int:
    """How many connections of this process's pool are in use or waited for."""
    stats = connection.pool.get_stats()
    return int(stats["pool_size"] - stats["pool_available"] + stats.get("requests_waiting", 0))


def _append_and_close(watched: AgentSession) -> None:
    append(watched, ["db.statement"])
    connections.close_all()
