"""What exceptions are told as: a stable code, and nothing of what they hold."""

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, OperationalError
from django.http import Http404
from ninja.errors import AuthenticationError, HttpError
from psycopg_pool import PoolTimeout

from sessions.api.problems import KINDS, Code, Refusal, of_error, response
from sessions.errors import Forbidden, Invalid, StateConflict


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refusal(Code.TOO_LARGE, "x"), Code.TOO_LARGE),
        (Invalid(["x"]), Code.INVALID),
        (Forbidden("x"), Code.FORBIDDEN),
        (StateConflict("session", expected=["active"], found="ended"), Code.SESSION_ENDED),
        (StateConflict("credential", expected=["issued"], found="revoking"), Code.STATE_CONFLICT),
        (AuthenticationError(), Code.UNAUTHENTICATED),
        (HttpError(400, "x"), Code.MALFORMED),
        (Http404(), Code.NOT_FOUND),
        (RequestDataTooBig(), Code.TOO_LARGE),
        (OperationalError("password=hidden"), Code.UNAVAILABLE),
        (IntegrityError("hidden"), Code.INTERNAL),
        (PoolTimeout("hidden"), Code.UNAVAILABLE),
        (KeyError("hidden"), Code.INTERNAL),
    ],
)
def test_each_exception_has_its_code_and_hides_what_it_holds(error: Exception, code: Code) -> None:
    refusal = of_error(error, "/api/v1/x")

    assert refusal.code == code
    assert b"hidden" not in response(refusal).content


@pytest.mark.parametrize("code", Code)
def test_each_code_has_a_status_and_a_title(code: Code) -> None:
    answer = response(Refusal(code, "Why."))

    assert answer.status_code == KINDS[code][0]
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Cache-Control"] == "no-store"
