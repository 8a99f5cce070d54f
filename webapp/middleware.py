"""The gate before every view: see webapp/access.py for the table that it reads."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.http.response import HttpResponseBase
from django_structlog.middlewares import RequestMiddleware

from webapp.access import ACCESS, Who


class RequestLogMiddleware(RequestMiddleware):
    """Logs requests by their path alone: what somebody searched for, or a code that they typed, is theirs."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {request.path}"


class AccessMiddleware:
    """Closes each route that the table does not open, and sends strangers to the sign-in page."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """What was shown to somebody who is signed in is not kept by their browser."""
        answer = self.get_response(request)
        match = request.resolver_match
        if match is not None and ACCESS.get(match.view_name) is Who.PERSON:
            answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        match = request.resolver_match
        who = ACCESS.get(match.view_name) if match else None
        if who is None:
            return HttpResponseNotFound("Not found.", content_type="text/plain")
        if who is Who.PERSON and not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return None
