"""GitLab on loopback, as far as access tokens of a project go. No package carries GitLab's own OpenAPI description, so
what is asked is held against what its client python-gitlab declares: paths, and the fields of a new token. A request
that it does not know fails the test. The fields of a list are those of GitLab's documentation (project access tokens).
"""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote

from gitlab.v4.objects import PersonalAccessTokenManager, ProjectAccessTokenManager, ProjectManager

WORKER = "glpat-worker"
SELF = f"{PersonalAccessTokenManager._path}/self"
LISTED_BY = {"state", "search", "page", "per_page"}
LEVELS = {10, 15, 20, 30, 40, 50}
Answer = tuple[int, Any, dict[str, str]]


@dataclass
class GitLabFarEnd:
    """`tokens` by their numbers, dead ones too. `faults` are what a method is answered with instead."""

    projects: dict[int, str] = field(default_factory=lambda: {7: "acme/group/shop", 8: "acme/site"})
    tokens: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, str]] = field(default_factory=list)
    faults: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    # What is changed in the next token's answer, and what does not happen although it is said.
    lies: dict[str, Any] = field(default_factory=dict)
    keeps: bool = False
    largest_page: int = 100
    says_more: bool = True
    url: str = ""

    @property
    def alive(self) -> list[int]:
        return [number for number, row in self.tokens.items() if self.active(row)]

    def active(self, row: dict[str, Any]) -> bool:
        """GitLab's `not_revoked.not_expired`: a token is dead when its last day begins."""
        return not row["revoked"] and date.fromisoformat(row["expires_at"]) > datetime.now(UTC).date()

    def shown(self, row: dict[str, Any]) -> dict[str, Any]:
        hidden = ("token", "project")
        return {name: value for name, value in row.items() if name not in hidden} | {"active": self.active(row)}

    def make(self, project: int, body: dict[str, Any]) -> dict[str, Any]:
        """A row. Another token of the same name is made like this when one rotates itself."""
        number = 100 + len(self.tokens)
        row = {"access_level": 40, **body, "id": number, "user_id": 900, "revoked": False, "project": project}
        self.tokens[number] = row | {"token": f"glpat-{secrets.token_hex(16)}"}
        return self.tokens[number]

    def rotate(self, token: str) -> dict[str, Any]:
        [row] = [one for one in self.tokens.values() if one["token"] == token]
        assert "api" in row["scopes"]
        row["revoked"] = True
        kept = {name: row[name] for name in ("name", "scopes", "access_level")}
        return self.make(row["project"], {**kept, "expires_at": "2999-01-01"})

    def new(self, project: int, body: dict[str, Any]) -> Answer:
        declared = ProjectAccessTokenManager._create_attrs
        declared.validate_attrs(data=body)
        assert set(body) <= {*declared.required, *declared.optional}, f"GitLab's client has no such field: {body}"
        assert body["access_level"] in LEVELS
        self.asked.append(body)
        row = self.make(project, body)
        return 201, {**self.shown(row), "token": row["token"], **self.lies}, {}

    def listed(self, project: int, query: dict[str, str]) -> Answer:
        assert set(query) <= LISTED_BY, f"GitLab's list has no such field: {query}"
        self.pages.append(query)
        rows = [row for row in self.tokens.values() if row["project"] == project]
        if query.get("state") == "active":
            rows = [row for row in rows if self.active(row)]
        rows = [row for row in rows if query.get("search", "") in row["name"]]
        page, size = int(query.get("page", 1)), min(int(query.get("per_page", 20)), self.largest_page)
        more = {"X-Next-Page": str(page + 1) if len(rows) > page * size else ""} if self.says_more else {}
        return 200, [self.shown(row) for row in rows[(page - 1) * size : page * size]], more

    def revoked(self, project: int, number: int) -> Answer:
        row = self.tokens.get(number)
        if row is None or row["project"] != project:
            return 404, {"message": "404 project Access Token Not Found"}, {}
        if row["revoked"]:
            return 400, {"message": "400 Bad request - Failed to find bot user"}, {}
        row["revoked"] = not self.keeps
        return 204, None, {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    far: GitLabFarEnd

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command in self.far.faults:
            status, headers, raw = self.far.faults[self.command]
        else:
            status, said, headers = self.answer(json.loads(body) if body else {})
            raw = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = handle_any

    def answer(self, body: dict[str, Any]) -> Answer:
        bearer = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        rows = [row for row in self.far.tokens.values() if row["token"] == bearer and self.far.active(row)]
        if bearer != WORKER and not rows:
            return 401, {"message": "401 Unauthorized"}, {}
        path, _, query = self.path.removeprefix("/api/v4").partition("?")
        if (self.command, path) == ("GET", SELF):
            return 200, self.far.shown(rows[0]) if rows else {"name": "worker"}, {}
        number = self.project(path)
        if bearer != WORKER or number is None:
            return 404, {"message": "404 Project Not Found"}, {}
        return self.of_project(number, path.split("/")[3:], dict(parse_qsl(query)), body)

    def project(self, path: str) -> int | None:
        """By its number or its path, as one part of the address."""
        named = unquote(path.removeprefix(f"{ProjectManager._path}/").partition("/")[0])
        found = [number for number, known in self.far.projects.items() if named.lower() in (str(number), known.lower())]
        return found[0] if found else None

    def of_project(self, number: int, rest: list[str], query: dict[str, str], body: dict[str, Any]) -> Answer:
        tokens = ProjectAccessTokenManager._path.rpartition("/")[2]
        match self.command, rest:
            case "GET", []:
                return 200, {"id": number, "path_with_namespace": self.far.projects[number]}, {}
            case "POST", [last] if last == tokens:
                return self.far.new(number, body)
            case "GET", [last] if last == tokens:
                return self.far.listed(number, query)
            case "DELETE", [last, token] if last == tokens:
                return self.far.revoked(number, int(token))
        return 404, {"message": "404 Not Found"}, {}


@contextmanager
def gitlab(far: GitLabFarEnd) -> Iterator[GitLabFarEnd]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"far": far}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    far.url = f"http://127.0.0.1:{server.server_port}/api/v4"
    yield far
    server.shutdown()
    server.server_close()
