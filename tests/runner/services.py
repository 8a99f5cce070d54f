"""What tools talk to, each on loopback: a git server, indexes of pip and npm, and a model that orders tool calls."""

import base64
import hashlib
import io
import json
import os
import ssl
import subprocess
import tarfile
import threading
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    """Answers GET and POST alike by `answer`; what arrived is in `seen`."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, dict[str, str]]]]

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunks()
        self.seen.append((f"{self.command} {self.path}", dict(self.headers.items())))
        self.answer(body)

    do_GET = do_POST = do_HEAD = do_PUT = handle_any

    def _chunks(self) -> bytes:
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return body

    @abstractmethod
    def answer(self, body: bytes) -> None:
        """Answers the request whose body this is."""

    def say(self, status: int, body: bytes, kind: str = "application/octet-stream", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving(kind: type[Handler], tls: ssl.SSLContext | None = None, **fields: Any) -> Iterator[tuple[int, list[Any]]]:
    """A server of this kind: its port, and what arrives at it."""
    seen: list[Any] = []
    handler = type("Serving", (kind,), {"seen": seen, **fields})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        server.server_close()


class GitServer(Handler):
    """git over HTTP by git's own backend, for who shows `secret` as a password."""

    root: Path
    secret: str

    def answer(self, body: bytes) -> None:
        shown = base64.b64decode(self.headers.get("Authorization", "Basic ").partition(" ")[2]).decode()
        if shown.partition(":")[2] != self.secret:
            self.say(401, b"sign in", WWW_Authenticate='Basic realm="git"')
            return
        url = urlsplit(self.path)
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "agent",
        }
        ran = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True)
        head, _, said = ran.stdout.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.say(int(lines.get("Status", "200")[:3]), said, lines.get("Content-Type", "text/plain"))


class PipIndex(Handler):
    """PEP 503 with one package."""

    def answer(self, body: bytes) -> None:
        name = self.path.rstrip("/").rpartition("/")[2]
        if name == WHEEL:
            self.say(200, wheel())
        elif name == "greeting":
            self.say(200, f'<a href="/files/{WHEEL}">{WHEEL}</a>'.encode(), "text/html")
        else:
            self.say(404, b"")


WHEEL = "greeting-1.0-py3-none-any.whl"


def wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("greeting.py", "WORD = 'hello from the index'\n")
        file.writestr("greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr("greeting-1.0.dist-info/WHEEL", tags)
        file.writestr("greeting-1.0.dist-info/RECORD", "")
    return packed.getvalue()


class NpmRegistry(Handler):
    """One package."""

    def answer(self, body: bytes) -> None:
        if self.path == "/greeting/-/greeting-1.0.0.tgz":
            self.say(200, tarball())
        elif self.path == "/greeting":
            host = self.headers["Host"]
            integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball()).digest()).decode()
            dist = {"tarball": f"http://{host}/greeting/-/greeting-1.0.0.tgz", "integrity": integrity}
            version = {"name": "greeting", "version": "1.0.0", "dist": dist}
            content = {"name": "greeting", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
            self.say(200, json.dumps(content).encode(), "application/json")
        else:
            self.say(404, b"{}", "application/json")


def tarball() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as file:
        for name, text in (
            ("package/package.json", '{"name": "greeting", "version": "1.0.0", "main": "index.js"}'),
            ("package/index.js", "module.exports = 'hello from the registry'\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            file.addfile(entry, io.BytesIO(text.encode()))
    # The time of packing stands in the head of gzip.
    return packed.getvalue()[:4] + b"\0\0\0\0" + packed.getvalue()[8:]


class Model(Handler):
    """The Messages API, streamed: first a call of Bash, then the end. Refuses who does not show `secret`."""

    secret: str
    command: str
    orders: str

    def answer(self, body: bytes) -> None:
        if self.headers.get("X-Api-Key") != self.secret:
            error = {"type": "authentication_error", "message": "no"}
            self.say(401, json.dumps({"type": "error", "error": error}).encode(), "application/json")
            return
        if not urlsplit(self.path).path.endswith("/messages"):
            self.say(200, b"{}", "application/json")
            return
        asked = json.loads(body)
        results = [
            part
            for message in asked["messages"]
            for part in (message["content"] if isinstance(message["content"], list) else ())
            if part.get("type") == "tool_result"
        ]
        wants_tool = any(tool["name"] == "Bash" for tool in asked.get("tools", ())) and not results
        said = json.dumps(results[-1]["content"]) if results else "nothing to do"
        block = (
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
            if wants_tool
            else {"type": "text", "text": ""}
        )
        arguments = json.dumps({"command": self.orders, "description": "work"})
        delta = (
            {"type": "input_json_delta", "partial_json": arguments}
            if wants_tool
            else {"type": "text_delta", "text": f"It said: {said}"}
        )
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
        events: list[tuple[str, dict[str, Any]]] = [
            ("message_start", {"message": {**message, "stop_reason": None, "stop_sequence": None}}),
            ("content_block_start", {"index": 0, "content_block": block}),
            ("content_block_delta", {"index": 0, "delta": delta}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": {"stop_reason": "tool_use" if wants_tool else "end_turn"}, "usage": usage}),
            ("message_stop", {}),
        ]
        stream = "".join(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events)
        self.say(200, stream.encode(), "text/event-stream")
