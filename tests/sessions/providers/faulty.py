"""A far end that misbehaves: a proxy on loopback before a real one, which does to a request what a test asks for."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Answers without asking the real one.
ANSWERS = {
    "429": (429, {"Retry-After": "1"}, b'{"errors": ["too many requests"], "message": "slow down"}'),
    "500": (500, {}, b'{"errors": ["internal error"], "message": "oops"}'),
    "503": (503, {}, b"busy"),
    "garbage": (200, {"Content-Type": "text/html"}, b"<html>\xff\x00 maintenance</html>"),
}
# Connections that end without an answer: before the real one was asked, after it did as it was told, after a long time.
LOST_BEFORE, LOST_AFTER, SLOW = "lost before", "lost after", "slow"
FAULTS = (*ANSWERS, LOST_BEFORE, LOST_AFTER, SLOW)
SLOW_S = 1.0
# Headers of the real one's answers that are passed on.
KEPT = ("content-type", "x-next-page")


@dataclass
class Faulty:
    """`fault` happens to the requests from number `first` to the one before `last`, counted from `forget` on."""

    upstream: str
    url: str = ""
    fault: str = ""
    first: int = 0
    last: int = 1_000_000
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def happens(self, fault: str, first: int = 0, last: int = 1_000_000) -> None:
        with self.lock:
            self.fault, self.first, self.last, self.count = fault, first, last, 0

    def forget(self) -> int:
        """No fault from here on. How many requests there were since the last call."""
        count = self.count
        self.happens("")
        return count

    def next(self) -> str:
        with self.lock:
            self.count += 1
            return self.fault if self.first <= self.count - 1 < self.last else ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    proxy: Faulty

    def log_message(self, *_: object) -> None:
        pass

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.next()
        if fault in ANSWERS:
            self.say(*ANSWERS[fault])
            return
        if fault == SLOW:
            time.sleep(SLOW_S)
        if fault in (SLOW, LOST_BEFORE):
            self.close_connection = True
            return
        status, headers, said = self.forward(body)
        if fault == LOST_AFTER:
            self.close_connection = True
            return
        self.say(status, headers, said)

    do_GET = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = do_any

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        where = urlsplit(self.proxy.upstream)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            said = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() in KEPT}
            return answer.status, kept, said
        finally:
            connection.close()

    def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)


@contextmanager
def before(upstream: str) -> Iterator[Faulty]:
    proxy = Faulty(upstream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    yield proxy
    server.shutdown()
    server.server_close()
