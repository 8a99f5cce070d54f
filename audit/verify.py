"""Verifies a log from its files alone: entries, tiles, root, signatures, consistency, witnesses. Imports no Django."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

from audit import merkle, note, tiles
from audit.checkpoint import Checkpoint, Opened, open_checkpoint
from audit.cosignature import Quorum
from audit.errors import (
    ForkError,
    FormatError,
    LogError,
    MissingError,
    ProofError,
    QuorumError,
    RollbackError,
    UnreachableError,
)
from audit.note import Signature, VerifierKey
from audit.pruned import Gaps
from audit.sources import Source
from audit.tiles import ENTRIES, WIDTH, Edge, NodeReader, Tile

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Policy:
    """Whom to believe: the log's origin and keys (any of them may have signed), and which witnesses."""

    origin: str
    keys: tuple[VerifierKey, ...]
    quorum: Quorum = Quorum()


@dataclass(frozen=True)
class Verified:
    """`entries` of them were hashed, bundles at a time, so that `span` may be a little less.

    `gaps` are entries that are gone, because the log says in an entry of its own that it pruned them.
    """

    opened: Opened
    cosignatures: tuple[Signature, ...]
    span: range
    entries: int
    continues: Checkpoint | None
    gaps: Gaps


def verify(
    source: Source,
    policy: Policy,
    *,
    last: Checkpoint | None = None,
    first: int = 0,
    end: int | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Verifies entries [first, end) and all above them up to the signed root; stops at the first that is bad.

    Raises ProofError with the first bad `index` where one can be named, ForkError, RollbackError, QuorumError,
    UnreachableError; for a checkpoint that cannot be believed FormatError, SignatureError or MissingError.
    """
    opened = open_checkpoint(source.read(tiles.CHECKPOINT), policy.origin, policy.keys)
    tree = opened.checkpoint
    cosignatures = policy.quorum.check(opened.data)
    if last and last.size > tree.size:
        raise RollbackError(last.size, tree.size)
    span = range(first, tree.size if end is None else end)
    if not 0 <= span.start <= span.stop <= tree.size:
        raise ProofError(f"the log ends before entry {span.stop - 1}: it has {tree.size}", index=tree.size)
    walk = Walk(source, tree, span, progress)
    walk.run(last)
    if last:
        check_continues(source, last, tree)
    return Verified(opened, cosignatures, span, walk.done, last, walk.gaps)


def check_continues(source: Source, last: Checkpoint, tree: Checkpoint) -> None:
    """That `tree`, whose root the tiles lead to, begins with `last`. Raises ForkError."""
    read = NodeReader(tree.size, source.read)
    try:
        found = merkle.range_root(0, last.size, read)
        proof = merkle.consistency_proof(last.size, tree.size, read)
    except MissingError as error:
        raise ProofError(f"a tile is missing: {error.name}") from error
    except FormatError as error:
        raise ProofError(str(error)) from error
    merkle.verify_consistency(last.size, tree.size, found, tree.root, proof)
    if found != last.root:
        raise ForkError(
            f"the first {last.size} entries are not those that were signed before", expected=last.root, found=found
        )


def leaf_hashes(bundle: bytes, width: int) -> list[bytes] | None:
    """The leaf hashes of a bundle's `width` entries, or None if it is cut or too long."""
    sha256, found, position = hashlib.sha256, [], 0
    try:
        for _ in range(width):
            start = position + 2
            position = start + (bundle[position] << 8 | bundle[position + 1])
            found.append(sha256(b"\x00" + bundle[start:position]).digest())
    except IndexError:
        return None
    return found if position == len(bundle) else None


class Walk:
    """Reads entries in their order, each against its tile, each tile against the one above it, these against the root.

    Below before above: what differs is named at the entry, if it can be seen there.
    """

    def __init__(self, source: Source, tree: Checkpoint, span: range, progress: Progress | None) -> None:
        self.done = 0
        self.gaps = Gaps()
        self._source = source
        self._tree = tree
        self._span = span
        self._progress = progress
        self._total = len(range(span.start // WIDTH * WIDTH, min(-(-span.stop // WIDTH) * WIDTH, tree.size)))

    def run(self, last: Checkpoint | None) -> None:
        size, rows = self._tree.size, []
        for level in reversed(range(-(-size.bit_length() // tiles.HEIGHT))):
            index = size >> (tiles.HEIGHT * (level + 1))
            edge = tiles.tile_of(level, index, size)
            rows.append(self._check(edge, None, "") if edge.width else b"")
        if unsaid := self.gaps.unsaid():
            path = tiles.tile_of(ENTRIES, unsaid.start // WIDTH, size).path
            raise ProofError(f"a gap: {path} is missing, and no entry says that it was pruned", index=unsaid.start)
        found = Edge(size, tuple(reversed(rows))).root()
        if found != self._tree.root:
            raise ProofError(
                f"entries and tiles agree with one another, not with the signed root{self._known(last)}",
                expected=self._tree.root,
                found=found,
            )

    def _known(self, last: Checkpoint | None) -> str:
        """What an older checkpoint says about where the entries begin to differ."""
        if last is None or last.size == 0:
            return ""
        same = merkle.range_root(0, last.size, NodeReader(self._tree.size, self._source.read)) == last.root
        return f"; the first {last.size} are {'as they were' if same else 'not as they were'} at the last checkpoint"

    def _check(self, tile: Tile, expected: bytes | None, above: str) -> bytes:
        """A tile's bytes, when all below it that is asked for agrees with it, and it with the tile above."""
        data = self._read(tile)
        if tile.level:
            self._check_below(tile, data)
        elif self._wanted(tile):
            self._check_entries(tile, data)
        if expected is not None and (found := merkle.root(tiles.hashes_of(data))) != expected:
            index = max(tile.leaves.start, self._span.start)
            what = f"entry {index} and those after it agree with {tile.path}, which {above} contradicts"
            raise ProofError(what, expected=expected, found=found, index=index)
        return data

    def _check_below(self, tile: Tile, data: bytes) -> None:
        for place, expected in enumerate(tiles.hashes_of(data)):
            below = Tile(tile.level - 1, tile.index * WIDTH + place)
            if self._wanted(below):
                self._check(below, expected, tile.path)

    def _check_entries(self, tile: Tile, data: bytes) -> None:
        try:
            bundle = tiles.read_bundle(Tile(ENTRIES, tile.index, tile.width), self._source.read)
        except MissingError:
            self.gaps.missed(range(tile.leaves.start, tile.leaves.start + tile.width))
            return
        found = leaf_hashes(bundle, tile.width)
        if found is None or b"".join(found) != data:
            raise self._first_bad(tile, data, bundle)
        self.gaps.read(tile.leaves.start, bundle)
        self.done += tile.width
        if self._progress:
            self._progress(self.done + self.gaps.entries, self._total)

    def _first_bad(self, tile: Tile, data: bytes, bundle: bytes) -> ProofError:
        """The slow way over a bundle that is known to be bad."""
        position = 0
        for place, expected in enumerate(tiles.hashes_of(data)):
            index, start = tile.index * WIDTH + place, position + 2
            position = start + int.from_bytes(bundle[position:start], "big")
            if position > len(bundle) or start > len(bundle):
                return ProofError(f"entry {index} is missing: its bundle ends before its end", index=index)
            found = merkle.leaf_hash(bundle[start:position])
            if found != expected:
                what = f"entry {index} is not what the log committed to in {tile.path}"
                return ProofError(what, expected=expected, found=found, index=index)
        index = tile.index * WIDTH + tile.width
        return ProofError(f"the bundle goes on after entry {index - 1}", index=index)

    def _wanted(self, tile: Tile) -> bool:
        leaves = tile.leaves
        return leaves.start < self._span.stop and self._span.start < leaves.stop

    def _read(self, tile: Tile) -> bytes:
        try:
            data = tiles.read_tile(tile, self._source.read)
        except MissingError as error:
            raise ProofError(f"a gap: {error.name} is missing", index=tile.leaves.start) from error
        except FormatError as error:
            raise ProofError(str(error), index=tile.leaves.start) from error
        return data


def first_difference(source: Source, other: Source) -> int | None:
    """The first entry in which two copies of a log differ, as far as both reach; None where they do not."""
    sizes = [Checkpoint.parse(note.parse(one.read(tiles.CHECKPOINT))[0]).size for one in (source, other)]
    for index in range(-(-min(sizes) // WIDTH)):
        pair = [
            tiles.hashes_of(tiles.read_tile(tiles.tile_of(0, index, size), one.read))
            for one, size in zip((source, other), sizes, strict=True)
        ]
        for place, (ours, theirs) in enumerate(zip(*pair, strict=False)):
            if ours != theirs:
                return index * WIDTH + place
    return None


EXIT_CODES: tuple[tuple[type[LogError], int], ...] = (
    (UnreachableError, 6),
    (QuorumError, 5),
    (ForkError, 4),
    (RollbackError, 4),
    (ProofError, 1),
    (LogError, 3),
)


def exit_code(error: LogError) -> int:
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


if __name__ == "__main__":
    from audit.verify_log import main

    sys.exit(main())
