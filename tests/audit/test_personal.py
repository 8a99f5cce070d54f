"""Personal fields of events: sealed in the bytes that the log commits to, readable until the key is destroyed."""

import base64
import json
import time
import uuid
from typing import Any

import pytest
from django.db import transaction

from audit import canonical, log, personal
from audit.event import LONGEST_BODY, NewEvent
from audit.log import Answer
from audit.models import DeferredEvent, Event, Health, SubjectKey

CANARY = "Canary McCanaryface"


def event(data: dict[str, Any], sub: str = "", **fields: Any) -> NewEvent:
    return NewEvent(
        **{"kind": "agent.prompt", "stream": uuid.uuid4(), "act": "agent:a", "sub": sub or person(), "data": data}
        | fields
    )


def person() -> str:
    return f"person:{uuid.uuid4()}"


def stored(new: NewEvent) -> dict[str, Any]:
    with transaction.atomic():
        return dict(canonical.loads(bytes(log.append(new).body)))


@pytest.fixture(autouse=True)
def _no_key_kept() -> None:
    personal._kept.clear()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "data",
    [
        {"prompt": CANARY},
        {"messages": [{"role": "user", "content": CANARY}]},
        {"user.email": CANARY},
        {"otel": {"body": CANARY, "resource": {"enduser.id": CANARY}}},
        {"Prompt": CANARY},
        {"tool_input": {"description": CANARY}},
        {"tool_input": f'{{"description":"{CANARY}"}}'},
        {"grant": {"purpose": CANARY, "person": {"id": "p", "name": CANARY}}},
        {"list": [[{"reason": CANARY}]]},
        {"reason": [CANARY]},
    ],
    ids=str,
)
def test_personal_field_is_sealed_and_revealed(data: dict[str, Any]) -> None:
    content = stored(event(data))
    assert CANARY not in json.dumps(content)
    assert personal.reveal([content])[0]["data"] == data


@pytest.mark.django_db
def test_what_an_agent_did_stays_readable_without_a_key(django_assert_num_queries: Any) -> None:
    data = {"command": "psql", "statement": "SELECT 1", "agent": {"name": "bot"}, "rows": 3, "nested": [{"path": "/x"}]}
    new = event(data)
    with django_assert_num_queries(0):
        assert personal.sealed(new) is new
        assert personal.reveal([new.content()]) == [new.content()]


@pytest.mark.django_db
def test_sealed_field_names_whose_it_is() -> None:
    sub = person()
    field = stored(event({"prompt": CANARY}, sub))["data"]["prompt"]
    assert (field["for"], sorted(field)) == (sub, ["for", "sealed"])
    assert SubjectKey.objects.get(pk=sub).destroyed_at is None


@pytest.mark.django_db
def test_same_event_has_the_same_bytes() -> None:
    new = event({"prompt": CANARY})
    assert personal.sealed(new).parts == personal.sealed(new).parts


@pytest.mark.django_db
def test_equal_texts_of_two_events_look_different() -> None:
    sub = person()
    one, other = (stored(event({"prompt": CANARY}, sub))["data"]["prompt"]["sealed"] for _ in range(2))
    assert one != other


@pytest.mark.django_db
def test_event_sent_twice_is_known() -> None:
    new = event({"prompt": CANARY, "n": 1})
    assert log.append_batch(new.stream, [new]) == [Answer.STORED]
    assert log.append_batch(new.stream, [new]) == [Answer.KNOWN]


@pytest.mark.django_db
def test_key_of_a_batch_is_asked_for_once(django_assert_max_num_queries: Any) -> None:
    sub, stream = person(), uuid.uuid4()
    batch = [event({"prompt": CANARY, "text": "x"}, sub, stream=stream) for _ in range(50)]
    with django_assert_max_num_queries(3):
        sealed = personal.sealed_all(batch)
    assert len({one.data["prompt"]["sealed"] for one in sealed}) == 50


@pytest.mark.django_db
def test_one_query_reveals_a_page(django_assert_num_queries: Any) -> None:
    contents = [stored(event({"prompt": f"{number}"})) for number in range(5)]
    with django_assert_num_queries(1):
        revealed = personal.reveal(contents)
    assert [one["data"]["prompt"] for one in revealed] == ["0", "1", "2", "3", "4"]


@pytest.mark.django_db
def test_destroyed_key_shows_as_erased_and_leaves_the_bytes() -> None:
    sub = person()
    content = stored(event({"prompt": CANARY, "command": "ls"}, sub))
    before = bytes(Event.objects.get(pk=content["id"]).body)
    personal.destroy(sub)
    assert personal.reveal([content])[0]["data"] == {"prompt": "erased", "command": "ls"}
    assert bytes(Event.objects.get(pk=content["id"]).body) == before
    row = SubjectKey.objects.get(pk=sub)
    assert (bytes(row.sealed), row.sealed_with) == (b"", "")


@pytest.mark.django_db
def test_late_event_of_an_erased_person_keeps_nothing() -> None:
    sub = person()
    personal.destroy(sub)
    content = stored(event({"prompt": CANARY}, sub))
    assert content["data"]["prompt"] == {"sealed": "", "for": sub}
    assert personal.reveal([content])[0]["data"] == {"prompt": "erased"}


def test_key_is_kept_for_seconds_only(committed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sub = person()
    stored(event({"prompt": CANARY}, sub))
    assert sub in personal._kept
    SubjectKey.objects.filter(pk=sub).update(sealed=b"", sealed_with="", destroyed_at=personal.now())
    later = time.monotonic() + personal.KEPT_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert stored(event({"prompt": CANARY}, sub))["data"]["prompt"]["sealed"] == ""


def test_key_that_was_rolled_back_seals_nothing(committed: None) -> None:
    sub = person()
    with transaction.atomic():
        log.append(event({"prompt": CANARY}, sub))
        transaction.set_rollback(True)
    assert sub not in personal._kept
    assert personal.reveal([stored(event({"prompt": CANARY}, sub))])[0]["data"] == {"prompt": CANARY}


@pytest.mark.django_db
def test_field_moved_to_another_event_or_place_does_not_open() -> None:
    sub = person()
    field = stored(event({"prompt": CANARY}, sub))["data"]["prompt"]
    elsewhere = event({}, sub).content() | {"data": {"prompt": field}}
    assert personal.reveal([elsewhere])[0]["data"] == {"prompt": field}
    content = stored(event({"prompt": CANARY}, sub))
    moved = content | {"data": {"text": content["data"]["prompt"]}}
    assert personal.reveal([moved])[0]["data"] == moved["data"]


@pytest.mark.django_db
@pytest.mark.parametrize("sealed", ["", "AAAA", "not base64!", base64.b64encode(b"x" * 99).decode()])
def test_forgery_of_an_agent_is_shown_as_it_is(sealed: str) -> None:
    sub = person()
    stored(event({"prompt": CANARY}, sub))
    forged = {"path": {"sealed": sealed, "for": sub}, "x": {"sealed": sealed, "for": "person:nobody"}}
    found = personal.reveal([stored(event(forged, sub))])[0]["data"]
    assert found["x"] == forged["x"]
    assert found["path"] == (forged["path"] if sealed else "erased")


@pytest.mark.django_db
def test_lost_envelope_key_is_loud_and_no_crash() -> None:
    sub = person()
    content = stored(event({"prompt": CANARY}, sub))
    SubjectKey.objects.filter(pk=sub).update(sealed_with="gone")
    assert personal.reveal([content])[0]["data"] == {"prompt": personal.LOST}
    assert "'gone'" in Health.objects.get(part=personal.PART).problem
    with pytest.raises(personal.Unreadable):
        personal.sealed(event({"prompt": CANARY}, sub))


@pytest.mark.django_db
def test_growth_is_what_sealing_adds() -> None:
    for data in ({"prompt": "é" * 100, "list": [{"text": "x" * n} for n in range(1, 7)]}, {"rows": 1}):
        new = event(data)
        grown = sum(map(len, personal.sealed(new).parts)) - sum(map(len, new.parts))
        assert personal.growth(new) == grown


@pytest.mark.django_db
def test_event_that_sealing_makes_too_long_is_refused() -> None:
    new = event({"prompt": "x" * (LONGEST_BODY - 2000)})
    assert new.parts
    with pytest.raises(ValueError, match="may have 60000 bytes"):
        log.append(new)


def test_deferred_event_holds_nothing_in_the_clear(committed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    new = event({"q": CANARY}, kind="log.read")
    with transaction.atomic(), monkeypatch.context() as patch:
        patch.setattr(log, "RUNS", "SELECT 1 / 0 WHERE %s::uuid[] IS NOT NULL")
        log.append_or_defer(new)
    deferred = DeferredEvent.objects.get(pk=new.id)
    assert CANARY not in json.dumps(deferred.content)
    log.append_deferred()
    content = canonical.loads(bytes(Event.objects.get(pk=new.id).body))
    assert personal.reveal([content])[0]["data"] == {"q": CANARY}


@pytest.mark.django_db
def test_withheld_event_has_nothing_to_open() -> None:
    new = event({"q": CANARY, "what": "fleet"})
    content = personal.withheld(new).content()
    assert content["data"] == {"q": {"sealed": "", "for": new.sub}, "what": "fleet"}


@pytest.mark.django_db
def test_credential_events_are_left_alone() -> None:
    new = event({"reason": "rotated"}, kind="credential.revocation_requested")
    assert personal.sealed(new) is new
    assert personal.growth(new) == 0
