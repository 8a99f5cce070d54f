"""OpenBao's HTTP API as far as we need it, logged in as the control plane.

Every failure is a CredentialError whose text holds nothing that OpenBao was sent.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

import hvac
import requests
from hvac import exceptions

from sessions.providers.contract import CredentialError

SESSION_ROLE = "drawbridge-session"
# A log-in is renewed by a new one after this share of its life.
USED_SHARE = 0.5
SQL_ERROR = re.compile(r"ERROR: ([^\n]{1,160}?) \(SQLSTATE (\w{5})\)")
# Syntax errors, unknown tables, missing rights, a role that exists already: no later try would end differently.
HOPELESS_SQL = "42"
UNREACHABLE_DATABASE = "failed to connect to"
# Kubernetes lets nobody give rights that they do not have themselves.
FORBIDDEN_BY_KUBERNETES = " is forbidden: "
TRANSIENT = (
    exceptions.VaultDown,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.RateLimitExceeded,
    exceptions.UnexpectedError,
)
Json = Mapping[str, Any]
Answer = TypeVar("Answer")


class Adapter(hvac.adapters.JSONAdapter):  # type: ignore[misc]
    """What is not OpenBao's own JSON, nor empty, is no answer: a page of a proxy in between proves nothing."""

    def request(self, *arguments: Any, **parts: Any) -> Any:
        answer = super().request(*arguments, **parts)
        empty = isinstance(answer, requests.Response) and answer.status_code == HTTPStatus.NO_CONTENT
        if not empty and not (isinstance(answer, dict) and "request_id" in answer):
            raise exceptions.UnexpectedError("not understood")
        return answer


class OpenBaoApi:
    """One per process. Each thread has its own connection and its own log-in."""

    def __init__(self, address: str, role_id: str, secret_id: str, timeout_s: float) -> None:
        self.address = address
        self._login = {"role_id": role_id, "secret_id": secret_id}
        self._timeout_s = timeout_s
        self._local = threading.local()

    def write_database_role(self, mount: str, name: str, fields: Json) -> None:
        self._call("make the database role", lambda bao: post(bao, f"{mount}/roles/{name}", fields))

    def write(self, path: str, fields: Json) -> None:
        self._call("make the role", lambda bao: post(bao, path, fields))

    def read(self, path: str) -> Json:
        answer: Json = self._call("read", lambda bao: bao.adapter.get(f"/v1/{path}"))
        data: Json = answer["data"]
        return data

    def write_policy(self, name: str, policy: str) -> None:
        self._call("write the policy", lambda bao: post(bao, f"sys/policies/acl/{name}", {"policy": policy}))

    def create_token(self, fields: Json) -> Json:
        """An orphan, through the token role. Returns OpenBao's `auth` object."""
        answer = self._call("make the token", lambda bao: post(bao, f"auth/token/create/{SESSION_ROLE}", fields))
        auth: Json = answer["auth"]
        return auth

    def generate(self, path: str, token: str, fields: Json | None = None) -> Json:
        """What an engine makes at a path, leased to `token`. Returns OpenBao's whole answer."""

        def ask(bao: hvac.Client) -> Json:
            session = self._client_of(token, bao.session)
            answer: Json = session.adapter.get(f"/v1/{path}") if fields is None else post(session, path, fields)
            return answer

        return self._call("make the credential", ask)

    def accepts(self, token: str) -> bool:
        """Whether a token may look at itself, by OpenBao's own word."""

        def ask(bao: hvac.Client) -> bool:
            session = self._client_of(token, bao.session)
            try:
                session.adapter.get("/v1/auth/token/lookup-self")
            except exceptions.Forbidden as error:
                if any("permission denied" in said for said in error.errors or ()):
                    return False
                raise
            return True

        return self._call("try the token", ask)

    def leases(self, mount: str, name: str) -> Sequence[str]:
        """The ids of the leases that live under a database role."""
        return self.leases_under(f"{mount}/creds/{name}")

    def leases_under(self, path: str) -> Sequence[str]:
        """The ids of the leases that were made at a path."""
        prefix = f"{path}/"

        def read(bao: hvac.Client) -> Sequence[str]:
            try:
                return [prefix + key for key in listed(bao, f"sys/leases/lookup/{prefix}")]
            except exceptions.InvalidPath as error:
                if is_absence(error):
                    return []
                raise

        return self._call("list the leases", read)

    def revoke_lease(self, lease_id: str) -> None:
        """Returns when the credential is gone; a lease that is gone already is no error."""
        fields = {"lease_id": lease_id, "sync": True}
        self._call("revoke the lease", lambda bao: post(bao, "sys/leases/revoke", fields))

    def revoke_token(self, accessor: str) -> bool:
        """Whether there was such a token. Its leases go with it, a little later."""
        answer = self._accessor_call("revoke the token", "auth/token/revoke-accessor", accessor)
        return answer is not None and not answer.get("warnings")

    def token_of(self, accessor: str) -> Json | None:
        """What OpenBao knows of a token; None where it answers that there is none."""
        answer = self._accessor_call("look up the token", "auth/token/lookup-accessor", accessor)
        return None if answer is None else answer["data"]

    def accessors(self) -> Sequence[str]:
        return self._call("list the tokens", lambda bao: listed(bao, "auth/token/accessors"))

    def read_secret(self, mount: str, name: str) -> tuple[Json, Json]:
        """The newest version of a secret of a KV engine (version 2), and its metadata: `version`, `created_time`."""
        found = self._of_secret("read the secret", mount, "data", name)
        return found["data"], found["metadata"]

    def secret_since(self, mount: str, name: str) -> datetime:
        """When the newest version of a secret of a KV engine (version 2) was written; the secret itself is not read."""
        metadata = self._of_secret("ask for the secret's age", mount, "metadata", name)
        try:
            return datetime.fromisoformat(metadata["versions"][str(metadata["current_version"])]["created_time"])
        except (KeyError, TypeError, ValueError) as error:
            raise CredentialError("OpenBao does not say how old the secret is.") from error

    def _of_secret(self, purpose: str, mount: str, part: str, name: str) -> Json:
        def read(bao: hvac.Client) -> Json | None:
            try:
                answer: Json = bao.adapter.get(f"/v1/{mount}/{part}/{name}")
            except exceptions.InvalidPath:
                return None
            return answer

        answer = self._call(purpose, read)
        if answer is None:
            raise CredentialError(f"OpenBao has no secret {name} under {mount}.", permanent=True, untouched=True)
        data: Json = answer["data"]
        return data

    def exists(self, path: str) -> bool:
        def read(bao: hvac.Client) -> bool:
            try:
                bao.adapter.get(f"/v1/{path}")
            except exceptions.InvalidPath as error:
                if is_absence(error):
                    return False
                raise
            return True

        return self._call("read the policy", read)

    def delete(self, path: str) -> None:
        """Deleting what is not there is no error."""
        self._call("clean up", lambda bao: bao.adapter.delete(f"/v1/{path}"))

    def _accessor_call(self, purpose: str, path: str, accessor: str) -> Json | None:
        def ask(bao: hvac.Client) -> Json | None:
            try:
                answer = post(bao, path, {"accessor": accessor})
            except (exceptions.InvalidRequest, exceptions.InvalidPath, exceptions.Forbidden) as error:
                # A refusal of our own log-in must never pass as proof that theirs is dead.
                if speaks_of_accessor(error):
                    return None
                raise
            return answer if isinstance(answer, dict) else {}

        return self._call(purpose, ask)

    def _call(self, purpose: str, ask: Callable[[hvac.Client], Answer]) -> Answer:
        """Ask; where our log-in has ended early, log in anew and ask once more."""
        try:
            try:
                return ask(self._client())
            except exceptions.Forbidden:
                self._local.ends = 0.0
                return ask(self._client())
        except (exceptions.VaultError, requests.RequestException) as error:
            raise credential_error(purpose, error) from None

    def _client(self) -> hvac.Client:
        if time.monotonic() < getattr(self._local, "ends", 0.0):
            client: hvac.Client = self._local.client
            return client
        if not hasattr(self._local, "client"):
            self._local.client = self._client_of(None, None)
        began = time.monotonic()
        answer = self._local.client.auth.approle.login(**self._login)
        self._local.ends = began + answer["auth"]["lease_duration"] * USED_SHARE
        return self._client()

    def _client_of(self, token: str | None, session: requests.Session | None) -> hvac.Client:
        return hvac.Client(self.address, token, timeout=self._timeout_s, session=session, adapter=Adapter)


def rule(path: str, *capabilities: str) -> str:
    """A rule of a policy, in HCL."""
    words = ", ".join(f'"{each}"' for each in capabilities)
    return f'path "{path}" {{\n  capabilities = [{words}]\n}}\n'


def post(bao: hvac.Client, path: str, fields: Json) -> Any:
    """hvac's own methods lack `sync` and parts of token creation."""
    return bao.adapter.post(f"/v1/{path}", json=dict(fields))


def listed(bao: hvac.Client, path: str) -> list[str]:
    keys: list[str] = bao.adapter.list(f"/v1/{path}")["data"]["keys"]
    return keys


def speaks_of_accessor(error: exceptions.VaultError) -> bool:
    """OpenBao's own words, out of its own JSON. What a proxy before it says proves nothing."""
    return any("invalid accessor" in said for said in error.errors or ())


def is_absence(error: exceptions.InvalidPath) -> bool:
    """OpenBao says that there is nothing at a path by an empty list of errors; others say 404 in other words."""
    return bool(error.errors == [])


def credential_error(purpose: str, error: Exception) -> CredentialError:
    """What went wrong, in our words: OpenBao's own may quote a statement or a path that nobody needs to read."""
    if isinstance(error, requests.RequestException):
        return CredentialError(f"OpenBao does not answer: we could not {purpose}.", silent=True)
    if UNREACHABLE_DATABASE in str(error):
        return CredentialError(f"OpenBao cannot reach the database: we could not {purpose}.")
    if FORBIDDEN_BY_KUBERNETES in str(error):
        said = "Kubernetes forbids that to the account that OpenBao has there (docs/openbao.md)"
        return CredentialError(f"{said}: we could not {purpose}.", permanent=True)
    found = SQL_ERROR.search(str(error))
    if found:
        said = f"PostgreSQL refused: {found[1]} ({found[2]}). We could not {purpose}."
        return CredentialError(said, permanent=found[2].startswith(HOPELESS_SQL))
    if isinstance(error, exceptions.VaultDown):
        return CredentialError(f"OpenBao is sealed or starting: we could not {purpose}.")
    if isinstance(error, TRANSIENT):
        return CredentialError(f"OpenBao failed ({type(error).__name__}): we could not {purpose}.")
    return CredentialError(f"OpenBao refused ({type(error).__name__}): we could not {purpose}.", permanent=True)
