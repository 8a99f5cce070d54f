"""A witness, as C2SP tlog-witness v1.0.0: cosigns a log's checkpoint only if it continues the last that it saw.

    python -m audit.witness --folder FOLDER --key FILE --log VKEY [--log VKEY ...] [--listen 127.0.0.1:8090]
    python -m audit.witness --key FILE --new-key witness.example/w1     makes a key, prints its verifier key

A process of its own, with its own storage and key, best on a machine of its own. Imports no Django.
"""

import argparse
import hashlib
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from audit import merkle, note
from audit.checkpoint import Checkpoint, Opened, open_checkpoint, parse_decimal, parse_hash, with_signatures
from audit.cosignature import Cosigner
from audit.errors import FormatError, MovedError, ProofError, SignatureError
from audit.note import SigningKey, VerifierKey
from audit.tile_store import FolderStore, TileStore, Versioned

LONGEST_REQUEST = 256 * 1024
MOST_HASHES = 63


@dataclass(frozen=True)
class Request:
    """The body of add-checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def format(self) -> bytes:
        lines = [f"old {self.old}", *map(note.encode64, self.proof), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, body: bytes) -> "Request":
        """Raises FormatError."""
        head, blank, checkpoint = body.partition(b"\n\n")
        lines = note.check_text(head).split("\n")
        if not blank or not lines[0].startswith("old ") or len(lines) > MOST_HASHES + 1:
            raise FormatError("not a request: an old size, at most 63 hashes, a blank line, a checkpoint")
        old = parse_decimal(lines[0].removeprefix("old "))
        return cls(old, tuple(map(parse_hash, lines[1:])), checkpoint)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class Witness:
    """Answers for the logs whose keys it was given; a log's keys share its origin as their name."""

    def __init__(self, store: TileStore, cosigner: Cosigner, logs: Iterable[VerifierKey]) -> None:
        self._store = store
        self._cosigner = cosigner
        self._logs: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._logs.setdefault(key.name, []).append(key)
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """What it cosigned is durable before it is answered."""
        try:
            request = Request.parse(body)
            text, _ = note.parse(request.checkpoint)
            origin = Checkpoint.parse(text).origin
        except FormatError as error:
            return _refusal(400, error)
        if origin not in self._logs:
            return Answer(404, b"this log is not known here\n")
        try:
            opened = open_checkpoint(request.checkpoint, origin, self._logs[origin])
        except SignatureError as error:
            return _refusal(403, error)
        with self._lock:
            return self._advance(request, opened)

    def _advance(self, request: Request, opened: Opened) -> Answer:
        name, tree = _name(opened.checkpoint.origin), opened.checkpoint
        held = self._store.read_versioned(name)
        last = _tree_of(held)
        if request.old > tree.size:
            return Answer(400, b"the old size is above the checkpoint's\n")
        if request.old != (last.size if last else 0):
            return _conflict(last)
        try:
            merkle.verify_consistency(request.old, tree.size, _root_of(last), tree.root, request.proof)
        except ProofError as error:
            return _refusal(422, error)
        cosignature = note.Signature(self._cosigner.name, self._cosigner.key_id, self._cosigner.sign(opened.note.text))
        text = opened.note.text + b"\n" + "".join(made.line() for made in opened.note.verified).encode()
        try:
            self._store.swap(name, held, with_signatures(text, [cosignature]))
        except MovedError:  # another process of this witness was first
            return _conflict(_tree_of(self._store.read_versioned(name)))
        return Answer(200, cosignature.line().encode())

    def latest(self, origin_hash: str) -> Answer:
        """The last checkpoint that it cosigned of the log whose origin hashes to this."""
        for origin in self._logs:
            if hashlib.sha256(origin.encode()).hexdigest() == origin_hash:
                held = self._store.read_versioned(_name(origin))
                return Answer(200, held.data) if held else Answer(404, b"nothing cosigned yet\n")
        return Answer(404, b"this log is not known here\n")


def _name(origin: str) -> str:
    return f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"


def _tree_of(held: Versioned | None) -> Checkpoint | None:
    return Checkpoint.parse(note.parse(held.data)[0]) if held else None


def _root_of(last: Checkpoint | None) -> bytes:
    return last.root if last else merkle.EMPTY_ROOT


def _conflict(last: Checkpoint | None) -> Answer:
    return Answer(409, f"{last.size if last else 0}\n".encode(), "text/x.tlog.size")


def _refusal(status: int, error: Exception) -> Answer:
    return Answer(status, f"{error}\n".encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    witness: Witness

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > LONGEST_REQUEST:
            self.close_connection = True
            self._send(Answer(413 if length.isdigit() else 411, b"give the length, and not over 256 KiB\n"))
            return
        body = self.rfile.read(int(length))
        known = self.path.rstrip("/").endswith("/add-checkpoint")
        self._send(self._cosign(body) if known else Answer(404, b"no such page\n"))

    def _cosign(self, body: bytes) -> Answer:
        try:
            return self.witness.add_checkpoint(body)
        except OSError as error:  # a full disk: nothing was cosigned that is not kept
            return _refusal(500, error)

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        known = len(parts) >= 2 and parts[-1] == "checkpoint"
        self._send(self.witness.latest(parts[-2]) if known else Answer(404, b"no such page\n"))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the answer is enough, and request lines are not ours."""


def server(witness: Witness, address: tuple[str, int]) -> ThreadingHTTPServer:
    """A server that is bound and not yet serving."""
    handler = type("Handler", (_Handler,), {"witness": witness})
    return ThreadingHTTPServer(address, handler)


def new_key(path: Path, name: str) -> str:
    """Writes a new signing key, readable by its owner alone, and returns the verifier key."""
    key = SigningKey.generate(name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.format() + "\n")
    return str(Cosigner(key).verifier)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m audit.witness", description="Cosigns what a log appended.")
    parser.add_argument("--key", type=Path, required=True, help="file with the witness's signing key")
    parser.add_argument("--new-key", metavar="NAME", help="write a new key to --key, print its verifier key, end")
    parser.add_argument("--folder", type=Path, help="where it keeps the last checkpoint of each log")
    parser.add_argument(
        "--log", action="append", default=[], metavar="VKEY", help="a key of a log, or a file of them; repeat"
    )
    parser.add_argument("--listen", default="127.0.0.1:8090", metavar="HOST:PORT")
    given = parser.parse_args(arguments)
    if given.new_key:
        print(new_key(given.key, given.new_key))
        return 0
    if not given.folder or not given.log:
        parser.error("--folder and --log are needed")
    cosigner = Cosigner(SigningKey.parse(given.key.read_text()))
    witness = Witness(FolderStore(given.folder), cosigner, map(VerifierKey.parse, note.keys_of(given.log)))
    host, _, port = given.listen.rpartition(":")
    listening = server(witness, (host, int(port)))
    print(f"witness {cosigner.verifier} on {host}:{listening.server_address[1]}", flush=True)
    try:
        listening.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
