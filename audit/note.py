"""Signed notes, as C2SP signed-note v1.0.0, with Ed25519 keys. Imports no Django."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.errors import FormatError, SignatureError, UnsignedError

ED25519 = 0x01
MOST_SIGNATURES = 100
_DASH = "\u2014 "


class Verifier(Protocol):
    """A public key with its name, for one type of signature."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> bytes: ...
    def verifies(self, text: bytes, signature: bytes) -> bool: ...


class Signer(Protocol):
    """A private key with its name, for one type of signature."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> bytes: ...
    def sign(self, text: bytes) -> bytes: ...


@dataclass(frozen=True)
class Signature:
    name: str
    key_id: bytes
    data: bytes

    def line(self) -> str:
        return f"{_DASH}{self.name} {encode64(self.key_id + self.data)}\n"


@dataclass(frozen=True)
class Note:
    """`verified` signatures come from known keys, `others` from keys that nobody here knows."""

    text: bytes
    verified: tuple[Signature, ...]
    others: tuple[Signature, ...]


def encode64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decode64(text: str) -> bytes:
    """RFC 4648 section 4, only as an encoder writes it. Raises FormatError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FormatError("not base64", text) from None
    if encode64(data) != text:
        raise FormatError("not base64 as it is written", text)
    return data


def check_name(name: str) -> str:
    """A key's name: not empty, no spaces, no plus, and nothing that a note may not contain."""
    if not name or "+" in name or any(c.isspace() or ord(c) < 0x20 for c in name):
        raise FormatError("not the name of a key", name)
    return name


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def format_vkey(name: str, kind: int, public: bytes) -> str:
    return f"{name}+{key_id(name, kind, public).hex()}+{encode64(bytes([kind]) + public)}"


def parse_vkey(text: str, kind: int) -> tuple[str, bytes]:
    """The name and the public key of a verifier key of this kind. Raises FormatError."""
    name, _, rest = text.partition("+")
    found_id, _, encoded = rest.partition("+")
    check_name(name)
    key = decode64(encoded)
    if len(key) != 33 or key[0] != kind:
        raise FormatError(f"not a verifier key of type {kind:#04x}", text)
    if key_id(name, kind, key[1:]).hex() != found_id.lower():
        raise FormatError("a verifier key whose id is another key's", text)
    return name, key[1:]


def ed25519_verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_of(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


@dataclass(frozen=True)
class VerifierKey:
    """The public half of a log's key: `example.com/log+530d903a+AekyeR...`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        return cls(*parse_vkey(text, ED25519))

    def __str__(self) -> str:
        return format_vkey(self.name, ED25519, self.public)

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, ED25519, self.public)

    def verifies(self, text: bytes, signature: bytes) -> bool:
        return ed25519_verifies(self.public, signature, text)


@dataclass(frozen=True, repr=False)
class SigningKey:
    """The private half, written as Go's sumdb/note does: `PRIVATE+KEY+<name>+<id>+base64(type || seed)`."""

    name: str
    seed: bytes

    @classmethod
    def generate(cls, name: str) -> "SigningKey":
        return cls(check_name(name), Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """Raises FormatError, which never quotes the key."""
        parts = text.strip().split("+", 4)
        if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
            raise FormatError("not a signing key")
        try:
            secret = decode64(parts[4])
        except FormatError:
            raise FormatError("not a signing key") from None
        if len(secret) != 33 or secret[0] != ED25519:
            raise FormatError("not an Ed25519 signing key")
        key = cls(check_name(parts[2]), secret[1:])
        if key.key_id.hex() != parts[3].lower():
            raise FormatError("a signing key whose id is another key's")
        return key

    def format(self) -> str:
        return f"PRIVATE+KEY+{self.name}+{self.key_id.hex()}+{encode64(bytes([ED25519]) + self.seed)}"

    def __repr__(self) -> str:
        return f"SigningKey({self.name}+{self.key_id.hex()})"

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, public_of(self.seed))

    @property
    def key_id(self) -> bytes:
        return self.verifier.key_id

    def sign(self, text: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(text)


@dataclass(frozen=True)
class KeyList:
    """A log's keys, oldest to newest: the last one signs, any one verifies."""

    keys: tuple[SigningKey, ...]

    def __post_init__(self) -> None:
        if not self.keys or len({(key.name, key.key_id) for key in self.keys}) != len(self.keys):
            raise FormatError("a key list names at least one key, and each once")

    @classmethod
    def parse(cls, text: str) -> "KeyList":
        """One signing key a line, oldest first."""
        return cls(tuple(SigningKey.parse(line) for line in text.splitlines() if line.strip()))

    @property
    def newest(self) -> SigningKey:
        return self.keys[-1]

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        return tuple(key.verifier for key in self.keys)

    def rotated(self, key: SigningKey) -> "KeyList":
        return KeyList((*self.keys, key))


def check_text(text: bytes) -> str:
    """UTF-8 without control characters but newline. Raises FormatError."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise FormatError("a note is UTF-8", error.reason) from None
    if any(c < 0x20 and c != 0x0A for c in text):
        raise FormatError("a note has no control characters but newline")
    return decoded


def sign(text: bytes, signers: Sequence[Signer], existing: Iterable[Signature] = ()) -> bytes:
    """The note: text, then existing signatures (but those that are made anew), then new ones."""
    if not check_text(text).endswith("\n"):
        raise FormatError("a note's text ends in a newline")
    new = [Signature(check_name(signer.name), signer.key_id, signer.sign(text)) for signer in signers]
    replaced = {(made.name, made.key_id) for made in new}
    kept = [signature for signature in existing if (signature.name, signature.key_id) not in replaced]
    return text + b"\n" + "".join(signature.line() for signature in [*kept, *new]).encode()


def parse(data: bytes) -> tuple[bytes, list[Signature]]:
    """The text and all signatures, none of them verified yet. Raises FormatError."""
    check_text(data)
    at = data.rfind(b"\n\n")
    if at < 0:
        raise FormatError("a note has a blank line before its signatures")
    lines = data[at + 2 :].decode().split("\n")
    if lines.pop() != "" or not lines:
        raise FormatError("a note ends in signature lines")
    if len(lines) > MOST_SIGNATURES:
        raise FormatError(f"a note has at most {MOST_SIGNATURES} signatures")
    return data[: at + 1], [parse_signature(line) for line in lines]


def parse_signature(line: str) -> Signature:
    """A signature line without its newline."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH):
        raise FormatError("not a signature line", line)
    data = decode64(encoded)
    if len(data) < 5:
        raise FormatError("too short for a signature", line)
    return Signature(check_name(name), data[:4], data[4:])


def open_note(data: bytes, known: Iterable[Verifier]) -> Note:
    """Verifies every signature of a known key, and demands at least one.

    Raises FormatError, SignatureError (a known key, but not its signature) or UnsignedError (no known key).
    """
    text, signatures = parse(data)
    verifiers = {(key.name, key.key_id): key for key in known}
    verified, others = [], []
    for signature in dict.fromkeys(signatures):
        verifier = verifiers.get((signature.name, signature.key_id))
        if verifier is None:
            others.append(signature)
        elif verifier.verifies(text, signature.data):
            verified.append(signature)
        else:
            raise SignatureError("not the signature of this known key", signature.name, signature.key_id)
    if not verified:
        raise UnsignedError([f"{found.name}+{found.key_id.hex()}" for found in others])
    return Note(text, tuple(verified), tuple(others))


def keys_of(given: Sequence[str]) -> list[str]:
    """Each a key, or a file with one key a line, oldest first."""
    found: list[str] = []
    for text in given:
        lines = Path(text).read_text().splitlines() if Path(text).is_file() else [text]
        found += [line.strip() for line in lines if line.strip()]
    return found
