"""The part of S3 that a tile store uses, over HTTP, for the real boto3 client. Conditional writes as AWS has them."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Bucket:
    """Its objects, the failures that the next requests meet, and what was asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failures: list[str] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()

    def tag(self, key: str) -> str | None:
        return f'"{hashlib.md5(self.objects[key]).hexdigest()}"' if key in self.objects else None

    def put(self, key: str, data: bytes, if_match: str | None, if_none_match: str | None) -> tuple[int, str]:
        found = self.tag(key)
        if if_none_match == "*" and found:
            return 412, "PreconditionFailed"
        if if_match and found is None:
            return 404, "NoSuchKey"
        if if_match and found != if_match:
            return 412, "PreconditionFailed"
        self.objects[key] = data
        return 200, ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def do_PUT(self) -> None:
        key, data = self._key(), self._body()
        with self.bucket.lock:
            self.bucket.requests.append(f"PUT {key}")
            failure = self.bucket.failures.pop(0) if self.bucket.failures else ""
            if failure == "before":
                return self._answer(500, "InternalError")
            if failure == "conflict":
                return self._answer(409, "ConditionalRequestConflict")
            status, code = self.bucket.put(key, data, self.headers.get("If-Match"), self.headers.get("If-None-Match"))
            if failure == "after":
                return self._answer(500, "InternalError")
            return self._answer(status, code, tag=self.bucket.tag(key) or "")

    def do_GET(self) -> None:
        key = self._key()
        if not key:
            return self._list(parse_qs(urlsplit(self.path).query)["prefix"][0])
        tag = self.bucket.tag(key)
        return self._answer(200, "", self.bucket.objects[key], tag) if tag else self._answer(404, "NoSuchKey")

    def do_DELETE(self) -> None:
        self.bucket.objects.pop(self._key(), None)
        self._answer(204, "")

    def _list(self, prefix: str) -> None:
        keys = "".join(
            f"<Contents><Key>{key}</Key></Contents>" for key in self.bucket.objects if key.startswith(prefix)
        )
        self._answer(200, "", f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>".encode())

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def _body(self) -> bytes:
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return data

    def _answer(self, status: int, code: str, body: bytes = b"", tag: str | None = None) -> None:
        if code:
            body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(bucket: Bucket, handler: type[Handler] = Handler) -> Iterator[str]:
    """The address of an S3 with this one bucket."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), {"bucket": bucket})) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
