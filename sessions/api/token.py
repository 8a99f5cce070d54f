"""The token endpoint: RFC 8628's device grant, with RFC 6749's errors, and RFC 7240's wait for those who can."""

import json
import uuid
from typing import Any, Literal
from urllib.parse import parse_qs

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Router, Schema
from pydantic import ConfigDict, ValidationError

from audit.event import now
from sessions import lifecycle
from sessions.api import polling
from sessions.api.polling import Error, TokenRefused
from sessions.api.problems import Problem
from sessions.api.waiting import preferred_wait_s, until
from sessions.errors import StateConflict
from sessions.models import AgentSession
from sessions.threads import in_thread

router = Router(tags=["token"])

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


class TokenRequest(Schema):
    """RFC 8628, section 3.4. Unknown parameters are ignored, as RFC 6749 section 3.2 wants it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    grant_type: Literal["urn:ietf:params:oauth:grant-type:device_code"]
    device_code: str


class Token(Schema):
    """The session's bearer token, given out once, as soon as the session is approved.

    Its credentials are being made then: take them with `Prefer: wait=30` (RFC 6749, section 5.1; RFC 9396, section 7).
    """

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    authorization_details: list[dict[str, Any]]
    session_id: uuid.UUID
    grant_hash: str


class OAuthError(Schema):
    """RFC 6749, section 5.2."""

    error: Error
    error_description: str


_BODY = TokenRequest.model_json_schema()
DOCUMENT = {
    "requestBody": {
        "required": True,
        "content": {"application/x-www-form-urlencoded": {"schema": _BODY}, "application/json": {"schema": _BODY}},
    },
    "parameters": [
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "wait=30 holds the request until there is an answer, 60 seconds at most (RFC 7240).",
        }
    ],
}


@router.post(
    "/token",
    response={200: Token, 400: OAuthError, 413: Problem},
    url_name="token",
    operation_id="getToken",
    openapi_extra=DOCUMENT,
)
async def token(request: HttpRequest) -> HttpResponse:
    """Poll for the decision. A request that is held with `Prefer: wait=30` counts as one poll."""
    try:
        asked = read(request)
        return _success(await _token(asked.device_code, preferred_wait_s(request)))
    except TokenRefused as refused:
        return _error(refused)


async def _token(device_code: str, wait_s: int) -> Token:
    agent_session_id = await in_thread(polling.count)(device_code)
    look = in_thread(polling.standing_of)
    standing = await until(agent_session_id, wait_s, lambda: look(agent_session_id), polling.is_final)
    refused = polling.answer(standing)
    if refused is not None:
        raise refused
    return await in_thread(_give_out)(agent_session_id)


def _give_out(agent_session_id: uuid.UUID) -> Token:
    try:
        access_token = lifecycle.issue_session_token(agent_session_id)
    except StateConflict as error:
        refused = polling.answer(polling.standing_of(agent_session_id))
        raise refused or polling.UNKNOWN from error
    agent_session = AgentSession.objects.get(pk=agent_session_id)
    left_s = (agent_session.ends_at - now()).total_seconds() if agent_session.ends_at else agent_session.duration_s
    return Token(
        access_token=access_token,
        token_type="Bearer",  # noqa: S106
        expires_in=max(0, int(left_s)),
        authorization_details=agent_session.grant.content["authorization_details"],
        session_id=agent_session.id,
        grant_hash=agent_session.grant_hash,
    )


def read(request: HttpRequest) -> TokenRequest:
    """The parameters of a form or a JSON object. Raises TokenRefused; what was sent is not repeated."""
    try:
        sent = _parameters(request)
    except (ValueError, RecursionError) as error:
        raise TokenRefused(Error.INVALID_REQUEST, "Send the parameters as a form, or as a JSON object.") from error
    if sent.get("grant_type", GRANT_TYPE) != GRANT_TYPE:
        raise TokenRefused(Error.UNSUPPORTED_GRANT_TYPE, f"Only {GRANT_TYPE} is served here.")
    try:
        return TokenRequest.model_validate(sent)
    except ValidationError as error:
        names = sorted({str(one["loc"][0]) for one in error.errors(include_input=False, include_url=False)})
        raise TokenRefused(Error.INVALID_REQUEST, f"Missing or malformed: {', '.join(names)}.") from None


def _parameters(request: HttpRequest) -> dict[str, Any]:
    if request.content_type == "application/json":
        sent = json.loads(request.body)
        if not isinstance(sent, dict):
            raise ValueError("not an object")
        return sent
    pairs = parse_qs(request.body.decode(), keep_blank_values=True, max_num_fields=20)
    if any(len(values) > 1 for values in pairs.values()):
        raise ValueError("a parameter is repeated")
    return {name: values[0] for name, values in pairs.items()}


def _success(given: Token) -> HttpResponse:
    return JsonResponse(given.model_dump(mode="json"))


def _error(refused: TokenRefused) -> HttpResponse:
    return JsonResponse({"error": refused.error, "error_description": str(refused)}, status=400)
