"""Every route. Who may use each stands in webapp/access.py; a route that is not there is closed."""

from django.urls import include, path, re_path

from sessions.api import logs, problems
from sessions.api.application import PREFIX, api
from webapp import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path(PREFIX, api.urls),
    re_path(f"^{PREFIX}", problems.not_found, name="api_not_found"),
    path("v1/logs", logs.logs, name="otlp-logs"),
    path("", include("sessions.urls")),
]
