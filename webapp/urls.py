"""Every route. Who may use each stands in webapp/access.py; a route that is not there is closed."""

from django.urls import include, path

from webapp import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("", include("sessions.urls")),
]
