"""A far end on loopback, with and without TLS, that remembers what arrived. What it answers depends on the path."""

import base64
import gzip
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Arrived:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FarEnd:
    """`arrived` grows with each whole request; `connections` with each TCP connection. `says` is what /said answers."""

    tls: ssl.SSLContext | None = None
    says: bytes = b""
    arrived: list[Arrived] = field(default_factory=list)
    connections: int = 0
    gone: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        far = self

        class Handler(_Handler):
            far_end = far

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> tuple[socket.socket, object]:
                connection, address = super().get_request()
                far.connections += 1
                if far.tls is None:
                    return connection, address
                connection.settimeout(10)
                return far.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, *_: object) -> None:
                far.gone.set()

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    far_end: FarEnd

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def handle_one_request(self) -> None:
        super().handle_one_request()

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self._take
        raise AttributeError(name)

    def _take(self) -> None:
        body = b"".join(self._body())
        self.far_end.arrived.append(Arrived(self.command, self.path, dict(self.headers.items()), body))
        answer = {"stream": self._stream, "ws": self._websocket, "gzip": self._gzip, "early": self._early}
        answer.get(self.path.rpartition("/")[2].partition("?")[0], self._whole)()

    def _body(self) -> Iterator[bytes]:
        if self.path.endswith("/early"):
            return
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _whole(self) -> None:
        """/said: the bytes that the test chose. /status/N: N. Else what arrived, as JSON."""
        last = self.path.rpartition("/")[2].partition("?")[0]
        shown = json.dumps({"path": self.path, "headers": dict(self.headers.items())}).encode()
        body = self.far_end.says if last == "said" else shown
        self.send_response(int(last) if last.isdigit() else 200)
        self.send_header("Content-Length", str(len(body)))
        if last == "said":
            self.send_header("X-Said", self.far_end.says.decode("latin-1").replace("\n", " ")[:200])
        self.send_header("Alt-Svc", 'h3=":443"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _early(self) -> None:
        self.send_response(413)
        self.send_header("Content-Length", "5")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"large")
        self.close_connection = True
        # As servers do: who closes on bytes that wait resets the connection, answer included.
        with suppress(OSError):
            while self.rfile.read1(65_536):
                pass

    def _gzip(self) -> None:
        body = gzip.compress(self.far_end.says)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        """Server-sent events, one for each 50 ms, until somebody hangs up."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for number in range(2_000):
                event = b"data: %d %b\n\n" % (number, self.far_end.says)
                self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                time.sleep(0.05)
        except OSError:
            self.far_end.gone.set()
            self.close_connection = True

    def _websocket(self) -> None:
        """Sends back each message as it came, unmasked, behind `says`."""
        accept = base64.b64encode(hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + GUID).digest())  # noqa: S324
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.close_connection = True
        try:
            while head := self.rfile.read(2):
                mask = self.rfile.read(4)
                data = bytes(one ^ mask[at % 4] for at, one in enumerate(self.rfile.read(head[1] & 0x7F)))
                self.far_end.arrived.append(Arrived("WS", self.path, {}, data))
                said = self.far_end.says + data
                self.wfile.write(bytes([0x81, len(said)]) + said)
        finally:
            self.far_end.gone.set()


def certified(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for these names by an authority of its own: the authority's file, and the server's side of TLS."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "far")])
    at = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    (folder / "far.pem").write_bytes(pem)
    (folder / "far.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain) + pem
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "far.key")
    return folder / "far.pem", context
