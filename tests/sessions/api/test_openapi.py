"""The document is served, describes every route with its problems, and the server keeps to it."""

import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sessions.api.application import api
from tests import factories
from tests.serving import Agent

EXAMPLES = 30
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT = json.loads(json.dumps(api.get_openapi_schema(), default=str))
OPERATIONS = {
    operation["operationId"]: (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
# It answers for as long as the gateway listens.
ENDLESS = {"hearOfSessions"}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_the_document_is_served_to_anybody(http: httpx.Client) -> None:
    answer = http.get("/openapi.json")

    assert answer.status_code == 200
    assert answer.json() == DOCUMENT


def test_the_document_is_valid() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_route_of_the_api_is_in_the_document() -> None:
    named = {pattern.name for pattern in api.urls[0]} - {"openapi-json"}

    assert len(OPERATIONS) == len(named)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_route_documents_its_problems(name: str) -> None:
    _, method, operation = OPERATIONS[name]
    problems = {status: one["content"] for status, one in operation["responses"].items() if int(status) >= 400}

    assert problems
    assert operation["description"]
    assert ("401" in problems) == ("security" in operation)
    assert ("413" in problems) == ("requestBody" in operation)
    oauth = {"400"} if name == "getToken" else set()
    assert all(content == PROBLEM for status, content in problems.items() if status not in oauth)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - ENDLESS))
def test_the_server_keeps_to_the_document(name: str, server: str, agent: Agent) -> None:
    path, method, _ = OPERATIONS[name]
    agent.begin()
    keyed = name in ("whoAmI", "askForSession", "withdrawRequest")
    token = agent.key if keyed else agent.token
    if path.startswith("/api/v1/gateways/"):
        _, token = factories.gateway()
    headers = {"Authorization": f"Bearer {token}"}
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]

    @given(case=operation.as_strategy(), mine=st.booleans())
    @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def keeps(case: Any, mine: bool) -> None:
        if mine and "session_id" in case.path_parameters:
            case.path_parameters["session_id"] = agent.session_id
        if "wait" in (case.query or {}):
            case.query["wait"] = 0
        case.call_and_validate(base_url=server, headers=headers, checks=CHECKS)

    keeps()
