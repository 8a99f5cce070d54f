"""A GitHub App: an installation token for named repositories and permissions, revoked with itself, tried afterwards.

Such a token lives an hour, whatever is asked. GitHub takes it back at once, but only from whoever shows the token: one
that was lost dies by itself.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt

from sessions.providers import github_words
from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.waiting import retry_after_s

HOUR_S = 3_600
VERSION = "2022-11-28"
# The App signs in for ten minutes at most (GitHub's documentation); its clock may be a minute ahead of theirs.
JWT_S, JWT_EARLIER_S = 540, 60


@dataclass(frozen=True)
class App:
    """One entry of GITHUB_APPS, by the owner of its repositories."""

    app_id: str
    installation_id: int
    private_key_file: str = field(repr=False)
    api: str = "https://api.github.com"

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "App":
        return cls(**{str(name): value for name, value in entry.items()})


class GitHubApi:
    """GitHub's REST API as far as we need it. Every failure is a CredentialError."""

    def __init__(self, app: App, timeout_s: float) -> None:
        self.app = app
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": VERSION, "User-Agent": "drawbridge"}
        self._http = httpx.Client(base_url=app.api, headers=headers, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def token(self, body: Json) -> Json:
        path = f"/app/installations/{self.app.installation_id}/access_tokens"
        answer = self._asked("make the token", "POST", path, self._signed(), json=dict(body))
        if answer.status_code != 201:
            raise _refused("make the token", answer)
        return _object("make the token", answer)

    def revoke(self, token: str) -> bool:
        """Whether it lived until now."""
        answer = self._asked("revoke the token", "DELETE", "/installation/token", token)
        if answer.status_code not in (204, 401):
            raise _refused("revoke the token", answer)
        return answer.status_code == 204

    def lives(self, token: str) -> bool:
        """What each token of an installation may ask."""
        answer = self._asked("try the token", "GET", "/installation/repositories?per_page=1", token)
        if answer.status_code not in (200, 401):
            raise _refused("try the token", answer)
        return answer.status_code == 200

    def _signed(self) -> str:
        at = int(time.time())
        claims = {"iat": at - JWT_EARLIER_S, "exp": at + JWT_S, "iss": self.app.app_id}
        try:
            return jwt.encode(claims, Path(self.app.private_key_file).read_text(), algorithm="RS256")
        except (OSError, ValueError, jwt.PyJWTError) as error:
            said = f"The key of the GitHub App {self.app.app_id} cannot be used: {type(error).__name__}."
            raise CredentialError(said, permanent=True, untouched=True) from error

    def _asked(self, purpose: str, method: str, path: str, bearer: str, **parts: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, headers={"Authorization": f"Bearer {bearer}"}, **parts)
        except httpx.HTTPError as error:
            raise CredentialError(f"GitHub does not answer: we could not {purpose}.", silent=True) from error


class GitHub:
    """A Provider."""

    def __init__(self, kind: str, apps: Mapping[str, GitHubApi]) -> None:
        self.kind, self._apps = kind, apps

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One token for each owner."""
        return {f"github:{owner}": objects for owner, objects in github_words.by_owner(details).items()}

    def problems(self, details: Details) -> Iterator[str]:
        return github_words.problems(details, self._apps)

    def sentences(self, details: Details) -> Iterator[str]:
        return github_words.sentences(details)

    def life(self, details: Sequence[Details]) -> Life:
        return Life(HOUR_S, HOUR_S, "at once", "it dies by itself, after an hour.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        """Raises where GitHub gave more or less than was approved: that token is revoked first."""
        if github_words.uneven(intent.details):
            said = "Repositories of one owner have to have the same permissions: GitHub's token has them for all alike."
            raise CredentialError(said, permanent=True, untouched=True)
        api, body = self._api(intent.details), github_words.request(intent.details)
        record({"installation": self._api(intent.details).app.installation_id})
        answer = api.token(body)
        token, expires_at = str(answer["token"]), datetime.fromisoformat(answer["expires_at"]).astimezone(UTC)
        wrong = _differs(body, answer)
        if wrong:
            api.revoke(token)
            raise CredentialError(f"GitHub gave another token than was asked for: {wrong}.", permanent=True)
        handle = {"installation": api.app.installation_id, "repositories": body["repositories"]}
        return Minted({"type": "github", "token": token, "owner": self._owner(intent.details)}, handle, expires_at)

    def steps(self, held: Held) -> Sequence[Step]:
        api = self._api(held.details)
        token = None if held.secret is None else str(held.secret["token"])

        def revoke() -> Outcome:
            if token is None:
                return Outcome(False, {"problem": "The token is not known, so it dies by itself."})
            return Outcome(True, {"answer": "revoked" if api.revoke(token) else "it was dead already"})

        def tried() -> Outcome:
            if token is None:
                return Outcome(False, {"tried": "no: the token is not known"})
            alive = api.lives(token)
            return Outcome(not alive, {"answer": "200: it works" if alive else "401: bad credentials"})

        return [
            Step("revoke", "revoke", "Token taken back by GitHub", revoke, "github"),
            Step("tried", "proof", "Token refused by GitHub", tried, "github"),
        ]

    def _owner(self, details: Sequence[Details]) -> str:
        (owner,) = github_words.by_owner(details)
        return owner

    def _api(self, details: Sequence[Details]) -> GitHubApi:
        owner = self._owner(details)
        if owner not in self._apps:
            raise CredentialError(f"The GitHub App of {owner} is not in GITHUB_APPS any more.")
        return self._apps[owner]


def _differs(asked: Json, given: Json) -> str:
    """What of GitHub's answer is not what was asked for; `metadata: read` comes with everything."""
    names = sorted(one["name"] for one in given.get("repositories", ()))
    if given.get("repository_selection") != "selected" or names != asked["repositories"]:
        return "other repositories"
    permissions = {"metadata": "read", **asked["permissions"]}
    return "" if {"metadata": "read", **given.get("permissions", {})} == permissions else "other permissions"


def _object(purpose: str, answer: httpx.Response) -> Json:
    try:
        found = answer.json()
        if {"token", "expires_at"} <= found.keys():
            return dict(found)
    except (ValueError, AttributeError):
        pass
    raise CredentialError(f"GitHub's answer cannot be understood: we could not {purpose}.")


def _refused(purpose: str, answer: httpx.Response) -> CredentialError:
    """In our words. A limit of requests is waited for, like a fault (GitHub answers both 403 and 429 for it)."""
    status = answer.status_code
    limited = status == 429 or (status == 403 and answer.headers.get("x-ratelimit-remaining") == "0")
    if limited or "retry-after" in answer.headers or status >= 500:
        said = f"GitHub is busy or failing ({status}): we could not {purpose}."
        return CredentialError(said, retry_after_s=retry_after_s(answer.headers))
    if status == 422:
        said = "The GitHub App is not installed for these repositories, or has fewer permissions than were approved."
        return CredentialError(said, permanent=True, untouched=True)
    return CredentialError(f"GitHub refused ({status}): we could not {purpose}.", permanent=True, untouched=True)
