"""OAuth 2.0, for everything that speaks it: a token by client credentials (RFC 6749 section 4.4) or by token exchange
(RFC 8693), for the scopes that were approved and no other; revoked by RFC 7009, and asked after by RFC 7662.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "oauth2", "locations": ["oauth:crm"], "actions": ["contacts.read"]}     slot "oauth:crm", field `token`

Gateways add the token; agents never have it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.waiting import retry_after_s
from sessions.providers.wording import listed, shown

TYPE = "oauth2"
FIELDS = {"type", "locations", "actions"}
LOCATION = re.compile(r"oauth:([a-z][a-z0-9_-]{0,50})", re.ASCII)
MOST_SCOPES = 30
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
# Where a server does not say how long a token lives, no longer is counted on, and no shorter promised.
UNKNOWN_S, LONGEST_S = 3_600, 86_400
PASSING = {"temporarily_unavailable", "server_error", "slow_down"}


@dataclass(frozen=True)
class Server:
    """One entry of OAUTH_SERVERS. `scopes` are those that can be asked for, each in plain words.

    With `subject_token_file` tokens are exchanged for the one in it; else the client's own credentials do.
    """

    token_url: str
    client_id: str
    client_secret_file: str = field(repr=False)
    scopes: Mapping[str, str]
    revocation_url: str = ""
    introspection_url: str = ""
    audience: str = ""
    resource: str = ""
    subject_token_file: str = field(default="", repr=False)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Server":
        return cls(**{str(name): value for name, value in entry.items()})


class OAuthApi:
    """One authorization server. Every failure is a CredentialError whose text holds nothing that it was sent."""

    def __init__(self, server: Server, timeout_s: float) -> None:
        self.server = server
        self._http = httpx.Client(headers={"Accept": "application/json", "User-Agent": "drawbridge"}, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def token(self, scopes: Sequence[str]) -> Json:
        form = {"grant_type": "client_credentials", "scope": " ".join(scopes)}
        if self.server.subject_token_file:
            subject = _read(self.server.subject_token_file)
            form |= {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": ACCESS_TOKEN}
        form |= {name: value for name in ("audience", "resource") if (value := getattr(self.server, name))}
        answer = self._posted("get the token", self.server.token_url, form)
        if answer.status_code != 200:
            raise _refused("get the token", answer)
        found = _object("get the token", answer)
        if not isinstance(found.get("access_token"), str) or str(found.get("token_type", "")).lower() != "bearer":
            raise CredentialError("The server's answer holds no bearer token.", permanent=True)
        return found

    def revoke(self, token: str) -> None:
        """A token that is dead already is no error (RFC 7009 section 2.2)."""
        form = {"token": token, "token_type_hint": "access_token"}
        answer = self._posted("revoke the token", self.server.revocation_url, form)
        if answer.status_code != 200:
            raise _refused("revoke the token", answer)
        if "html" in answer.headers.get("content-type", ""):
            raise CredentialError("A page came instead of the server's answer: we could not revoke the token.")

    def lives(self, token: str) -> bool:
        form = {"token": token, "token_type_hint": "access_token"}
        answer = self._posted("ask after the token", self.server.introspection_url, form)
        if answer.status_code != 200:
            raise _refused("ask after the token", answer)
        active = _object("ask after the token", answer).get("active")
        if not isinstance(active, bool):
            raise CredentialError("The server does not say whether the token is active.")
        return active

    def _posted(self, purpose: str, url: str, form: Mapping[str, str]) -> httpx.Response:
        """The client signs in by HTTP Basic, which every server has to take (RFC 6749 section 2.3.1)."""
        try:
            client = (self.server.client_id, _read(self.server.client_secret_file))
            return self._http.post(url, data=dict(form), auth=client)
        except httpx.HTTPError as error:
            raise CredentialError(f"The server does not answer: we could not {purpose}.", silent=True) from error


class OAuth:
    """A Provider."""

    kind = "oauth"

    def __init__(self, servers: Mapping[str, OAuthApi]) -> None:
        self._servers = servers

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One token for each server."""
        slots: dict[str, list[Details]] = {}
        for each in details:
            for location in each["locations"]:
                slots.setdefault(location, []).append({**each, "locations": [location]})
        return slots

    def problems(self, details: Details) -> Iterator[str]:
        for name in sorted(set(details) - FIELDS, key=str):
            yield f"An {TYPE} object has no field {shown(name)}."
        locations, actions = details.get("locations"), details.get("actions")
        if not isinstance(locations, list) or len(locations) != 1:
            yield "locations must be a list of one server: scopes belong to it."
            return
        match = LOCATION.fullmatch(locations[0]) if isinstance(locations[0], str) else None
        if match is None or match[1] not in self._servers:
            known = listed(sorted(f"oauth:{name}" for name in self._servers)) if self._servers else "none"
            yield f"{shown(locations[0])} is not a server; there is {known}."
            return
        if not isinstance(actions, list) or not 1 <= len(actions) <= MOST_SCOPES:
            yield f"actions must be a list of 1 to {MOST_SCOPES} scopes."
            return
        offered = self._servers[match[1]].server.scopes
        for action in actions:
            if not isinstance(action, str) or action not in offered:
                yield f"{shown(action)} is no scope that is offered; there is {listed(sorted(offered))}."
        if len(set(map(str, actions))) < len(actions):
            yield "actions names a scope twice."

    def sentences(self, details: Details) -> Iterator[str]:
        api = self._api([details])
        name = details["locations"][0].removeprefix("oauth:")
        for action in sorted(details["actions"]):
            yield f"{api.server.scopes.get(action, action)} ({name}: {action})."
        yield "The gateway adds the token; the agent never has it."

    def life(self, details: Sequence[Details]) -> Life:
        dies = "at once" if self._api(details).server.revocation_url else "not: the server takes no token back"
        return Life(0, LONGEST_S, dies, "it dies by itself, when the server said.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        """Raises where the server gave other scopes than were asked for: that token is revoked first."""
        api = self._api(intent.details)
        scopes = sorted({action for each in intent.details for action in each["actions"]})
        record({"server": intent.details[0]["locations"][0]})
        began = datetime.now(UTC)
        answer = api.token(scopes)
        # Without a word the scopes are those that were asked for (RFC 6749 section 5.1).
        given = sorted(str(answer["scope"]).split()) if answer.get("scope") is not None else scopes
        if given != scopes:
            if api.server.revocation_url:
                api.revoke(answer["access_token"])
            raise CredentialError("The server gave other scopes than were approved.", permanent=True)
        expires_at = began + timedelta(seconds=_life_s(answer))
        handle = {"server": intent.details[0]["locations"][0], "scopes": scopes}
        return Minted({"type": TYPE, "token": answer["access_token"]}, handle, expires_at)

    def steps(self, held: Held) -> Sequence[Step]:
        api = self._api(held.details)
        token = None if held.secret is None else str(held.secret["token"])

        def revoke() -> Outcome:
            if token is None or not api.server.revocation_url:
                why = "the token is not known" if token is None else "the server has no way to take it back"
                return Outcome(False, {"problem": f"It dies by itself: {why}."})
            api.revoke(token)
            return Outcome(True, {"answer": "revoked"})

        def inactive() -> Outcome:
            if token is None:
                return Outcome(False, {"tried": "no: the token is not known"})
            alive = api.lives(token)
            return Outcome(not alive, {"answer": "active" if alive else "not active"})

        steps = [Step("revoke", "revoke", "Token taken back by its server", revoke, "oauth")]
        if api.server.introspection_url:
            steps.append(Step("inactive", "proof", "Token not active, by its server's word", inactive, "oauth"))
        return steps

    def _api(self, details: Sequence[Details]) -> OAuthApi:
        name = str(details[0]["locations"][0]).removeprefix("oauth:")
        if name not in self._servers:
            raise CredentialError(f"The server {name} is not in OAUTH_SERVERS any more.")
        return self._servers[name]


def _life_s(answer: Json) -> int:
    said = answer.get("expires_in")
    return min(said, LONGEST_S) if isinstance(said, int) and said > 0 else UNKNOWN_S


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        said = f"A file of OAUTH_SERVERS cannot be read: {error.strerror}."
        raise CredentialError(said, permanent=True, untouched=True) from error


def _object(purpose: str, answer: httpx.Response) -> Json:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CredentialError(f"The server's answer cannot be understood: we could not {purpose}.")
    return found


def _refused(purpose: str, answer: httpx.Response) -> CredentialError:
    """By the error code (RFC 6749 section 5.2); descriptions may repeat what was sent."""
    try:
        code = str(answer.json().get("error", ""))
    except (ValueError, AttributeError):
        code = ""
    if answer.status_code >= 500 or answer.status_code == 429 or code in PASSING:
        said = f"The server is busy or failing ({answer.status_code}): we could not {purpose}."
        return CredentialError(said, retry_after_s=retry_after_s(answer.headers))
    said = code if re.fullmatch(r"[a-z_]{1,40}", code) else str(answer.status_code)
    return CredentialError(f"The server refused ({said}): we could not {purpose}.", permanent=True, untouched=True)
