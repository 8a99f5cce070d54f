"""GitLab: a project access token for each project, for the scopes that were approved, revoked by whoever made it.

GitLab knows days alone: left to itself, a token dies at the first midnight UTC after the time that was approved. Until
then it is ours to end. A token with the scope `api` may replace itself by another of the same name (GitLab's "rotate"),
so it is dead only when the project has no active token of that name.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from sessions.providers import gitlab_words
from sessions.providers.contract import CredentialError, Details, Held, Intent, Json, Life, Minted, Outcome, Step
from sessions.providers.waiting import retry_after_s
from sessions.providers.wording import shown, slot_of

# A credential is promised for an hour at most, and a day may follow until midnight.
LONGEST_S = 3_600 + 86_400
# The longest that GitLab lets a token live where tokens have to end (its app/models/personal_access_token.rb).
RENEWED = timedelta(days=400)
PER_PAGE, MOST_PAGES = 100, 50
ROUNDS = 3
# For git over HTTPS, where GitLab takes any name.
GIT_USER = "oauth2"
TOKEN = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True)
class Server:
    """One entry of GITLAB_SERVERS. The token in `token_file` has the scope `api`, its owner is Maintainer."""

    api: str
    token_file: str = field(repr=False)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Server":
        return cls(**{str(name): value for name, value in entry.items()})


class GitLabApi:
    """GitLab's REST API as far as we need it. Every failure is a CredentialError.

    `project` is a project's number or its path; tokens are named by their numbers.
    """

    def __init__(self, server: Server, timeout_s: float) -> None:
        self.server = server
        headers = {"Accept": "application/json", "User-Agent": "drawbridge"}
        self._http = httpx.Client(base_url=server.api, headers=headers, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def project(self, path: str) -> Json:
        answer = self._asked("find the project", "GET", _project(path))
        if answer.status_code != 200:
            raise _refused("find the project", answer, untouched=True)
        return _object("find the project", answer, {"id": int, "path_with_namespace": str})

    def token(self, project: int | str, body: Json) -> Json:
        answer = self._asked("make the token", "POST", f"{_project(project)}/access_tokens", json=dict(body))
        if answer.status_code != 201:
            raise _refused("make the token", answer, untouched=True)
        return _object("make the token", answer, {"id": int, "token": str})

    def active(self, project: int | str, name: str) -> list[int]:
        """The active tokens of that name."""
        found: list[int] = []
        for page in range(1, MOST_PAGES + 1):
            # `search` only shortens the list: servers that do not know it, or `state`, show all.
            query = {"state": "active", "search": name, "per_page": PER_PAGE, "page": page}
            answer = self._asked("list the tokens", "GET", f"{_project(project)}/access_tokens", params=query)
            if answer.status_code != 200:
                raise _refused("list the tokens", answer)
            rows = _rows("list the tokens", answer)
            found += [row["id"] for row in rows if row["name"] == name and row.get("active") is not False]
            if len(rows) < PER_PAGE and not answer.headers.get("x-next-page"):
                return found
        raise CredentialError("GitLab's list of the project's tokens has no end: we could not list the tokens.")

    def revoke(self, project: int | str, token_id: int) -> bool:
        """Whether GitLab did it now. 400 and 404 are said of one that is gone, but also where it does not want to."""
        answer = self._asked("revoke the token", "DELETE", f"{_project(project)}/access_tokens/{token_id}")
        if answer.status_code not in (204, 400, 404):
            raise _refused("revoke the token", answer)
        return answer.status_code == 204

    def lives(self, token: str) -> bool:
        """What each token may ask, whatever its scopes."""
        answer = self._asked("try the token", "GET", "/personal_access_tokens/self", token)
        if answer.status_code not in (200, 401):
            raise _refused("try the token", answer)
        return answer.status_code == 200

    def _asked(self, purpose: str, method: str, path: str, token: str | None = None, **parts: Any) -> httpx.Response:
        bearer = _read(self.server.token_file) if token is None else token
        try:
            return self._http.request(method, path, headers={"Authorization": f"Bearer {bearer}"}, **parts)
        except httpx.HTTPError as error:
            raise CredentialError(f"GitLab does not answer: we could not {purpose}.", silent=True) from error


class GitLab:
    """A Provider."""

    def __init__(self, kind: str, servers: Mapping[str, GitLabApi]) -> None:
        self.kind, self._servers = kind, servers

    def slots(self, details: Sequence[Details]) -> Mapping[str, Sequence[Details]]:
        """One token for each project."""
        found = gitlab_words.by_project(details)
        return {slot_of(location): objects for location, objects in found.items()}

    def problems(self, details: Details) -> Iterator[str]:
        return gitlab_words.problems(details, self._servers)

    def sentences(self, details: Details) -> Iterator[str]:
        return gitlab_words.sentences(details)

    def life(self, details: Sequence[Details]) -> Life:
        if gitlab_words.RENEWS_ITSELF in gitlab_words.scopes(details):
            return Life(0, None, "at once", "With the scope api it can renew itself, for a year and more.")
        return Life(0, LONGEST_S, "at once", "GitLab lets it live on until midnight UTC after its time is up.")

    def mint(self, intent: Intent, record: Callable[[Json], None]) -> Minted:
        """Raises where GitLab gave more or less than was approved: that token is revoked first."""
        api, path = self._api(intent.details), self._path(intent.details)
        project = api.project(path)
        if project["path_with_namespace"] != path:
            said = f"GitLab calls this project {shown(project['path_with_namespace'])}: ask for it under that name."
            raise CredentialError(said, permanent=True, untouched=True)
        expires_at = datetime.now(UTC) + timedelta(seconds=intent.ttl_s)
        body = gitlab_words.request(intent.name, intent.details, _last_day(expires_at))
        handle = {
            "project": path,
            "project_id": project["id"],
            "scopes": body["scopes"],
            "ends_by": _ends_by(body).isoformat(),
        }
        record(handle)
        answer = api.token(project["id"], body)
        handle = {**handle, "token_id": answer["id"], "expires_on": body["expires_at"]}
        record(handle)
        wrong = _differs(body, answer)
        if wrong:
            api.revoke(project["id"], answer["id"])
            raise CredentialError(f"GitLab gave another token than was asked for: {wrong}.", permanent=True)
        secret = {
            "type": "gitlab",
            "token": answer["token"],
            "host": urlsplit(api.server.api).netloc,
            "project": path,
            "username": GIT_USER,
        }
        return Minted(secret, handle, expires_at)

    def steps(self, held: Held) -> Sequence[Step]:
        api = self._api(held.details)
        project = held.handle.get("project_id", self._path(held.details))
        token = None if held.secret is None else str(held.secret["token"])

        def revoke() -> Outcome:
            known = held.handle.get("token_id")
            taken = known is not None and api.revoke(project, known)
            for _ in range(ROUNDS):
                left = api.active(project, held.name)
                if not left:
                    return Outcome(True, {"answer": "revoked" if taken else "there was none that is active"})
                for one in left:
                    taken = api.revoke(project, one) or taken
            return Outcome(False, {"problem": "GitLab does not take it back: one of this name is active still."})

        def tried() -> Outcome:
            if token is not None and api.lives(token):
                return Outcome(False, {"answer": "200: it works"})
            tried = "401: unauthorized" if token is not None else "not tried: the token is not known"
            left = len(api.active(project, held.name))
            return Outcome(not left, {"answer": tried, "active tokens of this name": left})

        return [
            Step("revoke", "revoke", "Token taken back by GitLab", revoke, "gitlab"),
            Step("tried", "proof", "Token refused by GitLab, and no successor", tried, "gitlab"),
        ]

    def _path(self, details: Sequence[Details]) -> str:
        (location,) = gitlab_words.by_project(details)
        return gitlab_words.project(location)[1]

    def _api(self, details: Sequence[Details]) -> GitLabApi:
        (location,) = gitlab_words.by_project(details)
        server, _ = gitlab_words.project(location)
        if server not in self._servers:
            raise CredentialError(f"The server {server} is not in GITLAB_SERVERS any more.")
        return self._servers[server]


def _last_day(expires_at: datetime) -> date:
    """The first day at whose beginning, midnight UTC, the token may be dead."""
    return expires_at.date() + timedelta(days=1)


def _ends_by(body: Json) -> datetime:
    """When it is dead, and whatever it may have made of itself."""
    midnight = datetime.combine(date.fromisoformat(body["expires_at"]), time(), UTC)
    return midnight + RENEWED if gitlab_words.RENEWS_ITSELF in body["scopes"] else midnight


def _differs(asked: Json, given: Json) -> str:
    """What of GitLab's answer is not what was asked for."""
    if given.get("active") is not True:
        return "it is not active"
    if given.get("name") != asked["name"]:
        return "another name"
    scopes = given.get("scopes")
    if not isinstance(scopes, list) or sorted(map(str, scopes)) != asked["scopes"]:
        return "other scopes"
    if given.get("access_level") != asked["access_level"]:
        return "another role"
    return "" if given.get("expires_at") == asked["expires_at"] else "another last day"


def _project(project: int | str) -> str:
    return f"/projects/{quote(str(project), safe='')}"


def _read(path: str) -> str:
    try:
        token = Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        said = f"A token_file of GITLAB_SERVERS cannot be read: {type(error).__name__}."
        raise CredentialError(said, permanent=True, untouched=True) from error
    if not TOKEN.fullmatch(token):
        raise CredentialError("A token_file of GITLAB_SERVERS holds no token.", permanent=True, untouched=True)
    return token


def _object(purpose: str, answer: httpx.Response, needed: Mapping[str, type]) -> Json:
    found = _json(answer)
    if isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in needed.items()):
        return found
    raise CredentialError(f"GitLab's answer cannot be understood: we could not {purpose}.")


def _rows(purpose: str, answer: httpx.Response) -> list[Json]:
    found = _json(answer)
    if isinstance(found, list) and all(isinstance(row, dict) and {"id", "name"} <= row.keys() for row in found):
        return found
    raise CredentialError(f"GitLab's answer cannot be understood: we could not {purpose}.")


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _refused(purpose: str, answer: httpx.Response, *, untouched: bool = False) -> CredentialError:
    """In our words: GitLab's own may repeat what was sent. A limit of requests is waited for, like a fault."""
    status = answer.status_code
    if status == 429 or "retry-after" in answer.headers or status >= 500:
        said = f"GitLab is busy or failing ({status}): we could not {purpose}."
        return CredentialError(said, retry_after_s=retry_after_s(answer.headers))
    why = {
        400: "GitLab makes no such token: the group forbids them, or our role in the project is too low",
        401: "GitLab does not take the token of GITLAB_SERVERS",
        404: "GitLab shows us no such project",
    }.get(status, "GitLab refused")
    return CredentialError(f"{why} ({status}): we could not {purpose}.", permanent=True, untouched=untouched)
