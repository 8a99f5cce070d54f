"""What can be wrong with a log, its proofs and its files. Imports no Django.

    LogError
    ├── FormatError         bytes that do not follow their format
    ├── ProofError          a proof, tile or entry that does not lead to the hash that it should
    │   └── ForkError       a log that does not continue what it was
    ├── SignatureError      a key that is known did not make this signature
    │   └── UnsignedError   no known key signed
    ├── QuorumError         too few witnesses cosigned
    ├── RollbackError       a log that is shorter than it was
    ├── MissingError        nothing under this name
    ├── OverwriteError      other bytes under a name whose bytes never change
    ├── MovedError          the checkpoint is not the one that was to be replaced
    ├── WitnessError        a witness answered no
    └── UnreachableError    a source that cannot be read, which says nothing about the log

Each carries its evidence as attributes; hashes are 32 bytes.
"""


class LogError(Exception):
    """The root of the tree."""


class FormatError(LogError):
    def __init__(self, what: str, found: object = None) -> None:
        self.what, self.found = what, found
        super().__init__(what if found is None else f"{what}: {found!r}"[:300])


class ProofError(LogError):
    """`index` is the first bad leaf where one is known."""

    def __init__(self, what: str, *, expected: bytes = b"", found: bytes = b"", index: int | None = None) -> None:
        self.what, self.expected, self.found, self.index = what, expected, found, index
        differs = f": expected {expected.hex()}, found {found.hex()}" if expected or found else ""
        super().__init__(what + differs)


class ForkError(ProofError):
    """Two signed trees of one log contradict each other: `expected` and `found` are roots of the same size."""


class SignatureError(LogError):
    def __init__(self, what: str, name: str, key_id: bytes) -> None:
        self.name, self.key_id = name, key_id
        super().__init__(f"{what}: {name}+{key_id.hex()}")


class UnsignedError(SignatureError):
    """`found` are the keys that did sign, as `name+id`."""

    def __init__(self, found: list[str]) -> None:
        self.found = found
        self.name, self.key_id = "", b""
        LogError.__init__(self, f"no known key signed it; signed by {', '.join(found)}")


class QuorumError(LogError):
    def __init__(self, expected: int, found: list[str]) -> None:
        self.expected, self.found = expected, found
        super().__init__(f"{expected} witnesses must have cosigned it; {len(found)} did: {', '.join(found) or 'none'}")


class RollbackError(LogError):
    def __init__(self, expected: int, found: int) -> None:
        self.expected, self.found = expected, found
        super().__init__(f"the log has {found} entries, and had {expected}")


class MissingError(LogError):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is missing")


class OverwriteError(LogError):
    def __init__(self, name: str, expected: bytes, found: bytes) -> None:
        self.name, self.expected, self.found = name, expected, found
        at = next((i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), None)
        where = f"from byte {at}" if at is not None else f"{len(found)} bytes there, {len(expected)} to write"
        super().__init__(f"{name} exists with other bytes ({where})")


class MovedError(LogError):
    """`expected` and `found` are the checkpoint's bytes, or None where there is none."""

    def __init__(self, name: str, expected: bytes | None, found: bytes | None) -> None:
        self.name, self.expected, self.found = name, expected, found
        super().__init__(f"{name} is not what it was when it was read: somebody else wrote it")


class WitnessError(LogError):
    """`size` is what the witness holds, where it said so (status 409)."""

    def __init__(self, status: int, what: str, size: int | None = None) -> None:
        self.status, self.size = status, size
        super().__init__(f"the witness answered {status}: {what}")


class UnreachableError(LogError):
    """Not the log's fault as far as anyone can tell: a network, a permission, a disk."""
