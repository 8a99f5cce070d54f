"""Entra's token endpoint on loopback: client credentials with a client assertion (RFC 7523 section 2.2)."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TENANT, CLIENT, ASSERTION = "8a3f6c1e-tenant", "5d2b9f70-client", "eyJ.platform.token"
PATH = f"/{TENANT}/oauth2/v2.0/token"


@dataclass
class Entra:
    """The forms that came, what the next answer is instead, what is changed in the next token's."""

    forms: list[dict[str, str]] = field(default_factory=list)
    faults: list[tuple[int, bytes]] = field(default_factory=list)
    lies: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        self.forms.append(form)
        if path != PATH:
            return 400, {"error": "invalid_request", "error_description": "canary", "error_codes": [90002]}
        if form["client_assertion"] != ASSERTION:
            return 401, {"error": "invalid_client", "error_description": "canary", "error_codes": [700024, 1]}
        token = secrets.token_urlsafe(30)
        said = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}
        return 200, {name: value for name, value in (said | self.lies).items() if value is not None}


class Handler(BaseHTTPRequestHandler):
    far: Entra
    timeout = 5

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        if self.far.faults:
            status, raw = self.far.faults.pop(0)
        else:
            status, said = self.far.answer(self.path, {name: values[0] for name, values in parse_qs(body).items()})
            raw = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def entra() -> Iterator[Entra]:
    running = Entra()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"far": running}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    running.url = f"http://127.0.0.1:{server.server_port}"
    yield running
    server.shutdown()
    server.server_close()
