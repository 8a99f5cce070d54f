"""Grows the files of a log and signs for them: tiles first, then the checkpoint. Imports no Django.

head store     holds the last checkpoint, by compare and swap, where the database's operators cannot write:
               that swap is the moment at which a growth has happened
tile store     the log's files, and the checkpoint again, with its witnesses' cosignatures, for the readers
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from audit import checkpoint, merkle, tiles
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.cosignature import Quorum, WitnessKey
from audit.errors import ForkError, LogError, MovedError, ProofError, RollbackError
from audit.note import KeyList, Signature
from audit.tile_store import TileStore, Versioned
from audit.tiles import CHECKPOINT, ENTRIES, WIDTH, Edge, NodeReader, Tile
from audit.witness_client import add_checkpoint

EMPTY = Edge()
REST_S, PATIENCE_S = 5.0, 2.0
Read = Callable[[int, int], Sequence[bytes]]


@dataclass(frozen=True)
class WitnessAt:
    """Where a witness is asked, and the key that it signs with."""

    url: str
    key: WitnessKey


@dataclass(frozen=True)
class Published:
    """What is signed for. `problems` say what readers should know of, by witness."""

    tree: Checkpoint
    problems: tuple[str, ...] = ()


class Publisher:
    """The one writer of a log's files. Any number may try: the head store lets one of them through at a time."""

    def __init__(
        self, origin: str, keys: KeyList, head: TileStore, store: TileStore, witnesses: Sequence[WitnessAt], quorum: int
    ) -> None:
        self._origin, self._keys, self._head, self._store = origin, keys, head, store
        self._witnesses = tuple(witnesses)
        self._quorum = Quorum(tuple(one.key for one in witnesses), quorum)
        self._held: Versioned | None = None
        self._edge, self._last = EMPTY, tuple[bytes, ...]()
        self._shown: bytes | None = None
        self._cosigned: dict[str, int] = {}
        self._silent_until: dict[str, float] = {}
        self._asking = ThreadPoolExecutor(max(1, 4 * len(witnesses)), thread_name_prefix="witness")

    @property
    def tree(self) -> Checkpoint:
        return Checkpoint(self._origin, self._edge.size, self._edge.root())

    def load(self) -> Checkpoint:
        """Read where the log stands, as after a crash and at every start. Raises LogError where it does not add up."""
        self._held = self._head.read_versioned(CHECKPOINT)
        if self._held is None:
            self._edge, self._last = EMPTY, ()
            return self.tree
        tree = open_checkpoint(self._held.data, self._origin, self._keys.verifiers).checkpoint
        self._edge = Edge.read(tree.size, self._store.read)
        if self._edge.root() != tree.root:
            raise ProofError("the tiles do not lead to the root of the last checkpoint")
        self._last = self._read_last(tree.size)
        return tree

    def _read_last(self, size: int) -> tuple[bytes, ...]:
        """The entries of the unfinished bundle, each held against its tile."""
        if not size % WIDTH:
            return ()
        bundle = tiles.read_bundle(Tile(ENTRIES, size // WIDTH, size % WIDTH), self._store.read)
        found = tiles.decode_bundle(bundle, size % WIDTH)
        if b"".join(map(merkle.leaf_hash, found)) != self._edge.rows[0]:
            raise ProofError("the last entry bundle does not agree with its tile")
        return tuple(found)

    def continues(self, size: int, published_size: int, published_root: bytes, read: Read) -> None:
        """Hold the log against what the database says of it. `read` gives the database's entries.

        Raises RollbackError where the database is older than the log, or the log older than what was signed;
        ForkError where they tell different stories.
        """
        tree = self.tree
        if tree.size > size:
            raise RollbackError(tree.size, size)
        if tree.size < published_size:
            raise RollbackError(published_size, tree.size)
        known = merkle.Frontier.of(published_size, NodeReader(tree.size, self._store.read))
        if known.root() != published_root:
            raise ForkError(
                f"the first {published_size} entries are not those that this database signed for",
                expected=published_root,
                found=known.root(),
            )
        grown = known.extended(map(merkle.leaf_hash, read(published_size, tree.size))).root()
        if grown != tree.root:
            what = f"entries {published_size} to {tree.size - 1} of the log are not those of this database"
            raise ForkError(what, expected=tree.root, found=grown)

    def grow(self, entries: Sequence[bytes]) -> Published:
        """Append entries: write their tiles, sign, swap the head, publish. All of it may be done again after a crash.

        Raises MovedError where another writer was first: load again.
        """
        edge, written = self._edge.grown([merkle.leaf_hash(entry) for entry in entries])
        bundles = tiles.bundles_grown(self._edge.size, self._last, entries)
        self._store.write({tile.path: data for tile, data in {**written, **bundles}.items()})
        last = [*self._last, *entries][-(edge.size % WIDTH) :] if edge.size % WIDTH else []
        signed = checkpoint.sign(Checkpoint(self._origin, edge.size, edge.root()), [self._keys.newest])
        self._held = self._head.swap(CHECKPOINT, self._held, signed)
        old, self._edge, self._last = self._edge.size, edge, tuple(last)
        found = self.publish()
        self._drop_partials(old, edge.size)
        return found

    def publish(self) -> Published:
        """Give readers the head's checkpoint, with the cosignatures that can be had now."""
        assert self._held is not None
        lines, problems = self._cosignatures(self._held.data)
        cosigned = checkpoint.with_signatures(self._held.data, lines)
        shown = self._store.read_versioned(CHECKPOINT)
        if self._shown is not None and (shown is None or shown.data != self._shown):
            problems.append("the published checkpoint had been changed or taken away, and was published again")
        if shown is None or shown.data != cosigned:
            self._store.swap(CHECKPOINT, shown, cosigned)
        self._shown = cosigned
        if len(lines) < self._quorum.least:
            problems.insert(0, f"{len(lines)} of {self._quorum.least} witnesses that are needed have cosigned")
        return Published(self.tree, tuple(problems))

    def watch(self) -> bool:
        """Whether what is published is still what was. Raises MovedError where the head is not ours any more."""
        held = self._head.read_versioned(CHECKPOINT)
        if held != self._held:
            raise MovedError(CHECKPOINT, _bytes(self._held), _bytes(held))
        return self._shown == _bytes(self._store.read_versioned(CHECKPOINT))

    def _cosignatures(self, signed: bytes) -> tuple[list[Signature], list[str]]:
        """What can be had within PATIENCE_S: a witness that drips its answer holds nothing up."""
        asked = {self._asking.submit(self._ask, witness, signed): witness for witness in self._witnesses}
        done, late = wait(asked, PATIENCE_S)
        for witness in (asked[future] for future in late):
            self._silent_until[witness.url] = time.monotonic() + REST_S
        answers = [future.result() for future in done]
        lines = [line for answer in answers if isinstance(answer, tuple) for line in answer]
        problems = [f"the witness {asked[future].key.name} did not answer within {PATIENCE_S:.0f} s" for future in late]
        return lines, [*problems, *(answer for answer in answers if isinstance(answer, str))]

    def _ask(self, witness: WitnessAt, signed: bytes) -> tuple[Signature, ...] | str:
        """Its cosignatures, or why there are none. One that failed is left alone for a while: signing must not wait."""
        if time.monotonic() < self._silent_until.get(witness.url, 0.0):
            return f"the witness {witness.key.name} failed just now, and is asked again in {REST_S:.0f} s"
        size = self._edge.size

        def prove(old: int) -> Sequence[bytes]:
            return merkle.consistency_proof(old, size, NodeReader(size, self._store.read))

        try:
            found = add_checkpoint(witness.url, self._cosigned.get(witness.url, 0), prove, signed, [witness.key])
        except (LogError, OSError) as error:
            self._silent_until[witness.url] = time.monotonic() + REST_S
            return f"the witness {witness.key.name} did not cosign: {error}"
        self._cosigned[witness.url] = size
        return found

    def _drop_partials(self, old: int, new: int) -> None:
        """Partial tiles give way to the full ones that this growth completed."""
        full = [tile for tile in tiles.tiles_of_growth(old, new) if tile.width == WIDTH]
        for tile in full:
            self._store.drop_partials(tile.path)
            if tile.level == 0:
                self._store.drop_partials(Tile(ENTRIES, tile.index).path)


def _bytes(version: Versioned | None) -> bytes | None:
    return version.data if version else None
