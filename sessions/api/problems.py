"""Errors of the API as problem details (RFC 9457): every answer that is not a success has a stable `code`."""

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NoReturn

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from psycopg.errors import DiskFull
from psycopg_pool import PoolTimeout

from audit import health
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
    GONE = "gone"
    SESSION_ENDED = "session_ended"
    SESSION_KILLED = "session_killed"
    LENGTH_REQUIRED = "length_required"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    BUSY = "busy"
    UNSUPPORTED = "unsupported_media_type"


KINDS: dict[Code, tuple[HTTPStatus, str]] = {
    Code.MALFORMED: (HTTPStatus.BAD_REQUEST, "The request cannot be read"),
    Code.UNAUTHENTICATED: (HTTPStatus.UNAUTHORIZED, "No valid key or token was sent"),
    Code.FORBIDDEN: (HTTPStatus.FORBIDDEN, "This may not be done"),
    Code.NOT_FOUND: (HTTPStatus.NOT_FOUND, "There is nothing here"),
    Code.METHOD_NOT_ALLOWED: (HTTPStatus.METHOD_NOT_ALLOWED, "This method is not served here"),
    Code.STATE_CONFLICT: (HTTPStatus.CONFLICT, "The state does not allow it"),
    Code.GONE: (HTTPStatus.GONE, "Nothing passes for this session"),
    Code.SESSION_ENDED: (HTTPStatus.CONFLICT, "The session has ended"),
    Code.SESSION_KILLED: (HTTPStatus.CONFLICT, "The session was killed"),
    Code.LENGTH_REQUIRED: (HTTPStatus.LENGTH_REQUIRED, "The request must say its length"),
    Code.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large"),
    Code.INVALID: (HTTPStatus.UNPROCESSABLE_ENTITY, "What was asked for makes no sense"),
    Code.INTERNAL: (HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed"),
    Code.UNAVAILABLE: (HTTPStatus.SERVICE_UNAVAILABLE, "The server cannot do this now"),
    Code.BUSY: (HTTPStatus.TOO_MANY_REQUESTS, "The server takes no more at this moment"),
    Code.UNSUPPORTED: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "This kind of body is not taken"),
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
    if refusal.code in (Code.UNAVAILABLE, Code.BUSY):
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


def of_error(error: object, path: str) -> Refusal:
    """The problem that an exception is told as. What nobody expected is logged, and says nothing of itself."""
    match error:
        case Refusal():
            return error
        case LifecycleError():
            return of_lifecycle(error)
        case ValidationError():
            return of_validation(error)
        case AuthenticationError():
            return Refusal(Code.UNAUTHENTICATED, "Send Authorization: Bearer with a live key or token.")
        case HttpError():
            return of_http(error)
        case Http404():
            return Refusal(Code.NOT_FOUND, "There is nothing here.")
        case RequestDataTooBig():
            return Refusal(Code.TOO_LARGE, "The request is too large.")
        case OperationalError() | InterfaceError() | PoolTimeout():
            logger.warning("api_unavailable", path=path, error=type(error).__name__)
            if isinstance(error, OperationalError) and isinstance(error.__cause__, DiskFull):
                health.unwritten(error)
            return Refusal(Code.UNAVAILABLE, "The database does not answer. Nothing was changed: try again.")
    logger.error("api_failed", path=path, exc_info=error)
    return Refusal(Code.INTERNAL, "Something went wrong on our side. It was logged.")


def install(api: NinjaAPI) -> None:
    """Turn each exception that an endpoint may raise into a problem."""

    def answer(request: HttpRequest, error: object) -> HttpResponse:
        return response(of_error(error, request.path))

    # Those for which ninja has handlers of its own, and everything else.
    for kind in (Http404, HttpError, ValidationError, Exception):
        api.add_exception_handler(kind, answer)
