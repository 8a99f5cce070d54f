"""Google on loopback: both ways to sign in (RFC 7523, RFC 8693), and generateAccessToken of the IAM Credentials API."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

EMAIL, WORKER = "reports@acme.iam.gserviceaccount.com", "drawbridge@acme.iam.gserviceaccount.com"
PATH = f"/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
# Google's library writes it so, whatever the file says of where to ask.
AUDIENCE = "https://oauth2.googleapis.com/token"
SUBJECT = "eyJ.platform.token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass
class GoogleFarEnd:
    """Who signed in, what was asked, what the next answer on a path is instead, what is changed in the next token's.

    `ahead`: by how much its clock is.
    """

    key: rsa.RSAPublicKey
    signed_in: set[str] = field(default_factory=set)
    asked: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)
    ahead: timedelta = timedelta()
    url: str = ""

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def answer(self, path: str, bearer: str, body: bytes) -> tuple[int, Any]:
        match path:
            case "/token":
                return self.sign_in(self.by_key(form(body)["assertion"]))
            case "/sts":
                return self.sign_in(form(body).get("subject_token") == SUBJECT and form(body)["grant_type"] == EXCHANGE)
            case _ if path == PATH:
                return self.generate(bearer, json.loads(body))
        return 404, {}

    def by_key(self, assertion: str) -> bool:
        claims = jwt.decode(assertion, self.key, algorithms=["RS256"], audience=AUDIENCE)
        return claims["iss"] == WORKER and "https://www.googleapis.com/auth/iam" in claims["scope"]

    def sign_in(self, known: bool) -> tuple[int, Any]:
        if not known:
            return 400, {"error": "invalid_grant", "error_description": "canary"}
        token = secrets.token_urlsafe(20)
        self.signed_in.add(f"Bearer {token}")
        issued = "urn:ietf:params:oauth:token-type:access_token"
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3599, "issued_token_type": issued}

    def generate(self, bearer: str, body: dict[str, Any]) -> tuple[int, Any]:
        if bearer not in self.signed_in:
            return 401, {"error": {"code": 401, "message": "canary", "status": "UNAUTHENTICATED"}}
        self.asked.append(body)
        ends = self.now() + timedelta(seconds=int(body["lifetime"].removesuffix("s")))
        said = {"accessToken": secrets.token_urlsafe(30), "expireTime": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
        return 200, {name: value for name, value in (said | self.lies).items() if value is not None}


def form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


class Handler(BaseHTTPRequestHandler):
    far: GoogleFarEnd
    timeout = 5

    def log_message(self, *_: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(self.far.now(), usegmt=True)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path in self.far.faults:
            status, raw = self.far.faults.pop(self.path)
        else:
            status, said = self.far.answer(self.path, self.headers.get("Authorization", ""), body)
            raw = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def google(running: GoogleFarEnd) -> Iterator[GoogleFarEnd]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"far": running}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    running.url = f"http://127.0.0.1:{server.server_port}"
    yield running
    server.shutdown()
    server.server_close()
