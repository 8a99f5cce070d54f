"""Azure: an access token of an app for one resource, for which the worker shows Entra a token of its platform (workload
identity federation: client credentials with a client assertion, RFC 7523 section 2.2).

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "azure", "locations": ["azure:reports"],       "azure-injected": gateways add the token, agents have none
     "actions": ["https://storage.azure.com/.default"]}     slot "azure:reports/storage.azure.com"

Entra takes no such token back: one that was handed over dies by itself, one that only gateways have ends with them. It
is asked without MSAL, which keeps tokens and would give the same one to several sessions.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.egress import SLOT
from sessions.providers.static import Passing, gateways_cut
from sessions.providers.waiting import retry_after_s
from sessions.providers.wording import listed, shown

DELIVERED, INJECTED = "azure", "azure-injected"
FIELDS = {"type", "locations", "actions"}
LOCATION = re.compile(r"azure:([a-z][a-z0-9_-]{0,30})", re.ASCII)
# Where a resource is too long for a slot, or has other characters, a hash stands for it.
HASH_LENGTH = 16
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# An hour or so where no policy of the tenant says otherwise, which may say a day (Microsoft's documentation).
LONGEST_S = 86_400
PASSING = {"temporarily_unavailable", "server_error", "slow_down"}
ITS_END = "It dies by itself: Entra takes no such token back."


@dataclass(frozen=True)
class App:
    """One entry of AZURE_APPS. `resources` are those that can be asked for, each in plain words.

    `assertion_file` has a token of the worker's platform, which is read anew each time.
    """

    tenant: str
    client_id: str
    assertion_file: str = field(repr=False)
    resources: Mapping[str, str]
    authority: str = "https://login.microsoftonline.com"

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "App":
        return cls(**{str(name): value for name, value in entry.items()})


class AzureApi:
    """Entra's token endpoint, for one app. Every failure is a CredentialError that repeats nothing."""

    def __init__(self, app: App, timeout_s: float) -> None:
        self.app = app
        self._http = httpx.Client(headers={"Accept": "application/json", "User-Agent": "drawbridge"}, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def token(self, resource: str) -> tuple[str, int]:
        """The token, and for how many seconds it lives."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.app.client_id,
            "scope": resource,
            "client_assertion_type": ASSERTION,
            "client_assertion": _read(self.app.assertion_file),
        }
        try:
            answer = self._http.post(f"{self.app.authority}/{self.app.tenant}/oauth2/v2.0/token", data=form)
        except httpx.HTTPError as error:
            raise CredentialError("Entra does not answer: we could not make the token.", silent=True) from error
        if answer.status_code != 200:
            raise _refused(answer)
        return _token(resource, answer)


class Azure:
    """A Provider; its kind is the type of its objects.

    `passing` names the gateways that may still pass something on for a session.
    """

    def __init__(self, kind: str, apps: Mapping[str, AzureApi], passing: Passing) -> None:
        self.kind, self._apps, self._passing = kind, apps, passing

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One token for each app and resource: Entra makes none for two."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            slots.setdefault(_slot(each["locations"][0], each["actions"][0]), []).append(each)
        return slots

    def problems(self, details: Details) -> Iterator[str]:
        for name in sorted(set(details) - FIELDS, key=str):
            yield f"An {self.kind} object has no field {shown(name)}."
        locations, actions = details.get("locations"), details.get("actions")
        if not isinstance(locations, list) or len(locations) != 1:
            yield "locations must be a list of one app: resources belong to it."
            return
        match = LOCATION.fullmatch(locations[0]) if isinstance(locations[0], str) else None
        if match is None or match[1] not in self._apps:
            known = listed(sorted(f"azure:{name}" for name in self._apps)) if self._apps else "none"
            yield f"{shown(locations[0])} is not an app; there is {known}."
            return
        if not isinstance(actions, list) or len(actions) != 1:
            yield "actions must be a list of one resource: each has a token of its own, so write an object for each."
            return
        offered = self._apps[match[1]].app.resources
        if not isinstance(actions[0], str) or actions[0] not in offered:
            there = listed(sorted(offered)) if offered else "none"
            yield f"{shown(actions[0])} is no resource that is offered; there is {there}."

    def sentences(self, details: Details) -> Iterator[str]:
        app, [resource] = self._api([details]).app, details["actions"]
        name = details["locations"][0].removeprefix("azure:")
        words = app.resources.get(resource, resource)
        yield f"{words}, with all that the app {name} of Azure may do there ({resource})."
        if self.kind == INJECTED:
            yield "The gateway adds the token; the agent never has it."

    def life(self, details: Sequence[Details]) -> Life:
        left = "it dies by itself, when Entra said: after an hour or so, a day at most."
        if self.kind == INJECTED:
            return Life(0, LONGEST_S, "at once, by the gateways' cut", left)
        return Life(0, LONGEST_S, "not: Entra takes no such token back, it dies by itself", left)

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        """Entra alone says how long it lives: nothing can be asked."""
        api, [resource] = self._api(intent.details), intent.details[0]["actions"]
        began = datetime.now(UTC)
        handle: Json = {
            "agent_session": intent.labels["agent_session"],
            "client_id": api.app.client_id,
            "resource": resource,
        }
        record({**handle, "ends_by": (began + timedelta(seconds=LONGEST_S)).isoformat()})
        token, life_s = api.token(resource)
        expires_at = began + timedelta(seconds=life_s)
        handle = {**handle, "ends_by": expires_at.isoformat()}
        return Minted({"type": DELIVERED, "token": token, "expires_at": expires_at.isoformat()}, handle, expires_at)

    def steps(self, held: Held) -> Sequence[Step]:
        """No far end is asked, so they are taken whatever became of the settings."""
        if self.kind == INJECTED:
            return [gateways_cut(self._passing, held)]
        left = Outcome(False, {"problem": ITS_END})
        return [Step("revoke", "revoke", "Token taken back by Entra", lambda: left, "azure")]

    def _api(self, details: Sequence[Details]) -> AzureApi:
        name = str(details[0]["locations"][0]).removeprefix("azure:")
        if name not in self._apps:
            raise CredentialError(f"The app {name} is not in AZURE_APPS any more.")
        return self._apps[name]


def _slot(location: str, resource: str) -> str:
    """A host alone stands for https://HOST/.default; every other resource for itself, which has a slash then."""
    host = re.fullmatch(r"https://([^/]+)/\.default", resource)
    slot = f"{location}/{host[1] if host else resource}"
    if SLOT.fullmatch(slot) and (host or "/" in resource):
        return slot
    return f"{location}:{hashlib.sha256(resource.encode()).hexdigest()[:HASH_LENGTH]}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        said = f"An assertion file of AZURE_APPS cannot be read: {type(error).__name__}."
        raise CredentialError(said, permanent=True, untouched=True) from None


def _token(resource: str, answer: httpx.Response) -> tuple[str, int]:
    found = _object(answer)
    token, life_s = found.get("access_token"), found.get("expires_in")
    if not isinstance(token, str) or not token or str(found.get("token_type", "")).lower() != "bearer":
        raise CredentialError("Entra's answer holds no bearer token.", permanent=True)
    if type(life_s) is not int or not 0 < life_s <= LONGEST_S:
        raise CredentialError("Entra's answer does not say that the token lives for a day at most.", permanent=True)
    if found.get("scope", resource) != resource:
        raise CredentialError("Entra gave a token for something else than was approved.", permanent=True)
    return token, life_s


def _object(answer: httpx.Response) -> Json:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CredentialError("Entra's answer cannot be understood: we could not make the token.")
    return found


def _refused(answer: httpx.Response) -> CredentialError:
    """By the error code, and by the first number of Entra's own; descriptions may repeat what was sent."""
    try:
        found = answer.json()
        code, numbers = str(found.get("error", "")), found.get("error_codes")
    except (ValueError, AttributeError):
        code, numbers = "", None
    if answer.status_code >= 500 or answer.status_code == 429 or code in PASSING:
        said = f"Entra is busy or failing ({answer.status_code}): we could not make the token."
        return CredentialError(said, retry_after_s=retry_after_s(answer.headers))
    said = code if re.fullmatch(r"[a-z_]{1,40}", code) else str(answer.status_code)
    if isinstance(numbers, list) and numbers and type(numbers[0]) is int:
        said = f"{said}, AADSTS{numbers[0]}"
    return CredentialError(f"Entra refused ({said}): we could not make the token.", permanent=True, untouched=True)
