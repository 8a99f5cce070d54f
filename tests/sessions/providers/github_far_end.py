"""GitHub on loopback, as far as tokens of an installation go. What is asked is held against GitHub's own description of
its REST API (githubkit-schemas): a request that it does not know fails the test.
"""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from githubkit_schemas.v2026_03_10 import models

INSTALLATION = 456


@dataclass
class GitHubFarEnd:
    """`alive` are the tokens that work. `repositories` and `permissions` are what the installation has."""

    public_key: RSAPublicKey
    repositories: frozenset[str] = frozenset({"shop", "site"})
    permissions: dict[str, str] = field(
        default_factory=lambda: {"contents": "write", "pull_requests": "write", "issues": "read", "metadata": "read"}
    )
    alive: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    # What the next requests are answered with instead, and what is changed in the next token's answer.
    faults: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    lies: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def token(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked = models.AppInstallationsInstallationIdAccessTokensPostBody.model_validate(body)
        wanted = body.get("permissions", {})
        models.AppPermissions.model_validate(wanted)
        assert set(wanted) <= set(models.AppPermissions.model_fields), f"GitHub has no such permission: {wanted}"
        too_much = [name for name, level in wanted.items() if self.permissions.get(name, "") < level]
        unknown = set(asked.repositories or []) - self.repositories
        if too_much or unknown:
            return 422, {"message": "The permissions requested are not granted to this installation."}
        self.asked.append(body)
        token = "ghs_" + secrets.token_hex(260)
        expires_at = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.alive[token] = body
        names = sorted(body["repositories"])
        return 201, {
            "token": token,
            "expires_at": expires_at,
            "permissions": {"metadata": "read", **wanted},
            "repository_selection": "selected",
            "repositories": [{"name": name} for name in names],
            **self.lies,
        }

    def signed_in(self, bearer: str) -> bool:
        try:
            jwt.decode(bearer, self.public_key, algorithms=["RS256"], issuer="123")
        except jwt.PyJWTError:
            return False
        return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    far: GitHubFarEnd

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.far.faults:
            status, headers, said = self.far.faults.pop(0)
            self.say(status, said, headers)
            return
        assert self.headers["Accept"] == "application/vnd.github+json"
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.say(*self.answer(bearer, json.loads(body) if body else {}))

    do_GET = do_POST = do_DELETE = handle_any

    def answer(self, bearer: str, body: dict[str, Any]) -> tuple[int, bytes]:
        refused = 401, b'{"message": "Bad credentials"}'
        match self.command, self.path.partition("?")[0]:
            case "POST", path if path == f"/app/installations/{INSTALLATION}/access_tokens":
                if not self.far.signed_in(bearer):
                    return refused
                status, said = self.far.token(body)
                return status, json.dumps(said).encode()
            case "DELETE", "/installation/token":
                return (204, b"") if self.far.alive.pop(bearer, None) else refused
            case "GET", "/installation/repositories":
                return (200, b'{"total_count": 0, "repositories": []}') if bearer in self.far.alive else refused
        return 404, b'{"message": "Not Found"}'

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def github(far: GitHubFarEnd) -> Iterator[GitHubFarEnd]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"far": far}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    far.url = f"http://127.0.0.1:{server.server_port}"
    yield far
    server.shutdown()
    server.server_close()
