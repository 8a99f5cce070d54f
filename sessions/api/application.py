"""The API as one application: its routes, its errors, its document."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from sessions.api import (
    additions,
    asking,
    credentials,
    events,
    gateways,
    problems,
    standing,
    token,
    verifications,
)
from sessions.api.problems import MEDIA_TYPE, Code, Refusal

PREFIX = "api/v1/"
DESCRIPTION = (
    "Drawbridge for agents: ask for a session, learn of the decision, take short-lived credentials, report what was "
    "done, end. Errors are problem details (RFC 9457) with a stable code; the token endpoint's are those of RFC 6749."
)

View = Callable[..., Awaitable[HttpResponseBase]]


class AgentApi(NinjaAPI):
    """What ninja leaves open: problems for wrong methods, and problems in the document."""

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        patterns = [one for one in super()._get_urls() if isinstance(one, URLPattern) and one.name != "api-root"]
        for pattern in patterns:
            if pattern.name != "openapi-json":
                pattern.callback = guarded(pattern.callback)
        return [*patterns]

    def get_root_path(self, path_params: dict[str, Any]) -> str:
        return f"/{PREFIX}"

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        document = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        for path in document["paths"].values():
            for operation in path.values():
                for answer in operation["responses"].values():
                    _as_problem(answer)
        return document


def _as_problem(answer: dict[str, Any]) -> None:
    described = answer.get("content", {}).get("application/json")
    if described and described["schema"].get("$ref", "").endswith("/Problem"):
        answer["content"] = {MEDIA_TYPE: described}


def guarded(view: View) -> View:
    """A wrong method is a problem too, and nothing may be cached."""

    @wraps(view)
    async def guard(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer = await view(request, *args, **kwargs)
        if answer.status_code == 405:
            return _not_allowed(answer)
        answer["Cache-Control"] = "no-store"
        return answer

    return guard


def _not_allowed(answer: HttpResponseBase) -> HttpResponse:
    refused = problems.response(Refusal(Code.METHOD_NOT_ALLOWED, f"Use {answer['Allow']}."))
    refused["Allow"] = answer["Allow"]
    return refused


def build() -> AgentApi:
    api = AgentApi(title="Drawbridge", version="1", description=DESCRIPTION, urls_namespace="api-v1", docs_url=None)
    problems.install(api)
    for module in (asking, token, standing, credentials, additions, events, verifications):
        api.add_router("", module.router)
    api.add_router("/gateways", gateways.router)
    return api


api = build()
