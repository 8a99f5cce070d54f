"""Asks a witness for its cosignature (C2SP tlog-witness, add-checkpoint). Imports no Django."""

import http.client
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from audit import note
from audit.checkpoint import parse_decimal
from audit.cosignature import WitnessKey, verified
from audit.errors import FormatError, WitnessError
from audit.note import Signature
from audit.witness import LONGEST_REQUEST, Request

Prove = Callable[[int], Sequence[bytes]]


def add_checkpoint(
    url: str, old: int, prove: Prove, checkpoint: bytes, keys: Sequence[WitnessKey], timeout_s: float = 1.0
) -> tuple[Signature, ...]:
    """The verified cosignatures of a witness. Asks again, once, where it holds another size than `old`.

    `prove(old)` gives the consistency proof from that size. Raises WitnessError, FormatError, SignatureError; OSError
    where the witness cannot be reached.
    """
    request = Request(old, tuple(prove(old)), checkpoint)
    status, content_type, body = _post(url, request.format(), timeout_s)
    if status == 409 and content_type == "text/x.tlog.size":
        held = held_size(body)
        size = parse_decimal(note.parse(checkpoint)[0].decode().split("\n")[1])
        if held > size:
            raise WitnessError(409, f"it has cosigned {held} leaves, and this checkpoint has {size}", held)
        request = Request(held, tuple(prove(held)), checkpoint)
        status, content_type, body = _post(url, request.format(), timeout_s)
    if status != 200:
        size_held = held_size(body) if content_type == "text/x.tlog.size" else None
        raise WitnessError(status, body[:200].decode(errors="replace").strip(), size_held)
    return _cosignatures(body, checkpoint, keys)


def held_size(body: bytes) -> int:
    return parse_decimal(body.decode("ascii", errors="replace").removesuffix("\n"))


def _cosignatures(body: bytes, checkpoint: bytes, keys: Sequence[WitnessKey]) -> tuple[Signature, ...]:
    lines = note.check_text(body).split("\n")
    if lines.pop() != "" or not lines:
        raise FormatError("a witness answers with signature lines", body[:100])
    found = verified(note.parse(checkpoint)[0], map(note.parse_signature, lines), keys)
    if not found:
        raise WitnessError(200, "none of its cosignatures is by the keys known here")
    return found


def _post(url: str, body: bytes, timeout_s: float) -> tuple[int, str, bytes]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an address of a witness: {url}")
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/add-checkpoint", body)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read(LONGEST_REQUEST)
    except http.client.HTTPException as error:
        raise WitnessError(0, f"not HTTP: {error}") from error
    finally:
        connection.close()
