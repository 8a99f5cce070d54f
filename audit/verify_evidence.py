"""Verifies an evidence file, a ZIP or the folder that it was unpacked to, offline. Imports no Django.

The exit codes are those of audit.verify, through its `exit_code`.
"""

import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol

from audit import evidence
from audit.checkpoint import Opened, open_checkpoint
from audit.errors import FormatError, MissingError, ProofError, UnreachableError
from audit.evidence import Item, Manifest, Span
from audit.merkle import leaf_hash, verify_inclusion
from audit.note import Signature
from audit.proof import Proof
from audit.verify import Policy, Progress

LONGEST_FILE = 64 * 1024 * 1024
CHUNK = 64 * 1024
LONGEST_ENTRY = LONGEST_PROOF = 65_535
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class Place(Protocol):
    """Where the files of the evidence are."""

    def names(self) -> list[str]: ...
    def open(self, name: str) -> IO[bytes]: ...


@dataclass(frozen=True)
class VerifiedEvidence:
    """`unproven` events are in the file without a proof; `stamped_at` is None where no authority was given."""

    opened: Opened
    cosignatures: tuple[Signature, ...]
    manifest: Manifest
    events: int
    unproven: tuple[str, ...]
    stamped_at: datetime | None


def is_evidence(path: Path) -> bool:
    """Whether the path looks like an evidence file rather than a log."""
    return path.is_file() or (path / evidence.MANIFEST).is_file()


def verify_evidence(
    path: Path,
    policy: Policy,
    progress: Progress | None = None,
    *,
    authorities: bytes | None = None,
    unproven: bool = False,
) -> VerifiedEvidence:
    """Every entry against its proof, every proof against the signed checkpoint, every file against index and manifest.

    `authorities` are PEM certificates, of which one must have time-stamped the checkpoint. An event that no checkpoint
    covered when the file was made is an error, unless `unproven`. Stops at the first that is bad, which it names.

    Raises ProofError, with the leaf as `index` where there is one; QuorumError; for a checkpoint that cannot be
    believed FormatError, SignatureError or MissingError; UnreachableError where the file cannot be read.
    """
    with ExitStack() as stack:
        files = Files(_place(path, stack))
        opened = open_checkpoint(files.read(evidence.CHECKPOINT), policy.origin, policy.keys)
        cosignatures = policy.quorum.check(opened.data)
        manifest = Manifest.parse(files.read(evidence.MANIFEST))
        tree = opened.checkpoint
        if (manifest.size, manifest.root) != (tree.size, tree.root.hex()):
            raise ProofError(f"{evidence.MANIFEST} is of another checkpoint than the one beside it")
        files.check(manifest)
        stamped_at = _stamped_at(files, opened.data, authorities)
        walk = Walk(files, opened, manifest, progress)
        walk.run()
        if walk.unproven and not unproven:
            raise ProofError(
                f"{len(walk.unproven)} events have no proof: no checkpoint covered them when the file was made. "
                f"The first is {walk.unproven[0]}. Make the file again."
            )
        return VerifiedEvidence(opened, cosignatures, manifest, walk.done, tuple(walk.unproven), stamped_at)


def _place(path: Path, stack: ExitStack) -> Place:
    if path.is_dir():
        return Folder(path)
    try:
        return Archive(stack.enter_context(zipfile.ZipFile(path)))
    except (OSError, *DAMAGED) as error:
        raise UnreachableError(f"{path} cannot be read as an evidence file: {error}") from error


def _stamped_at(files: "Files", message: bytes, authorities: bytes | None) -> datetime | None:
    if authorities is None:
        return None
    if evidence.TIMESTAMP not in files.names:
        raise ProofError("the evidence has no time-stamp of an authority")
    from audit.timestamping import verify_timestamp  # nothing else here needs more than cryptography

    return verify_timestamp(files.read(evidence.TIMESTAMP), message, authorities)


class Archive:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._zip = archive

    def names(self) -> list[str]:
        return self._zip.namelist()

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(name)


class Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        return [each.relative_to(self._root).as_posix() for each in self._root.rglob("*") if not each.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb")


class Files:
    """The files by name, each there once, and none read beyond what it may hold."""

    def __init__(self, place: Place) -> None:
        self._place = place
        listed = place.names()
        self.names = frozenset(listed)
        if len(self.names) != len(listed):
            [(twice, _)] = Counter(listed).most_common(1)
            raise FormatError("a file is there twice, so that readers may see different ones", twice)

    def open(self, name: str) -> IO[bytes]:
        if name not in self.names:
            raise MissingError(name)
        return self._place.open(name)

    def read(self, name: str, most: int = LONGEST_FILE, index: int | None = None) -> bytes:
        """Raises MissingError; ProofError, naming the leaf, for one that is damaged or too long."""
        try:
            with self.open(name) as file:
                data = file.read(most + 1)
        except DAMAGED as error:
            raise ProofError(f"{name} is damaged: {error}", index=index) from error
        except OSError as error:
            raise UnreachableError(f"{name} cannot be read: {error}") from error
        if len(data) > most:
            raise ProofError(f"{name} has more than {most:,} bytes", index=index)
        return data

    def check(self, manifest: Manifest) -> None:
        """The files beside the events against their hashes in the manifest."""
        for name, expected in manifest.sha256.items():
            digest = hashlib.sha256()
            try:
                with self.open(name) as file:
                    while chunk := file.read(CHUNK):
                        digest.update(chunk)
            except (MissingError, *DAMAGED) as error:
                raise ProofError(f"{name} cannot be read: {error}") from error
            if digest.hexdigest() != expected:
                found = digest.digest()
                raise ProofError(f"{name} is not what was written", expected=bytes.fromhex(expected), found=found)


@dataclass
class Walk:
    """Goes through the index: each line leads to an entry, the entry to its proof, the proof to the root."""

    files: Files
    opened: Opened
    manifest: Manifest
    progress: Progress | None
    done: int = 0
    unproven: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    spans: dict[str, Span] = field(default_factory=dict)

    def run(self) -> None:
        for found in self._index():
            item = self._item(found)
            if not evidence.same_row(found, item):
                raise ProofError(
                    f"{evidence.INDEX} says something else of {_named(item)} than its bytes", index=item.leaf
                )
            self._count(item)
            self.done += 1
            if self.progress:
                self.progress(self.done, max(self.manifest.events, self.done))
        self._check_complete()

    def _index(self) -> Iterator[Sequence[str]]:
        with self.files.open(evidence.INDEX) as file:
            rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""), strict=True)
            try:
                if next(rows, None) != list(evidence.COLUMNS):
                    raise ProofError(f"{evidence.INDEX} does not begin with the names of its columns")
                yield from rows
            except (csv.Error, UnicodeDecodeError) as error:
                raise ProofError(f"{evidence.INDEX} is damaged: {error}") from error

    def _item(self, found: Sequence[str]) -> Item:
        cells = dict(zip(evidence.COLUMNS, found, strict=False))
        leaf, event = cells.get("leaf", ""), cells.get("id", "")
        if leaf:
            return self._proven(leaf)
        name = f"{evidence.UNPROVEN}{event}.json"
        item = _parsed(self._take(name, None, f"event {event}"), None, event)
        self.unproven.append(_named(item))
        return item

    def _proven(self, text: str) -> Item:
        if not (text.isascii() and text.isdigit() and str(int(text[:19])) == text):
            raise ProofError(f"{evidence.INDEX} names a leaf that is none: {text[:40]!r}")
        leaf = int(text)
        body = self._take(evidence.entry_name(leaf), leaf, f"entry {leaf}")
        data = self._take(evidence.proof_name(leaf), leaf, f"the proof of entry {leaf}")
        try:
            proof = Proof.parse(data)
        except FormatError as error:
            raise ProofError(f"the proof of entry {leaf} is none: {error}", index=leaf) from error
        if proof.checkpoint != self.opened.data or proof.index != leaf:
            raise ProofError(f"the proof of entry {leaf} is of another entry or another checkpoint", index=leaf)
        tree = self.opened.checkpoint
        verify_inclusion(leaf, tree.size, leaf_hash(body), proof.hashes, tree.root)
        return _parsed(body, leaf, f"entry {leaf}")

    def _take(self, name: str, leaf: int | None, what: str) -> bytes:
        if name in self.seen:
            raise ProofError(f"{what} is named twice in {evidence.INDEX}", index=leaf)
        self.seen.add(name)
        try:
            return self.files.read(name, LONGEST_ENTRY, leaf)
        except MissingError as error:
            raise ProofError(f"{what} is missing from the file", index=leaf) from error

    def _count(self, item: Item) -> None:
        span = self.spans.setdefault(item.stream, Span(item.stream, item.seq, item.seq))
        before, span.last_seq = span.last_seq, item.seq
        expected = before + 1 if span.events else (1 if self.manifest.from_first else item.seq)
        span.events += 1
        if self.manifest.whole_streams and item.seq != expected:
            raise ProofError(
                f"event {expected} of {item.stream} is missing: {item.seq} comes in its place", index=item.leaf
            )

    def _check_complete(self) -> None:
        beside = {evidence.MANIFEST, *self.manifest.sha256}
        if left := sorted(self.files.names - self.seen - beside):
            raise ProofError(f"{left[0]} is in the file, and in neither {evidence.INDEX} nor {evidence.MANIFEST}")
        for expected in self.manifest.streams:
            found = self.spans.pop(expected.stream, None)
            if found != expected:
                numbers = f"{expected.first_seq} to {expected.last_seq}"
                shown = f"{found.first_seq} to {found.last_seq} ({found.events})" if found else "none"
                raise ProofError(
                    f"of {expected.stream} events {numbers} ({expected.events}) were written; found: {shown}"
                )
        if self.spans or (self.done, len(self.unproven)) != (self.manifest.events, self.manifest.unproven):
            raise ProofError(f"{self.done} events are in the file, and {self.manifest.events} were written")


def _parsed(body: bytes, leaf: int | None, what: str) -> Item:
    try:
        content: Mapping[str, object] = json.loads(body)
        item = Item(leaf, body, content)
        evidence.index_row(item)
    except (ValueError, KeyError, TypeError) as error:
        raise ProofError(f"{what} is not an event: {error}", index=leaf) from error
    return item


def _named(item: Item) -> str:
    return f"event {item.seq} of {item.stream}"
