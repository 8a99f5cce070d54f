"""Timestamped Ed25519 cosignatures of witnesses, as C2SP tlog-cosignature v1.1.0. Imports no Django."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import note
from audit.checkpoint import Checkpoint
from audit.errors import FormatError, QuorumError, SignatureError
from audit.note import SigningKey

KIND = 0x04
_STAMP = 8


def message(seconds: int, body: bytes) -> bytes:
    """What a witness signs: `seconds` since 1970, and the checkpoint's body."""
    return f"cosignature/v1\ntime {seconds}\n".encode() + body


@dataclass(frozen=True)
class WitnessKey:
    """The public half of a witness's key."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "WitnessKey":
        return cls(*note.parse_vkey(text, KIND))

    def __str__(self) -> str:
        return note.format_vkey(self.name, KIND, self.public)

    @property
    def key_id(self) -> bytes:
        return note.key_id(self.name, KIND, self.public)

    def verifies(self, text: bytes, signature: bytes) -> bool:
        seconds = int.from_bytes(signature[:_STAMP], "big")
        if len(signature) != _STAMP + 64 or not 0 < seconds < 2**63:
            return False
        return note.ed25519_verifies(self.public, signature[_STAMP:], message(seconds, text))


@dataclass(frozen=True)
class Cosigner:
    """The private half; `clock` gives seconds since 1970. The key is kept in a SigningKey's format."""

    key: SigningKey
    clock: Callable[[], float] = time.time

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def verifier(self) -> WitnessKey:
        return WitnessKey(self.name, note.public_of(self.key.seed))

    @property
    def key_id(self) -> bytes:
        return self.verifier.key_id

    def sign(self, text: bytes) -> bytes:
        """Raises FormatError for a text that is not a checkpoint."""
        Checkpoint.parse(text)
        seconds = int(self.clock())
        signed = Ed25519PrivateKey.from_private_bytes(self.key.seed).sign(message(seconds, text))
        return seconds.to_bytes(_STAMP, "big") + signed


def timestamp(signature: note.Signature) -> int:
    """When it was cosigned, in seconds since 1970; trust it only of a verified cosignature."""
    if len(signature.data) != _STAMP + 64:
        raise FormatError("not a cosignature", signature.name)
    return int.from_bytes(signature.data[:_STAMP], "big")


@dataclass(frozen=True)
class Quorum:
    """`least` of these witnesses must have cosigned."""

    witnesses: tuple[WitnessKey, ...] = ()
    least: int = 0

    def __post_init__(self) -> None:
        if len({key.public for key in self.witnesses}) != len(self.witnesses):
            raise FormatError("a witness is named twice")
        if not 0 <= self.least <= len(self.witnesses):
            raise FormatError(f"{self.least} of {len(self.witnesses)} witnesses cannot be had")

    def check(self, data: bytes) -> tuple[note.Signature, ...]:
        """The cosignatures of these witnesses on a checkpoint. Raises QuorumError, SignatureError, FormatError."""
        text, signatures = note.parse(data)
        found = verified(text, signatures, self.witnesses)
        names = sorted({f"{signature.name}+{signature.key_id.hex()}" for signature in found})
        if len(names) < self.least:
            raise QuorumError(self.least, names)
        return found


def verified(
    text: bytes, signatures: Iterable[note.Signature], keys: Iterable[WitnessKey]
) -> tuple[note.Signature, ...]:
    """Those that are of known witnesses. Raises SignatureError if one of them is bad."""
    known = {(key.name, key.key_id): key for key in keys}
    found = []
    for signature in signatures:
        if key := known.get((signature.name, signature.key_id)):
            if not key.verifies(text, signature.data):
                raise SignatureError("not the cosignature of this known witness", key.name, key.key_id)
            found.append(signature)
    return tuple(found)
