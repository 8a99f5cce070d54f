"""A log's signed tree head, as C2SP tlog-checkpoint v1.0.0. Imports no Django."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit import note
from audit.errors import FormatError
from audit.merkle import HASH_SIZE
from audit.note import Note, Signer, Verifier, decode64, encode64

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def parse_decimal(text: str) -> int:
    """ASCII digits without leading zeroes, below 2^63. Raises FormatError."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 2**63:
        raise FormatError("not a decimal number", text)
    return int(text)


def parse_hash(text: str) -> bytes:
    found = decode64(text)
    if len(found) != HASH_SIZE:
        raise FormatError("not a hash", text)
    return found


@dataclass(frozen=True)
class Checkpoint:
    """`origin` names the log; `size` counts its leaves; `root` is their tree's."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def body(self) -> bytes:
        lines = [self.origin, str(self.size), encode64(self.root), *self.extensions]
        body = "".join(f"{line}\n" for line in lines).encode()
        if Checkpoint.parse(body) != self:
            raise FormatError("a checkpoint that would not be read as it is written", self.origin)
        return body

    @classmethod
    def parse(cls, body: bytes) -> "Checkpoint":
        """A note's text. Raises FormatError."""
        lines = note.check_text(body).split("\n")
        if lines.pop() != "" or len(lines) < 3 or not all(lines):
            raise FormatError("a checkpoint is three lines or more, none of them empty", body)
        origin, size, root, *extensions = lines
        return cls(origin, parse_decimal(size), parse_hash(root), tuple(extensions))


@dataclass(frozen=True)
class Opened:
    """A checkpoint whose signatures were verified, and the bytes that it came in."""

    checkpoint: Checkpoint
    note: Note
    data: bytes


def sign(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    return note.sign(checkpoint.body(), signers)


def open_checkpoint(data: bytes, origin: str, known: Iterable[Verifier]) -> Opened:
    """Opens the checkpoint of this log. `known` are the log's keys alone: a witness does not speak for a log.

    Raises FormatError, SignatureError or UnsignedError.
    """
    opened = note.open_note(data, known)
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin != origin:
        raise FormatError(f"the checkpoint of another log than {origin}", checkpoint.origin)
    return Opened(checkpoint, opened, data)


def with_signatures(data: bytes, lines: Iterable[note.Signature]) -> bytes:
    """A checkpoint with cosignatures added; older ones of the same keys give way."""
    text, existing = note.parse(data)
    added = list(lines)
    replaced = {(signature.name, signature.key_id) for signature in added}
    kept = [signature for signature in existing if (signature.name, signature.key_id) not in replaced]
    return text + b"\n" + "".join(signature.line() for signature in [*kept, *added]).encode()
