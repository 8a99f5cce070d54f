"""Logs to test with: a folder of tiles that grows, and its signed checkpoints."""

from collections.abc import Sequence
from pathlib import Path

from audit import merkle, tiles
from audit.checkpoint import Checkpoint, sign
from audit.errors import MissingError
from audit.note import SigningKey
from audit.proof import Proof
from audit.tile_store import FolderStore
from audit.tiles import Edge, NodeReader

ORIGIN = "log.example/team"
KEY = SigningKey(ORIGIN, bytes(range(32)))


def entries_of(size: int, salt: str = "") -> list[bytes]:
    return [f'{{"seq":{index},"of":"{salt}"}}'.encode() for index in range(size)]


class Log:
    """Written as the integrator will write it: tiles first, then the checkpoint."""

    def __init__(self, folder: Path, key: SigningKey = KEY) -> None:
        self.folder = folder
        self.key = key
        self.store = FolderStore(folder)
        self.edge = Edge()
        self.entries: list[bytes] = []

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.key.name, self.edge.size, self.edge.root())

    def signed(self) -> bytes:
        return sign(self.checkpoint, [self.key])

    def append(self, entries: Sequence[bytes]) -> bytes:
        """Returns the checkpoint that it published."""
        size = len(self.entries)
        unfinished = self.entries[size - size % tiles.WIDTH :]
        written = tiles.bundles_grown(size, unfinished, entries)
        self.edge, hashes = self.edge.grown([merkle.leaf_hash(entry) for entry in entries])
        self.entries += entries
        self.store.write({tile.path: data for tile, data in (written | hashes).items()})
        data = self.signed()
        self.store.swap(tiles.CHECKPOINT, self.store.read_versioned(tiles.CHECKPOINT), data)
        return data

    def read(self) -> NodeReader:
        return NodeReader(self.edge.size, self.store.read)

    def proof(self, index: int) -> Proof:
        hashes = merkle.inclusion_proof(index, self.edge.size, self.read())
        return Proof(index, tuple(hashes), self.signed())

    def consistency(self, old: int) -> list[bytes]:
        return merkle.consistency_proof(old, self.edge.size, self.read())


def nodes_of(leaves: Sequence[bytes]) -> merkle.ReadNode:
    """Reads nodes of a tree that is held in memory."""
    rows = [list(leaves)]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([merkle.node_hash(a, b) for a, b in zip(below[::2], below[1::2], strict=False)])
    return lambda level, index: rows[level][index]


class Memory:
    """A log's files in memory: what a verifier reads."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, name: str) -> bytes:
        try:
            return self.files[name]
        except KeyError:
            raise MissingError(name) from None

    def close(self) -> None:
        pass


def files_of(entries: Sequence[bytes], batches: Sequence[int] = ()) -> dict[str, bytes]:
    """Our log of these entries, grown in batches that end at these sizes."""
    edge, files = tiles.Edge(), {}
    for end in [*sorted(batches), len(entries)]:
        start = edge.size
        unfinished, new = entries[start - start % 256 : start], entries[start:end]
        files.update({tile.path: data for tile, data in tiles.bundles_grown(start, unfinished, new).items()})
        edge, written = edge.grown([merkle.leaf_hash(entry) for entry in new])
        files.update({tile.path: data for tile, data in written.items()})
    files["checkpoint"] = sign(Checkpoint(ORIGIN, len(entries), edge.root()), [KEY])
    return files
