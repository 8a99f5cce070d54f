"""A control plane for gateways as docs/gateway.md describes it, in memory, with a switch for each kind of trouble."""

import base64
import hashlib
import json
import queue
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import dsse
from tests.waiting import eventually

TOKEN = "dbg_" + "g" * 40


@dataclass
class Session:
    """One session: what its policy says. `secret` is its proxy secret."""

    rules: list[dict[str, Any]]
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    redact: list[str] = field(default_factory=list)
    lives_s: float = 600
    serial: int = 1
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: str = field(default_factory=lambda: "dbp_" + uuid.uuid4().hex + "00000000")


class ControlPlane:
    """`down`: it closes every connection without an answer. `lease_s` is what it grants."""

    def __init__(self, lease_s: float = 10.0) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.sessions: dict[str, Session] = {}
        self.over: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self.acks: list[dict[str, Any]] = []
        self.down, self.lease_s, self.quiet = False, lease_s, False
        self._lines: list[queue.Queue[dict[str, Any] | None]] = []
        self._lock = threading.Lock()
        plane = self

        class Handler(_Handler):
            control_plane = plane

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def policy_keys(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def begin(self, *rules: dict[str, Any], **more: Any) -> Session:
        session = Session(list(rules), **more)
        self.sessions[session.id] = session
        return session

    def kill(self, session: Session) -> None:
        self.over.add(session.id)
        self._say({"over": [session.id]})

    def change(self, session: Session, *rules: dict[str, Any]) -> None:
        session.rules, session.serial = list(rules), session.serial + 1
        self._say({"changed": [session.id]})

    def told(self, kind: str, **data: Any) -> dict[str, Any]:
        """The first event of this kind with these data, waited for."""

        def look() -> dict[str, Any] | None:
            with self._lock:
                fitting = (one for one in self.events if one["kind"] == kind)
                return next((one for one in fitting if data.items() <= one["data"].items()), None)

        return eventually(look, 10)

    def kinds(self) -> list[str]:
        with self._lock:
            return [one["kind"] for one in self.events]

    def acknowledged(self, session: Session) -> dict[str, Any]:
        return eventually(lambda: next((one for one in self.acks if one["session"] == session.id), None), 10)

    def close(self) -> None:
        for line in self._lines:
            line.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _say(self, news: dict[str, Any]) -> None:
        for line in [] if self.quiet else self._lines:
            line.put(news)

    def line(self) -> "queue.Queue[dict[str, Any] | None]":
        self._lines.append(queue.Queue())
        return self._lines[-1]

    def lease(self, said: dict[str, Any]) -> dict[str, Any]:
        known = {name: serial for name, serial in said["sessions"].items() if name in self.sessions}
        over = [name for name in said["sessions"] if name in self.over or name not in known]
        changed = [name for name, serial in known.items() if self.sessions[name].serial > serial]
        return {"gateway": "bed", "lease_s": self.lease_s, "over": over, "changed": changed}

    def take(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        with self._lock:
            self.events += lines
        return {"events": [{"id": one["id"], "answer": "stored", "why": None} for one in lines]}

    def passage(self, session: Session) -> dict[str, Any]:
        document = {
            "v": 1,
            "session": session.id,
            "serial": session.serial,
            "grant_hash": "ab" * 32,
            "not_after": (datetime.now(UTC) + timedelta(seconds=session.lives_s)).isoformat(),
            "ask": f"https://drawbridge.example/sessions/{session.id}/more",
            "rules": session.rules,
        }
        payload = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        signature = self.key.sign(dsse.pae(dsse.POLICY_TYPE, payload))
        name = dsse.key_id(self.key.public_key().public_bytes_raw())
        return {
            "session": session.id,
            "state": "active",
            "serial": session.serial,
            "policy": {
                "payloadType": dsse.POLICY_TYPE,
                "payload": base64.b64encode(payload).decode(),
                "signatures": [{"keyid": name, "sig": base64.b64encode(signature).decode()}],
            },
            "proxy_sha256": hashlib.sha256(session.secret.encode()).hexdigest(),
            "secrets": session.secrets,
            "redact": session.redact,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    control_plane: ControlPlane

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self._closed():
            return
        name = self.path.rpartition("/")[2]
        if name == "stream":
            self._stream()
        elif name in self.control_plane.over:
            self._answer(410, {})
        elif name in self.control_plane.sessions:
            self._answer(200, self.control_plane.passage(self.control_plane.sessions[name]))
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._closed():
            return
        if self.path.endswith("/lease"):
            self._answer(200, self.control_plane.lease(json.loads(body)))
        elif self.path.endswith("/events"):
            self._answer(200, self.control_plane.take([json.loads(one) for one in body.splitlines()]))
        else:
            self.control_plane.acks += json.loads(body)["acks"]
            self._answer(204, None)

    def _closed(self) -> bool:
        assert self.headers["Authorization"] == f"Bearer {TOKEN}"
        if self.control_plane.down:
            self.close_connection = True
        return self.control_plane.down

    def _answer(self, status: int, content: object) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        line = self.control_plane.line()
        self.close_connection = True
        try:
            self.wfile.write(b'{"beat": 0}\n')
            while not self.control_plane.down:
                try:
                    news = line.get(timeout=0.2)
                except queue.Empty:
                    news = {"beat": 1}
                if news is None:
                    return
                self.wfile.write(json.dumps(news).encode() + b"\n")
        except OSError:
            return
