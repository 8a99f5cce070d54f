"""Errors of the API as problem details (RFC 9457): every answer that is not a success has a stable `code`."""

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NoReturn

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from psycopg_pool import PoolTimeout

from sessions.errors import Forbidden, Invalid, LifecycleError, StateConflict
from sessions.models.runs import AgentSession, EndReason, State

logger = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:drawbridge:problem:"


class Code(StrEnum):
    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    STATE_CONFLICT = "state_conflict"
    SESSION_ENDED = "session_ended"
    SESSION_KILLED = "session_killed"
    LENGTH_REQUIRED = "length_required"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


KINDS: dict[Code, tuple[HTTPStatus, str]] = {
    Code.MALFORMED: (HTTPStatus.BAD_REQUEST, "The request cannot be read"),
    Code.UNAUTHENTICATED: (HTTPStatus.UNAUTHORIZED, "No valid key or token was sent"),
    Code.FORBIDDEN: (HTTPStatus.FORBIDDEN, "This may not be done"),
    Code.NOT_FOUND: (HTTPStatus.NOT_FOUND, "There is nothing here"),
    Code.METHOD_NOT_ALLOWED: (HTTPStatus.METHOD_NOT_ALLOWED, "This method is not served here"),
    Code.STATE_CONFLICT: (HTTPStatus.CONFLICT, "The state does not allow it"),
    Code.SESSION_ENDED: (HTTPStatus.CONFLICT, "The session has ended"),
    Code.SESSION_KILLED: (HTTPStatus.CONFLICT, "The session was killed"),
    Code.LENGTH_REQUIRED: (HTTPStatus.LENGTH_REQUIRED, "The request must say its length"),
    Code.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large"),
    Code.INVALID: (HTTPStatus.UNPROCESSABLE_ENTITY, "What was asked for makes no sense"),
    Code.INTERNAL: (HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed"),
    Code.UNAVAILABLE: (HTTPStatus.SERVICE_UNAVAILABLE, "The server cannot do this now"),
}


class Fault(Schema):
    """One thing that is wrong, and where."""

    where: str
    what: str


class Problem(Schema):
    """RFC 9457. `code` is stable and meant for programs; `detail` is one sentence for people."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    errors: list[Fault] = []


class Refusal(Exception):
    """Ends a request with a problem."""

    def __init__(self, code: Code, detail: str, errors: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)


def response(refusal: Refusal) -> HttpResponse:
    status, title = KINDS[refusal.code]
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + refusal.code,
        "title": title,
        "status": int(status),
        "detail": refusal.detail,
        "code": refusal.code,
    }
    if refusal.errors:
        body["errors"] = [fault.model_dump() for fault in refusal.errors]
    answer = JsonResponse(body, status=status, content_type=MEDIA_TYPE)
    answer["Cache-Control"] = "no-store"
    if refusal.code is Code.UNAUTHENTICATED:
        answer["WWW-Authenticate"] = 'Bearer realm="drawbridge"'
    if refusal.code is Code.UNAVAILABLE:
        answer["Retry-After"] = "1"
    return answer


def not_found(request: HttpRequest) -> HttpResponse:
    """Whatever is no route of the API."""
    return response(Refusal(Code.NOT_FOUND, "This address is not part of the API. /api/v1/openapi.json lists what is."))


not_found.csrf_exempt = True  # type: ignore[attr-defined]


def refuse_over(agent_session: AgentSession) -> NoReturn:
    """The session is over: say how it ended."""
    if agent_session.killed_at:
        raise Refusal(Code.SESSION_KILLED, "The session was killed. Ask for a new one.")
    how = agent_session.end_reason or agent_session.state
    raise Refusal(Code.SESSION_ENDED, f"The session is over: {how}. Ask for a new one.")


def of_lifecycle(error: LifecycleError) -> Refusal:
    if isinstance(error, Invalid):
        faults = [Fault(where="body", what=problem) for problem in error.problems]
        return Refusal(Code.INVALID, str(error), faults)
    if isinstance(error, Forbidden):
        return Refusal(Code.FORBIDDEN, str(error))
    if isinstance(error, StateConflict):
        found = error.found
        if found in (State.ENDED, *EndReason):
            return Refusal(Code.SESSION_ENDED, "The session has ended. Ask for a new one.")
        return Refusal(Code.STATE_CONFLICT, f"This cannot be done now: it is {found}.")
    return Refusal(Code.STATE_CONFLICT, str(error))


def of_validation(error: ValidationError) -> Refusal:
    """What does not fit the schema. The values themselves are not repeated: they may be secret."""
    faults = [Fault(where=_where(one["loc"]), what=str(one["msg"])) for one in error.errors]
    return Refusal(Code.INVALID, "; ".join(f"{fault.where}: {fault.what}" for fault in faults)[:1000], faults)


def _where(location: Sequence[str | int]) -> str:
    """As the caller sees it: ninja puts the endpoint's own name of the body before the field."""
    source, *path = map(str, location)
    return ".".join(path[1:] if source == "body" and len(path) > 1 else path) or source


def of_http(error: HttpError) -> Refusal:
    codes = {int(status): code for code, (status, _) in KINDS.items()}
    return Refusal(codes.get(error.status_code, Code.MALFORMED), f"{error.message.rstrip('.')}.")


def install(api: NinjaAPI) -> None:
    """Turn each exception that an endpoint may raise into a problem."""

    def on_unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
        logger.exception("api_failed", path=request.path)
        return response(Refusal(Code.INTERNAL, "Something went wrong on our side. It was logged."))

    def on_unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
        logger.warning("api_unavailable", path=request.path, error=type(error).__name__)
        return response(Refusal(Code.UNAVAILABLE, "The database does not answer. Nothing was changed: try again."))

    no_key = Refusal(Code.UNAUTHENTICATED, "Send Authorization: Bearer with a live key or token.")
    too_big = Refusal(Code.TOO_LARGE, "The request is too large.")
    api.add_exception_handler(Exception, on_unexpected)
    api.add_exception_handler(DatabaseError, on_unavailable)
    api.add_exception_handler(PoolTimeout, on_unavailable)
    api.add_exception_handler(Refusal, lambda request, error: response(error))
    api.add_exception_handler(LifecycleError, lambda request, error: response(of_lifecycle(error)))
    api.add_exception_handler(ValidationError, lambda request, error: response(of_validation(error)))
    api.add_exception_handler(HttpError, lambda request, error: response(of_http(error)))
    api.add_exception_handler(AuthenticationError, lambda request, error: response(no_key))
    api.add_exception_handler(RequestDataTooBig, lambda request, error: response(too_big))
    api.add_exception_handler(Http404, lambda request, error: not_found(request))
