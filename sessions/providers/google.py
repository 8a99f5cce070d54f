"""Google Cloud: an access token of a service account, impersonated through the IAM Credentials API, for the scopes that
were approved. Google's own library signs in and asks; what goes over the wire goes through our client.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "google", "locations": ["google:reports"],     "google-injected": gateways add the token, agents have none
     "actions": ["https://www.googleapis.com/auth/devstorage.read_only"]}             slot "google:reports"

Google takes no such token back: one that was handed over dies by itself, one that only gateways have ends with them.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from google.auth import identity_pool, impersonated_credentials
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account

from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.static import Passing, gateways_cut
from sessions.providers.waiting import retry_after_s
from sessions.providers.wording import listed, shown

DELIVERED, INJECTED = "google", "google-injected"
FIELDS = {"type", "locations", "actions"}
LOCATION = re.compile(r"google:([a-z][a-z0-9_-]{0,50})", re.ASCII)
MOST_SCOPES = 30
# Without an exception in the organization's policies no such token lives longer (Google's documentation).
LONGEST_S = 3_600
# What Google's answer may take: its token may be that much older or younger than its word.
SLACK_S = 60
PASSING = {"UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "temporarily_unavailable"}
SOURCES: Mapping[str, Callable[..., Any]] = {
    "service_account": service_account.Credentials.from_service_account_info,
    "external_account": identity_pool.Credentials.from_info,
}
ITS_END = "It dies by itself: Google takes no such token back."


@dataclass(frozen=True)
class Account:
    """One entry of GOOGLE_ACCOUNTS. `scopes` are those that can be asked for, each in plain words.

    `credentials_file` is how the worker signs in: workload identity federation, or the key of a service account.
    """

    service_account: str
    credentials_file: str = field(repr=False)
    scopes: Mapping[str, str]
    api: str = "https://iamcredentials.googleapis.com"

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Account":
        return cls(**{str(name): value for name, value in entry.items()})


@dataclass(frozen=True)
class Answer:
    """As Google's library reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


class Wire:
    """How Google's library asks, for one token. What is refused raises here, so that the library tries nothing again.

    `began` and `date` are when the token was asked for, by our clock, and when it was answered, by Google's.
    """

    def __init__(self, http: httpx.Client, endpoint: str) -> None:
        self._http, self._endpoint = http, endpoint
        self.purpose = "sign in"
        self.began = self.date = datetime.now(UTC)

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Answer:
        if url == self._endpoint:
            self.purpose, self.began = "make the token", datetime.now(UTC)
        try:
            answer = self._http.request(method, url, content=body, headers=headers)
        except httpx.HTTPError as error:
            said = f"Google does not answer: we could not {self.purpose}."
            raise CredentialError(said, silent=True, untouched=self.untouched) from error
        if answer.status_code != 200:
            raise _refused(self, answer)
        self.date = _date(answer)
        return Answer(answer.status_code, answer.headers, answer.content)

    @property
    def untouched(self) -> bool:
        """Whether no token was asked for yet."""
        return self.purpose == "sign in"


class GoogleApi:
    """The IAM Credentials API, for one service account. Every failure is a CredentialError that repeats nothing."""

    def __init__(self, account: Account, timeout_s: float) -> None:
        self.account = account
        self._http = httpx.Client(headers={"User-Agent": "drawbridge"}, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def token(self, scopes: Sequence[str], lifetime_s: int) -> tuple[str, datetime]:
        """The token, and until when it lives by our own clock."""
        email = self.account.service_account
        endpoint = f"{self.account.api}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
        source, wire = self._source(), Wire(self._http, endpoint)
        try:
            made = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call] # Google's library has no types
                source, email, list(scopes), lifetime=lifetime_s, iam_endpoint_override=endpoint
            )
            made.refresh(wire)  # type: ignore[no-untyped-call] # Google's library has no types
        except (GoogleAuthError, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            # The library breaks in all these ways on what it cannot understand, and repeats it.
            said = f"Google's answer cannot be understood ({type(error).__name__}): we could not {wire.purpose}."
            raise CredentialError(said, untouched=wire.untouched) from None
        life = (made.expiry or datetime.min).replace(tzinfo=UTC) - wire.date
        if not isinstance(made.token, str) or not made.token or life <= timedelta():
            raise CredentialError("Google gave no token that lives.", permanent=True)
        if life > timedelta(seconds=lifetime_s + SLACK_S):
            raise CredentialError("Google gave a token that lives longer than was asked for.", permanent=True)
        return made.token, wire.began + life

    def _source(self) -> Any:
        """How the worker signs in. A file that names a program to be run, or another cloud, is not taken."""
        try:
            info = json.loads(Path(self.account.credentials_file).read_text())
            made: Any = SOURCES[info["type"]](info)
            return made
        except (GoogleAuthError, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            said = f"A credentials file of GOOGLE_ACCOUNTS cannot be used: {type(error).__name__}."
            raise CredentialError(said, permanent=True, untouched=True) from None


class Google:
    """A Provider; its kind is the type of its objects.

    `passing` names the gateways that may still pass something on for a session.
    """

    def __init__(self, kind: str, accounts: Mapping[str, GoogleApi], passing: Passing) -> None:
        self.kind, self._accounts, self._passing = kind, accounts, passing

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One token for each service account."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            for location in each["locations"]:
                slots.setdefault(location, []).append({**each, "locations": [location]})
        return slots

    def problems(self, details: Details) -> Iterator[str]:
        for name in sorted(set(details) - FIELDS, key=str):
            yield f"A {self.kind} object has no field {shown(name)}."
        locations, actions = details.get("locations"), details.get("actions")
        if not isinstance(locations, list) or len(locations) != 1:
            yield "locations must be a list of one service account: scopes belong to it."
            return
        match = LOCATION.fullmatch(locations[0]) if isinstance(locations[0], str) else None
        if match is None or match[1] not in self._accounts:
            known = listed(sorted(f"google:{name}" for name in self._accounts)) if self._accounts else "none"
            yield f"{shown(locations[0])} is not a service account; there is {known}."
            return
        if not isinstance(actions, list) or not 1 <= len(actions) <= MOST_SCOPES:
            yield f"actions must be a list of 1 to {MOST_SCOPES} scopes."
            return
        offered = self._accounts[match[1]].account.scopes
        for action in actions:
            if not isinstance(action, str) or action not in offered:
                yield f"{shown(action)} is no scope that is offered; there is {listed(sorted(offered))}."
        if len(set(map(str, actions))) < len(actions):
            yield "actions names a scope twice."

    def sentences(self, details: Details) -> Iterator[str]:
        account = self._api([details]).account
        for action in sorted(details["actions"]):
            yield f"{account.scopes.get(action, action)}, as {account.service_account} of Google Cloud ({action})."
        if self.kind == INJECTED:
            yield "The gateway adds the token; the agent never has it."

    def life(self, details: Sequence[Details]) -> Life:
        left = "it dies by itself, after an hour at most."
        if self.kind == INJECTED:
            return Life(0, LONGEST_S, "at once, by the gateways' cut", left)
        return Life(0, LONGEST_S, "not: Google takes no such token back, it dies by itself", left)

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        api = self._api(intent.details)
        scopes = sorted({action for each in intent.details for action in each["actions"]})
        lifetime_s = min(intent.ttl_s, LONGEST_S)
        ends_by = datetime.now(UTC) + timedelta(seconds=lifetime_s + SLACK_S)
        handle: Json = {
            "agent_session": intent.labels["agent_session"],
            "service_account": api.account.service_account,
        }
        record({**handle, "ends_by": ends_by.isoformat()})
        token, expires_at = api.token(scopes, lifetime_s)
        handle = {**handle, "scopes": scopes, "ends_by": expires_at.isoformat()}
        return Minted({"type": DELIVERED, "token": token, "expires_at": expires_at.isoformat()}, handle, expires_at)

    def steps(self, held: Held) -> Sequence[Step]:
        """No far end is asked, so they are taken whatever became of the settings."""
        if self.kind == INJECTED:
            return [gateways_cut(self._passing, held)]
        left = Outcome(False, {"problem": ITS_END})
        return [Step("revoke", "revoke", "Token taken back by Google", lambda: left, "google")]

    def _api(self, details: Sequence[Details]) -> GoogleApi:
        name = str(details[0]["locations"][0]).removeprefix("google:")
        if name not in self._accounts:
            raise CredentialError(f"The service account {name} is not in GOOGLE_ACCOUNTS any more.")
        return self._accounts[name]


def _date(answer: httpx.Response) -> datetime:
    """By Google's clock (RFC 9110 section 6.6.1); ours where it says nothing."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _refused(wire: Wire, answer: httpx.Response) -> CredentialError:
    """By Google's status, or by the error code (RFC 6749 section 5.2); messages may repeat what was sent."""
    try:
        found = answer.json()["error"]
        code = str(found["status"] if isinstance(found, dict) else found)
    except (ValueError, KeyError, TypeError):
        code = ""
    status, purpose = answer.status_code, wire.purpose
    if status >= 500 or status == 429 or code in PASSING:
        said = f"Google is busy or failing ({status}): we could not {purpose}."
        return CredentialError(said, untouched=wire.untouched, retry_after_s=retry_after_s(answer.headers))
    said = code if re.fullmatch(r"[A-Za-z_]{1,40}", code) else str(status)
    return CredentialError(f"Google refused ({said}): we could not {purpose}.", permanent=True, untouched=True)
