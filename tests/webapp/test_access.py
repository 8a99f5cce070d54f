"""Every route is closed unless the table says who may use it."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from webapp.access import ACCESS, Who
from webapp.middleware import RequestLogMiddleware

# Routes of libraries that we include and do not use. They have no row, so nobody reaches them.
CLOSED = {
    "account_confirm_email",
    "account_confirm_login_code",
    "account_email",
    "account_email_verification_sent",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key",
    "account_reset_password_from_key_done",
    "account_set_password",
    "account_signup",
}
PATHS = {
    "account_confirm_email": "/accounts/confirm-email/x/",
    "account_reset_password_from_key": "/accounts/password/reset/key/1-x/",
}
SAMPLE = "00000000-0000-7000-8000-000000000000"


def routes(resolver: URLResolver, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            inner = ":".join(filter(None, (namespace, entry.namespace)))
            yield from routes(entry, inner)
        else:
            yield ":".join(filter(None, (namespace, entry.name or ""))), entry


ROUTES = dict(routes(get_resolver()))


def path_of(name: str) -> str:
    """A path of the route, with made-up arguments."""
    if name in PATHS:
        return PATHS[name]
    arguments = ROUTES[name].pattern.converters
    samples = {"UUIDConverter": SAMPLE, "IntConverter": 1}
    return reverse(name, kwargs={key: samples.get(type(value).__name__, "x") for key, value in arguments.items()})


def test_every_route_has_a_name() -> None:
    assert "" not in ROUTES


def test_every_route_has_a_row_in_the_access_table() -> None:
    assert set(ROUTES) - CLOSED - set(ACCESS) == set()


def test_the_access_table_has_no_row_without_a_route() -> None:
    assert set(ACCESS) - set(ROUTES) == set()


@pytest.mark.parametrize("name", sorted(name for name, who in ACCESS.items() if who is Who.PERSON))
@pytest.mark.django_db
def test_strangers_are_sent_to_sign_in(client: Client, name: str) -> None:
    answer = client.get(path_of(name))
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, reverse("account_login"))


@pytest.mark.parametrize("name", sorted(CLOSED))
@pytest.mark.django_db
def test_routes_without_a_row_do_not_exist(client: Client, name: str) -> None:
    assert client.get(path_of(name)).status_code == 404


@pytest.mark.django_db
def test_route_that_lost_its_row_is_closed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/healthz").status_code == 200
    monkeypatch.delitem(ACCESS, "healthz")
    assert client.get("/healthz").status_code == 404


def test_log_of_a_request_holds_no_query(rf) -> None:  # type: ignore[no-untyped-def]
    request = rf.get("/device", {"user_code": "BCDF-GHJK"})
    assert RequestLogMiddleware.format_request(request) == "GET /device"
