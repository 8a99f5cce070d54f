"""The runner understands the samples that it shares with the server, and sends what they show."""

import json
from typing import Any

import httpx
import pytest

from runner.client import Client, Pending
from runner.errors import Denied, Lapsed, Refused, Unreachable
from runner.shapes import Asked, Credential, Event, Granted, Me, Receipt, Status
from tests.serving import REPOSITORY

SAMPLES: dict[str, Any] = json.loads((REPOSITORY / "tests/contract/api.json").read_text())


def client(status: int, body: object) -> Client:
    return Client("http://drawbridge", httpx.MockTransport(lambda request: httpx.Response(status, json=body)))


def test_samples_are_read() -> None:
    assert Me.read(SAMPLES["Me"]).profiles == ["warehouse-orders"]
    assert Asked.read(SAMPLES["Asked"]).link.endswith("KWRC-XJKH")
    assert Granted.read(SAMPLES["Token"]).token == "dbs_sample"
    assert [Receipt.read(one).answer for one in SAMPLES["Receipts"]["events"]] == ["stored", "rejected"]


def test_a_killed_session_is_over() -> None:
    status = Status.read(SAMPLES["Session"])

    assert (status.over, status.killed, status.how) == (True, True, "killed")


def test_the_secret_is_what_is_no_fact() -> None:
    credential = Credential.read(SAMPLES["Delivered"])

    assert set(credential.secret) == {"host", "port", "dbname", "username", "password"}


def test_an_event_is_sent_as_the_sample_shows() -> None:
    sample = SAMPLES["Event"]

    assert Event.read(sample).content() == sample
    assert json.loads(Event.read(sample).line()) == sample


@pytest.mark.parametrize("sample", ["Asked", "Token", "Delivered"])
def test_no_secret_shows_in_a_repr(sample: str) -> None:
    read = {"Asked": Asked, "Token": Granted, "Delivered": Credential}[sample].read(SAMPLES[sample])

    assert "dbd_sample" not in repr(read)
    assert "dbs_sample" not in repr(read)
    assert "'sample'" not in repr(read)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("authorization_pending", Pending),
        ("slow_down", Pending),
        ("access_denied", Denied),
        ("expired_token", Lapsed),
        ("invalid_grant", Refused),
        ("something_new", Refused),
    ],
)
def test_each_oauth_error_has_its_exception(error: str, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        client(400, {**SAMPLES["OAuthError"], "error": error}).token("dbd_sample")


def test_a_problem_carries_its_code_and_sentence() -> None:
    with pytest.raises(Refused, match="Ask for a new one") as refused:
        client(409, SAMPLES["Problem"]).credentials("dbs_sample", "session")

    assert (refused.value.code, refused.value.status, refused.value.over) == ("session_killed", 409, True)


@pytest.mark.parametrize("answer", [httpx.Response(502, text="<html>"), httpx.Response(200, text="<html>")])
def test_what_is_not_drawbridge_is_unreachable(answer: httpx.Response) -> None:
    with pytest.raises(Unreachable):
        Client("http://drawbridge", httpx.MockTransport(lambda request: answer)).who_am_i("dbk_sample")
