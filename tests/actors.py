"""Those who use a running Drawbridge over HTTP: an agent with its key, and a person in a browser without JavaScript."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from sessions.models import Person

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PATIENCE_S = 60.0


class Patient(httpx.HTTPTransport):
    """Tries again while the server is away, as an agent must. Only for requests that may be sent twice."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        ends = time.monotonic() + PATIENCE_S
        while True:
            began = time.monotonic()
            try:
                answer = super().handle_request(request)
                answer.read()
            except httpx.TransportError:
                if time.monotonic() > ends:
                    raise
                if time.monotonic() - began > 1:
                    # It was answered to, and held, before the server went away.
                    ends = time.monotonic() + PATIENCE_S
                time.sleep(0.1)
            else:
                return answer


@dataclass
class AgentActor:
    """An agent: asks, waits, takes its credential, works, reports."""

    url: str
    key: str
    http: httpx.Client = field(init=False)
    session: dict[str, Any] = field(init=False, default_factory=dict)
    token: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=f"{self.url}/api/v1", timeout=70, transport=Patient())

    def close(self) -> None:
        self.http.close()

    def request(self, purpose: str = "Find late shipments", **asked: Any) -> dict[str, Any]:
        body = {"profile": "warehouse-orders", "purpose": purpose, **asked}
        answer = self.http.post("/sessions", json=body, headers={"Authorization": f"Bearer {self.key}"})
        answer.raise_for_status()
        self.session = answer.json()
        return self.session

    def wait_for_token(self, wait_s: int = 30) -> httpx.Response:
        """One long poll of the token endpoint."""
        form = {"grant_type": DEVICE_GRANT, "device_code": self.session["device_code"]}
        answer = self.http.post("/token", data=form, headers={"Prefer": f"wait={wait_s}"})
        if answer.is_success:
            self.token = answer.json()["access_token"]
        return answer

    def credentials(self, wait_s: int = 30) -> httpx.Response:
        return self._post("credentials", headers={"Prefer": f"wait={wait_s}"})

    def report(self, events: list[dict[str, Any]]) -> httpx.Response:
        return self.http.post("/events", json={"events": events}, headers={"Authorization": f"Bearer {self.token}"})

    def end(self, **said: Any) -> httpx.Response:
        return self._post("end", json=said)

    def _post(self, what: str, headers: dict[str, str] | None = None, **content: Any) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {self.token}"}
        return self.http.post(
            f"/sessions/{self.session['session_id']}/{what}", headers={**bearer, **(headers or {})}, **content
        )


@dataclass
class PersonActor:
    """A signed-in person who posts forms."""

    url: str
    person: Person
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, timeout=30, transport=Patient())
        self.http.cookies.set("drawbridge", signed_in(self.person))
        self.http.get("/").raise_for_status()

    def close(self) -> None:
        self.http.close()

    def approve(self, session: dict[str, Any]) -> httpx.Response:
        return self._post(f"/sessions/{session['session_id']}/approve", grant_hash=session["grant_hash"])

    def kill(self, session_id: str) -> httpx.Response:
        return self._post(f"/sessions/{session_id}/kill")

    def _post(self, path: str, **form: str) -> httpx.Response:
        token = self.http.cookies["csrftoken"]
        return self.http.post(path, data={**form, "csrfmiddlewaretoken": token}, headers={"Referer": self.url})


def signed_in(person: Person) -> str:
    """The cookie of a fresh sign-in of this person."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    store = SessionStore()
    store[SESSION_KEY] = str(person.pk)
    store[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    store[HASH_SESSION_KEY] = person.get_session_auth_hash()
    store.create()
    assert store.session_key is not None
    return store.session_key


def connect(secret: Mapping[str, Any]) -> psycopg.Connection[Any]:
    """Log in to PostgreSQL with a delivered credential."""
    return psycopg.connect(
        host=secret["host"],
        port=secret["port"],
        dbname=secret["dbname"],
        user=secret["username"],
        password=secret["password"],
        autocommit=True,
        connect_timeout=5,
    )
