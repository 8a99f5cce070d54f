"""The events endpoint and OTLP's, over HTTP: every form, every refusal, and no silent loss."""

import gzip
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from audit.event import now, timestamp
from audit.uuid7 import uuid7
from sessions import tokens
from sessions.api import events
from sessions.api.problems import Code, Refusal
from tests import factories
from tests.serving import Agent, bearer, kill

NDJSON = {"Content-Type": "application/x-ndjson"}


def event(**changed: Any) -> dict[str, Any]:
    return {"id": str(uuid7()), "kind": "tool.call", "occurred_at": timestamp(now()), "data": {"n": 1}, **changed}


def lines(*sent: object) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in sent)


@pytest.fixture
def begun(agent: Agent) -> Agent:
    return agent.begin()


def post(begun: Agent, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return begun.http.post("/events", content=body, headers={**bearer(begun.token), **NDJSON, **named})


def test_ndjson_is_answered_line_by_line(begun: Agent) -> None:
    first, last = event(), event()
    answer = post(begun, lines(first) + b"{nonsense\n" + lines(last))

    assert [(one["id"], one["answer"]) for one in answer.json()["events"]] == [
        (first["id"], "stored"),
        (None, "rejected"),
        (last["id"], "stored"),
    ]
    assert answer.json()["events"][1]["why"] == "This line is not JSON."


def test_gzip_is_taken(begun: Agent) -> None:
    assert post(begun, gzip.compress(lines(event())), Content_Encoding="gzip").json()["events"][0]["answer"] == "stored"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content_Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content_Encoding": "br"}, 415, "unsupported_media_type"),
        ({"Content_Encoding": "gzip"}, 400, "malformed"),
        ({"Authorization": "Bearer nonsense"}, 401, "unauthenticated"),
        ({"Authorization": f"Bearer {tokens.new('dbs')}"}, 401, "unauthenticated"),
    ],
)
def test_a_refusal_is_a_problem_with_its_code(begun: Agent, headers: dict[str, str], status: int, code: str) -> None:
    answer = post(begun, lines(event()), **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_agents_key_reports_nothing(begun: Agent, world: factories.World) -> None:
    answer = begun.http.post("/events", content=lines(event()), headers={**bearer(world.key), **NDJSON})
    assert answer.status_code == 401


@pytest.mark.parametrize("hours", [-3, 3])
def test_an_id_of_another_time_is_rejected_alone(begun: Agent, hours: int) -> None:
    moved = (time.time_ns() // 1_000_000 + hours * 3_600_000) << 80
    odd = uuid.UUID(int=moved | uuid7().int & (1 << 80) - 1)
    receipts = post(begun, lines(event(), event(id=str(odd)))).json()["events"]

    assert [one["answer"] for one in receipts] == ["stored", "rejected"]
    assert "Set the clock" in receipts[1]["why"]


def test_a_killed_sessions_spool_is_still_taken(begun: Agent) -> None:
    waiting = lines(event())
    kill(uuid.UUID(begun.session_id))
    assert post(begun, waiting).json()["events"][0]["answer"] == "stored"


@contextmanager
def held(tokens_at_work: Iterable[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for token in tokens_at_work:
            stack.enter_context(events.at_work(token))
        yield


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tokens that were seen to be good just now."""
    names = [f"token {number}" for number in range(events.MOST_AT_ONCE + 1)]
    monkeypatch.setattr(events, "_seen", dict.fromkeys(names, time.monotonic()))
    return names


def test_too_many_batches_at_once_are_told_to_wait(known: list[str]) -> None:
    with held(known[:-1]), pytest.raises(Refusal) as refused, events.at_work(known[-1]):
        pass
    assert (refused.value.code, events._at_work.total()) == (Code.BUSY, 0)


def test_one_sender_cannot_take_every_place(known: list[str]) -> None:
    greedy, modest = known[:2]
    with held([greedy] * events.MOST_AT_ONCE_EACH):
        with pytest.raises(Refusal), events.at_work(greedy):
            pass
        with events.at_work(modest):
            assert events._at_work[modest] == 1


def test_made_up_tokens_keep_nobody_else_out(known: list[str]) -> None:
    strangers = [f"stranger {number}" for number in range(events.MOST_STRANGERS)]
    with held(strangers):
        with pytest.raises(Refusal), events.at_work("one more"):
            pass
        with events.at_work(known[0]):
            assert events._at_work.total() == 1


def test_a_token_is_known_once_a_batch_of_it_was_taken(begun: Agent) -> None:
    post(begun, lines(event())).raise_for_status()
    events.session_seen(begun.token)
    assert begun.token in events._seen


def test_busy_is_429_and_says_when_to_come_again() -> None:
    from sessions.api.problems import response

    answer = response(Refusal(Code.BUSY, "Too many."))
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")


OTLP_JSON = {"Content-Type": "application/json"}


def record(**attributes: str) -> dict[str, Any]:
    named = {"event.name": "tool_result", "tool_name": "Bash", "success": "true", **attributes}
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in named.items()]
    return {
        "timeUnixNano": str(time.time_ns()),
        "body": {"stringValue": "claude_code.tool_result"},
        "attributes": pairs,
    }


def export(begun: Agent, *records: object, path: str = "/v1/logs", **headers: str) -> httpx.Response:
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]}
    url = begun.http.base_url.copy_with(path=path)
    named = {**bearer(begun.token), **OTLP_JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(url, content=json.dumps(body).encode(), headers=named, trust_env=False)


def test_otlp_logs_become_events_of_the_tokens_session(begun: Agent) -> None:
    answer = export(begun, record(), record())

    assert (answer.status_code, answer.json()) == (200, {})
    stored = factories.events_of(uuid.UUID(begun.session_id))[-2:]
    assert [(one["kind"], one["data"]["tool"]) for one in stored] == [("tool.result", "Bash")] * 2


def test_an_otlp_export_that_is_sent_again_counts_once(begun: Agent) -> None:
    one = record()
    export(begun, one).raise_for_status()
    export(begun, one).raise_for_status()
    assert factories.kinds_of(uuid.UUID(begun.session_id)).count("tool.result") == 1


def test_otlp_records_that_cannot_be_stored_are_a_partial_success(begun: Agent) -> None:
    answer = export(begun, record(), {**record(), "timeUnixNano": "1"})

    partial = answer.json()["partialSuccess"]
    assert (answer.status_code, partial["rejectedLogRecords"]) == (200, "1")
    assert partial["errorMessage"]


def test_an_otlp_request_of_too_many_records_is_refused(begun: Agent) -> None:
    answer = export(begun, *[record()] * 1001)
    assert (answer.status_code, answer.json()["message"]) == (
        413,
        "A request may have 1000 records. Send fewer at once.",
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Encoding": "gzip"}, 400),
    ],
)
def test_an_otlp_refusal_is_a_status_message(begun: Agent, headers: dict[str, str], status: int) -> None:
    answer = export(begun, record(), **headers)
    assert (answer.status_code, bool(answer.json()["message"])) == (status, True)


def test_otlp_takes_post_alone(begun: Agent) -> None:
    url = begun.http.base_url.copy_with(path="/v1/logs")
    assert httpx.get(url, trust_env=False).status_code == 405
