"""The samples that server and runner share are what the server's own document describes, and what it really sends."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest

from sessions.api.application import api
from sessions.api.events import DOCUMENT as EVENTS
from sessions.api.reports import Reporter
from tests import factories
from tests.gateway_actor import GatewayActor
from tests.serving import REPOSITORY, Agent, kill

SAMPLES: dict[str, Any] = json.loads((REPOSITORY / "tests/contract/api.json").read_text())
COMPONENTS = json.loads(json.dumps(api.get_openapi_schema()["components"], default=str))
BODIES = sorted(SAMPLES.keys() - {"Event"})


@pytest.mark.parametrize("name", BODIES)
def test_a_sample_is_as_the_document_says(name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": COMPONENTS}

    assert jsonschema_rs.validator_for(schema).is_valid(SAMPLES[name])


def test_the_sample_event_is_as_the_document_says_and_is_taken() -> None:
    schema = EVENTS["requestBody"]["content"]["application/json"]["schema"]
    at = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    event = Reporter(uuid.UUID(int=1), "person:1", "agent:1", at, None).event(SAMPLES["Event"], at)

    assert jsonschema_rs.validator_for(schema).is_valid({"events": [SAMPLES["Event"]]})
    assert {name: event.content()[name] for name in SAMPLES["Event"]} == SAMPLES["Event"]


def test_the_server_sends_the_fields_of_the_samples(agent: Agent) -> None:
    sent = {"Me": agent.http.get("/agent", headers={"Authorization": f"Bearer {agent.key}"}), "Asked": agent.ask()}
    sent["OAuthError"] = agent.poll()
    agent.begin()
    sent["Delivered"] = agent.post("/credentials")
    sent["Receipts"] = agent.report(None)
    kill(uuid.UUID(agent.session_id))
    sent["Session"], sent["Problem"] = agent.get(), agent.post("/credentials")
    made, token = factories.gateway()
    gateway, other = GatewayActor(agent.http, made.name, token), Agent(agent.http, agent.key).begin()
    sent["Leased"], sent["Passage"] = gateway.renew({}), gateway.fetch(other.session_id)

    for name, answer in sent.items():
        body = answer.json()[0] if name == "Delivered" else answer.json()
        assert body.keys() == SAMPLES[name].keys(), name
