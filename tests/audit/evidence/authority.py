"""A time-stamp authority: `openssl ts` with a CA made here, behind a small HTTP server."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = """
[req]
distinguished_name = none
prompt = no
[none]
CN = unused
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[stamp]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
crypto_device = builtin
"""


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@dataclass
class Authority:
    """`status` other than 200 is answered in place of a stamp; `answer` in place of what openssl makes."""

    folder: Path
    url: str = ""
    status: int = 200
    answer: bytes | None = None
    asked: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        folder.mkdir()
        (folder / "openssl.cnf").write_text(CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        made = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", "openssl.cnf")
        openssl(
            folder, "req", "-x509", *made, "-extensions", "ca", "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem"
        )
        signed = ("-extensions", "stamp", "-subj", "/CN=TSA", "-CA", "ca.pem", "-CAkey", "ca.key")
        openssl(folder, "req", "-x509", *made, *signed, "-keyout", "tsa.key", "-out", "tsa.pem")
        return cls(folder)

    @property
    def roots(self) -> bytes:
        return (self.folder / "ca.pem").read_bytes()

    def stamp(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        openssl(self.folder, "ts", "-reply", "-config", "openssl.cnf", "-queryfile", "query", "-out", "reply")
        return (self.folder / "reply").read_bytes()


@contextmanager
def served(authority: Authority) -> Iterator[Authority]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            authority.asked.append(self.headers["Content-Type"])
            answer = authority.stamp(query) if authority.answer is None else authority.answer
            self.send_response(authority.status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    authority.url = f"http://127.0.0.1:{server.server_port}/tsa"
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
