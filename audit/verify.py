"""Verifies a log from its files alone: entries, tiles, root, signatures, consistency, witnesses. Imports no Django.

    python -m audit.verify PATH-or-URL --key VKEY [--witness VKEY ... --quorum N] [--state FILE] [--from N] [--to N]

Exit codes:
    0  everything that was asked for is verified
    1  entries, tiles and signed root do not agree, or something is missing
    2  wrong usage
    3  no checkpoint, or not one that a given key signed
    4  the log does not continue the checkpoint that was seen last: forked or rolled back
    5  too few witnesses cosigned
    6  the log, or the state file, could not be read or written
"""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from audit import merkle, note, tiles
from audit.checkpoint import Checkpoint, Opened, open_checkpoint
from audit.cosignature import Quorum, WitnessKey
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
from audit.sources import Source, source
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


class State:
    """The file with the checkpoint that was verified last. It is ours alone: guard it as you guard the keys."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def last(self) -> Checkpoint | None:
        """Raises UnreachableError for a file that is not what `remember` wrote, or could not write."""
        if self._path is None:
            return None
        try:
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                return None
            return Checkpoint.parse(note.parse(self._path.read_bytes())[0])
        except (OSError, FormatError) as error:
            raise UnreachableError(f"the state cannot be read: {error}") from error

    def remember(self, verified: Verified) -> None:
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            with new.open("wb") as file:
                file.write(verified.opened.data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise UnreachableError(f"the log is verified, but the state cannot be written: {error}") from error


def policy_of(given: argparse.Namespace) -> Policy:
    """Raises FormatError."""
    keys = tuple(VerifierKey.parse(text) for text in note.keys_of(given.key))
    witnesses = tuple(WitnessKey.parse(text) for text in note.keys_of(given.witness))
    least = len(witnesses) if given.quorum is None else given.quorum
    return Policy(given.origin or keys[-1].name, keys, Quorum(witnesses, least))


def bar(done: int, total: int) -> None:
    """A line on a terminal's stderr that is drawn over, some 100 times in all."""
    step = max(1, total // 100 // WIDTH) * WIDTH
    if done % step == 0 or done == total:
        filled = done * 40 // total
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (40 - filled)}] {done:,} of {total:,}")
        sys.stderr.write("\n" if done == total else "")


def parser(prog: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=prog,
        description="Verifies a log from its files alone.",
        epilog=(__doc__ or "").partition("Exit codes:")[1] + (__doc__ or "").partition("Exit codes:")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("place", help="folder or URL with checkpoint and tile/")
    made.add_argument("--key", action="append", required=True, metavar="VKEY", help="the log's, or a file; repeat")
    made.add_argument("--origin", help="the log's origin; else the name of its last key")
    made.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness's key; repeat")
    made.add_argument("--quorum", type=int, metavar="N", help="how many of them must have cosigned; else all")
    made.add_argument("--state", type=Path, metavar="FILE", help="remembers the last checkpoint, and compares with it")
    made.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="first entry, counted from 0")
    made.add_argument("--to", type=int, metavar="N", help="last entry")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return made


def report(verified: Verified, seconds: float) -> str:
    tree, span = verified.opened.checkpoint, verified.span
    signed = ", ".join(f"{made.name}+{made.key_id.hex()}" for made in verified.opened.note.verified)
    names = ", ".join(sorted({made.name for made in verified.cosignatures})) or "no witness"
    since = f"continues the {verified.continues.size:,} seen last" if verified.continues else "nothing seen before"
    what = f"entries {span.start:,} to {span.stop - 1:,} of {tree.size:,}" if span else f"no entry of {tree.size:,}"
    gaps = verified.gaps
    gone = f"PRUNED {gaps.entries:,} of them, all below {gaps.minimum:,}: entry {gaps.said_by} says so\n"
    return (
        f"VERIFIED {what} ({verified.entries / seconds:,.0f} entries/s)\n{gone if gaps.missing else ''}"
        f"log {tree.origin}, root {tree.root.hex()}\n"
        f"signed by {signed}; cosigned by {names}; {since}"
    )


def main(
    arguments: Sequence[str] | None = None,
    prog: str = "python -m audit.verify",
    opened: Callable[[str], Source] = source,
) -> int:
    """The command line; `opened` makes a source of the place that was named. Returns the exit code."""
    parsing = parser(prog)
    given = parsing.parse_args(arguments)
    try:
        policy = policy_of(given)
    except FormatError as error:
        parsing.error(str(error))
    end = None if given.to is None else given.to + 1
    if given.first < 0 or (end is not None and end <= given.first):
        parsing.error("--from and --to are entries, the first is 0, and --to is not before --from")
    progress = bar if sys.stderr.isatty() and not given.quiet else None
    state, started = State(given.state), time.perf_counter()
    try:
        with closing(opened(given.place)) as place:
            verified = verify(place, policy, last=state.last(), first=given.first, end=end, progress=progress)
        state.remember(verified)
    except LogError as error:
        where = f" at entry {error.index}" if isinstance(error, ProofError) and error.index is not None else ""
        print(f"FAILED{where}: {error}", file=sys.stderr)
        return exit_code(error)
    print(report(verified, time.perf_counter() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
