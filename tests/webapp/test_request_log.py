"""What the log says of a request: never what somebody searched for, and never a code out of an address."""

import pytest
from django.test import Client
from structlog.testing import capture_logs

from tests.factories import world

PATHS = ["/sessions/?q=canary", "/device?user_code=canary", "/nowhere?canary", "/api/v1/nowhere?canary"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_log_of_a_request_has_its_path_without_the_query(path: str) -> None:
    with capture_logs() as lines:
        Client().get(path)
    assert {line["request"] for line in lines if "request" in line} <= {f"GET {path.partition('?')[0]}"}
    assert "canary" not in str(lines)


@pytest.mark.django_db
def test_log_of_a_failure_has_no_query(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("sessions.views.session_list.render_session_rows", broken)
    client = Client(raise_request_exception=False)
    client.force_login(world().lead, "allauth.account.auth_backends.AuthenticationBackend")
    with capture_logs() as lines:
        assert client.get("/sessions/?q=canary").status_code == 500
    assert [line["request"] for line in lines if line["event"] == "request_failed"] == ["GET /sessions/"]
