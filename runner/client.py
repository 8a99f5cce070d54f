"""The control plane's API. Every failure is a RunnerError; none of them repeats a key or a token."""

import gzip
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from runner.errors import Busy, Denied, Lapsed, Refused, Unreachable
from runner.shapes import Asked, Credential, CredentialFacts, Granted, Me, More, Receipt, Status

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CONNECT_S, ANSWER_S = 5.0, 20.0
# How long a busy server is left alone if it does not say, and at most.
WAIT_S, LONGEST_WAIT_S = 5.0, 300.0


class Pending(Exception):
    """Nobody has decided yet. `slow_down`: polls come too often, add five seconds to the interval (RFC 8628)."""

    def __init__(self, *, slow_down: bool) -> None:
        super().__init__("pending")
        self.slow_down = slow_down


class Client:
    """One control plane. Safe to use from several threads."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            transport=transport,
            headers={"User-Agent": "drawbridge-runner"},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
        )

    def close(self) -> None:
        self._http.close()

    def who_am_i(self, key: str) -> Me:
        return Me.read(self._call("GET", "/agent", key))

    def ask(
        self,
        key: str,
        profile: str,
        purpose: str,
        duration_s: int | None = None,
        details: Sequence[Mapping[str, Any]] | None = None,
    ) -> Asked:
        asked: dict[str, Any] = {"profile": profile, "purpose": purpose}
        if duration_s is not None:
            asked["duration"] = duration_s
        if details is not None:
            asked["authorization_details"] = [dict(one) for one in details]
        return Asked.read(self._call("POST", "/sessions", key, json=asked))

    def token(self, device_code: str, wait_s: int = 30) -> Granted:
        """The session's token. Raises Pending, Denied or Lapsed."""
        form = {"grant_type": DEVICE_GRANT, "device_code": device_code}
        answer = self._send("POST", "/token", None, wait_s, data=form)
        if answer.is_success:
            return Granted.read(answer.json())
        refusal = _object(answer)
        error, why = refusal.get("error"), str(refusal.get("error_description", ""))
        if error in ("authorization_pending", "slow_down"):
            raise Pending(slow_down=error == "slow_down")
        if error == "access_denied":
            raise Denied(why)
        if error == "expired_token":
            raise Lapsed(why)
        raise _refused(answer)

    def status(self, token: str, session_id: str, known: str | None = None, wait_s: int = 0) -> Status:
        """How it stands; with `wait_s`, as soon as its state is not `known` any more."""
        query = {"wait": str(wait_s), **({"state": known} if known else {})} if wait_s else {}
        return Status.read(self._call("GET", f"/sessions/{session_id}", token, wait_s, params=query))

    def credentials(self, token: str, session_id: str, wait_s: int = 0) -> list[Credential]:
        """What was not handed over before: each credential comes once."""
        raw = self._call("POST", f"/sessions/{session_id}/credentials", token, wait_s)
        return [Credential.read(one) for one in raw]

    def replace(self, token: str, session_id: str, credential_id: str) -> CredentialFacts:
        """Say that a credential was lost, and have its successor made."""
        return CredentialFacts.read(
            self._call("POST", f"/sessions/{session_id}/credentials/{credential_id}/replace", token)
        )

    def report(self, token: str, lines: Sequence[bytes]) -> list[Receipt]:
        """Events of the token's session, each a line of JSON with its end. One receipt for each, in their order."""
        body, headers = b"".join(lines), {"Content-Type": "application/x-ndjson"}
        packed = gzip.compress(body, compresslevel=5, mtime=0)
        if len(packed) < len(body):
            body, headers["Content-Encoding"] = packed, "gzip"
        raw = self._call("POST", "/events", token, content=body, headers=headers)
        try:
            receipts = [Receipt.read(one) for one in raw["events"]]
        except (KeyError, TypeError) as error:
            raise Unreachable(f"{self.url} answered something else than receipts.") from error
        if len(receipts) != len(lines):
            raise Unreachable(f"{self.url} answered for {len(receipts)} of {len(lines)} events.")
        return receipts

    def ask_more(self, token: str, session_id: str, details: Sequence[Mapping[str, Any]], reason: str, s: int) -> More:
        """More egress for a session that runs, for so many seconds."""
        asked = {"authorization_details": [dict(one) for one in details], "reason": reason, "duration": s}
        return More.read(self._call("POST", f"/sessions/{session_id}/additions", token, json=asked))

    def more(self, token: str, session_id: str, number: int, wait_s: int = 0) -> More:
        """What became of it; with `wait_s`, as soon as it is decided."""
        query = {"wait": str(wait_s)} if wait_s else {}
        return More.read(self._call("GET", f"/sessions/{session_id}/additions/{number}", token, wait_s, params=query))

    def end(self, token: str, session_id: str, exit_code: int | None = None, summary: str | None = None) -> Status:
        said = {"exit_code": exit_code, "summary": summary}
        body = {name: value for name, value in said.items() if value is not None}
        return Status.read(self._call("POST", f"/sessions/{session_id}/end", token, json=body))

    def report_verification(self, key: str, content: Mapping[str, Any]) -> None:
        """What the probes said of the sandbox in which this agent works."""
        self._call("POST", "/agent/verifications", key, json=dict(content))

    def withdraw(self, key: str, session_id: str) -> Status:
        return Status.read(self._call("POST", f"/sessions/{session_id}/withdraw", key))

    def _call(self, method: str, path: str, bearer: str, wait_s: int = 0, **parts: Any) -> Any:
        answer = self._send(method, path, bearer, wait_s, **parts)
        if not answer.is_success:
            raise _refused(answer)
        return _json(answer)

    def _send(self, method: str, path: str, bearer: str | None, wait_s: int, **parts: Any) -> httpx.Response:
        headers = {**parts.pop("headers", {}), **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
        if wait_s and method == "POST":
            headers["Prefer"] = f"wait={wait_s}"
        patience = httpx.Timeout(ANSWER_S + wait_s, connect=CONNECT_S)
        try:
            answer = self._http.request(method, path, headers=headers, timeout=patience, **parts)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.url} does not answer: {error or type(error).__name__}.") from error
        except httpx.InvalidURL as error:
            raise Unreachable(f"{self.url} is not an address: {error}.") from error
        if answer.status_code == 429 or (answer.status_code == 503 and "Retry-After" in answer.headers):
            pause_s = _retry_after_s(answer.headers.get("Retry-After", ""), datetime.now(UTC))
            raise Busy(f"{self.url} is busy. Try again in {pause_s:.0f} seconds.", wait_s=pause_s)
        if answer.status_code >= 500:
            raise Unreachable(f"{self.url} failed with {answer.status_code}. Try again soon.")
        return answer


def _retry_after_s(said: str, now: datetime) -> float:
    """Seconds, or the time when (RFC 9110, section 10.2.3)."""
    wait_s = WAIT_S
    if said.isascii() and said.isdecimal():
        wait_s = float(said[:9])
    else:
        with suppress(ValueError, TypeError):
            wait_s = (parsedate_to_datetime(said) - now).total_seconds()
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _refused(answer: httpx.Response) -> Refused:
    problem = _object(answer)
    why = problem.get("detail") or problem.get("error_description") or f"The server answered {answer.status_code}."
    code = problem.get("code") or problem.get("error") or "unknown"
    return Refused(str(why), status=answer.status_code, code=str(code))


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise Unreachable(f"{answer.url} is not Drawbridge: it answered something else than JSON.") from error
