"""An authorization server on loopback: client credentials, token exchange, revocation, introspection."""

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

CLIENT = "Basic " + base64.b64encode(b"drawbridge:client-secret").decode()


@dataclass
class AuthorizationServer:
    """`alive` tokens, the forms that came, what the next answer is instead, what is changed in the next token's."""

    alive: set[str] = field(default_factory=set)
    forms: list[dict[str, str]] = field(default_factory=list)
    faults: list[tuple[int, bytes]] = field(default_factory=list)
    lies: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        self.forms.append(form)
        match path:
            case "/token":
                token = secrets.token_urlsafe(30)
                self.alive.add(token)
                said = {"access_token": token, "token_type": "Bearer", "expires_in": 600, "scope": form["scope"]}
                return 200, {name: value for name, value in (said | self.lies).items() if value is not None}
            case "/revoke":
                self.alive.discard(form["token"])
                return 200, ""
            case "/introspect":
                return 200, {"active": form["token"] in self.alive}
        return 404, ""


class Handler(BaseHTTPRequestHandler):
    far: AuthorizationServer
    timeout = 5

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        if self.far.faults:
            status, raw = self.far.faults.pop(0)
        elif self.headers.get("Authorization") != CLIENT:
            status, raw = 401, b'{"error": "invalid_client"}'
        else:
            form = {name: values[0] for name, values in parse_qs(body).items()}
            status, said = self.far.answer(self.path, form)
            raw = json.dumps(said).encode() if said != "" else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def authorization_server() -> Iterator[AuthorizationServer]:
    running = AuthorizationServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"far": running}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    running.url = f"http://127.0.0.1:{server.server_port}"
    yield running
    server.shutdown()
    server.server_close()
