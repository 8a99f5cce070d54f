"""Writes an evidence file as a stream: one pass over the events, and a page of them in memory. Imports no Django.

What a ZIP's directory needs of each file stays in memory until the end: about 1.2 KB for an event.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from zipstream import ZIP_DEFLATED, ZipStream  # type: ignore[import-untyped] # zipstream-ng has no types

from audit import evidence, evidence_report, merkle
from audit.checkpoint import Checkpoint
from audit.evidence import Item, Line, Manifest
from audit.merkle import ReadNode
from audit.proof import Proof
from audit.tiles import NodeReader

# Text of one event does not get much smaller with more effort, and most files here are one event.
EFFORT = 1
CHUNK = 64 * 1024
# Neighbouring leaves share most of their proofs.
NODES_KEPT = 8192

Narrate = Callable[[Sequence[Item]], Sequence[Line]]


@dataclass(frozen=True)
class Signed:
    """What every proof leads to: the checkpoint's bytes, the tree in it, and where its nodes are read."""

    data: bytes
    tree: Checkpoint
    read: ReadNode

    @classmethod
    def of(cls, data: bytes, tree: Checkpoint, fetch: Callable[[str], bytes]) -> "Signed":
        """`fetch` reads the log's files by their paths."""
        return cls(data, tree, lru_cache(NODES_KEPT)(NodeReader(tree.size, fetch)))

    def proof(self, leaf: int | None) -> Proof | None:
        """None for a leaf that the checkpoint does not cover."""
        if leaf is None or leaf >= self.tree.size:
            return None
        return Proof(leaf, tuple(merkle.inclusion_proof(leaf, self.tree.size, self.read)), self.data)


@dataclass(frozen=True)
class Around:
    """What stands in the file beside events: the time-stamp of the checkpoint, if any, and the keys' lines."""

    timestamp: bytes | None
    keys: Sequence[str]


class EvidenceZip:
    """`chunks` may be read once. Afterwards `manifest` says what is in the file."""

    def __init__(self, manifest: Manifest, signed: Signed, around: Around, narrate: Narrate, spool: Path) -> None:
        self.manifest = manifest
        self._signed = signed
        self._around = around
        self._narrate = narrate
        self._spool = spool
        self._zip = ZipStream(compress_type=ZIP_DEFLATED, compress_level=EFFORT)

    def chunks(self, pages: Iterable[Sequence[Item]]) -> Iterator[bytes]:
        """The ZIP's bytes. The events of a stream come together, and in their order."""
        with ExitStack() as files:
            index, rows = (files.enter_context(TemporaryFile(dir=self._spool)) for _ in range(2))
            yield from self._opening()
            table = Table(index, rows)
            for page in pages:
                for item, line in zip(page, self._narrate(page), strict=True):
                    table.add(self._put(item), line)
                yield from self._zip.all_files()
            table.close()
            yield from self._add(evidence.INDEX, _read(index))
            yield from self._add(evidence.REPORT, evidence_report.page(self.manifest, self._around.keys, _read(rows)))
            self._zip.add(self.manifest.encode(), evidence.MANIFEST)
            yield from self._zip.finalize()

    def _opening(self) -> Iterator[bytes]:
        yield from self._add(evidence.README, [evidence_report.readme(self.manifest).encode()])
        yield from self._add(evidence.CHECKPOINT, [self._signed.data])
        if self._around.timestamp is not None:
            yield from self._add(evidence.TIMESTAMP, [self._around.timestamp])
        yield from self._add(evidence.KEYS, ["".join(f"{line}\n" for line in self._around.keys).encode()])

    def _put(self, item: Item) -> Item:
        """Queues an event's files. Returns it, without a leaf where that is not proven."""
        proof = self._signed.proof(item.leaf)
        self.manifest.count(item, proven=proof is not None)
        if proof is None:
            item = Item(None, item.body, item.content)
            self._zip.add(item.body, evidence.unproven_name(item))
        else:
            self._zip.add(item.body, evidence.entry_name(proof.index))
            self._zip.add(proof.format(), evidence.proof_name(proof.index))
        return item

    def _add(self, name: str, data: Iterable[bytes]) -> Iterator[bytes]:
        """A file whose hash the manifest has."""
        self._zip.add(self._hashed(name, data), name)
        yield from self._zip.all_files()

    def _hashed(self, name: str, data: Iterable[bytes]) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in data:
            digest.update(chunk)
            yield chunk
        self.manifest.sha256[name] = digest.hexdigest()


class Table:
    """The index and the report's rows, which are written beside the ZIP and put into it at the end."""

    def __init__(self, index: IO[bytes], rows: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(index, encoding="utf-8", newline="", write_through=True)
        self._csv: Any = csv.writer(self._text, quoting=csv.QUOTE_ALL)
        self._csv.writerow(evidence.COLUMNS)
        self._rows = rows
        self._stream = ""
        self._shown = 0

    def add(self, item: Item, line: Line) -> None:
        self._csv.writerow(evidence.index_row(item, line))
        if self._shown == evidence_report.MOST_SHOWN:
            return
        self._shown += 1
        if item.stream != self._stream:
            self._rows.write((evidence_report.CLOSING if self._stream else "").encode())
            self._rows.write(evidence_report.opening(item).encode())
            self._stream = item.stream
        self._rows.write(evidence_report.row(item, line).encode())

    def close(self) -> None:
        self._rows.write((evidence_report.CLOSING if self._stream else "").encode())
        self._text.detach()


def _read(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK):
        yield chunk
