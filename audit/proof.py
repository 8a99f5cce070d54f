"""Offline proofs that an entry is in the log: `.tlog-proof` files, as c2sp.org/tlog-proof@v1. Imports no Django."""

from collections.abc import Iterable
from dataclasses import dataclass

from audit import merkle, note
from audit.checkpoint import Opened, open_checkpoint, parse_decimal, parse_hash
from audit.cosignature import Quorum
from audit.errors import FormatError
from audit.note import Verifier, decode64, encode64

HEADER = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63


@dataclass(frozen=True)
class Proof:
    """`checkpoint` is the signed note, verbatim. `extra` is not authenticated."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def format(self) -> bytes:
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode64(self.extra)}")
        lines += [f"index {self.index}", *map(encode64, self.hashes), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "Proof":
        """Raises FormatError."""
        head, blank, checkpoint = data.partition(b"\n\n")
        lines = note.check_text(head).split("\n")
        if not blank or lines.pop(0) != HEADER:
            raise FormatError(f"not a proof: its first line is {HEADER!r}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode64(lines.pop(0).removeprefix("extra "))
        if not lines or not lines[0].startswith("index "):
            raise FormatError("a proof names its index")
        index = parse_decimal(lines.pop(0).removeprefix("index "))
        if len(lines) > MOST_HASHES:
            raise FormatError(f"a proof has at most {MOST_HASHES} hashes")
        note.parse(checkpoint)
        return cls(index, tuple(map(parse_hash, lines)), checkpoint, extra)

    def verify(self, entry: bytes, origin: str, keys: Iterable[Verifier], quorum: Quorum | None = None) -> Opened:
        """That the log committed to exactly these bytes. Offline.

        Raises FormatError, SignatureError or UnsignedError (checkpoint), QuorumError (witnesses), ProofError (entry).
        """
        opened = open_checkpoint(self.checkpoint, origin, keys)
        if quorum:
            quorum.check(self.checkpoint)
        tree = opened.checkpoint
        merkle.verify_inclusion(self.index, tree.size, merkle.leaf_hash(entry), self.hashes, tree.root)
        return opened
