"""The files of a log, as C2SP tlog-tiles v0.1.0 lays them out. Imports no Django.

A tile holds up to 256 hashes at one level of 8; an entry bundle holds the up to 256 entries of a tile of level 0.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from audit import merkle
from audit.errors import FormatError, MissingError
from audit.merkle import HASH_SIZE

HEIGHT = 8
WIDTH = 1 << HEIGHT
ENTRIES = -1
LONGEST_ENTRY = 0xFFFF
CHECKPOINT = "checkpoint"
Fetch = Callable[[str], bytes]

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-5]?[0-9]|6[0-3])/(?P<groups>(x[0-9]{3}/)*[0-9]{3})(\.p/(?P<width>[1-9][0-9]{0,2}))?"
)
_LARGEST = 2**63


@dataclass(frozen=True, order=True)
class Tile:
    """Tile `index` of `level`; of a bundle the level is ENTRIES. A width below 256 is a partial tile."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        digits, groups = self.index, [f"{self.index % 1000:03}"]
        while digits := digits // 1000:
            groups.append(f"x{digits % 1000:03}")
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """Exactly what `path` writes, and nothing else. Raises FormatError."""
        match = _PATH.fullmatch(path)
        if not match:
            raise FormatError("not the path of a tile", path)
        level = ENTRIES if match["level"] == "entries" else int(match["level"])
        index = int(match["groups"].replace("/", "").replace("x", ""))
        tile = cls(level, index, int(match["width"] or WIDTH))
        if tile.path != path or index >= _LARGEST:
            raise FormatError("not the path of a tile", path)
        return tile

    @property
    def full(self) -> "Tile":
        return Tile(self.level, self.index)

    @property
    def leaves(self) -> range:
        """The leaves below a full tile here."""
        span = WIDTH ** (max(self.level, 0) + 1)
        return range(self.index * span, (self.index + 1) * span)


def width_of(level: int, index: int, size: int) -> int:
    """How many hashes this tile holds in a tree of `size`: 0 to 256."""
    return max(0, min(WIDTH, (size >> (HEIGHT * max(level, 0))) - index * WIDTH))


def tile_of(level: int, index: int, size: int) -> Tile:
    return Tile(level, index, width_of(level, index, size))


def tiles_of_growth(old: int, new: int) -> Iterator[Tile]:
    """The tiles, partial ones too, that a tree of `new` has and one of `old` has not; level by level."""
    level = 0
    while after := new >> (HEIGHT * level):
        before = old >> (HEIGHT * level)
        if before != after:
            for index in range(before // WIDTH, (after + WIDTH - 1) // WIDTH):
                yield tile_of(level, index, new)
        level += 1


def bundles_of_growth(old: int, new: int) -> Iterator[Tile]:
    """The entry bundles that go with the tiles of level 0 of this growth."""
    for index in range(old // WIDTH, (new + WIDTH - 1) // WIDTH):
        if old < new:
            yield tile_of(ENTRIES, index, new)


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    for place, entry in enumerate(entries):
        if len(entry) > LONGEST_ENTRY:
            raise FormatError(f"entry {place} has {len(entry)} bytes, and {LONGEST_ENTRY} are the most")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(bundle: bytes, width: int | None = None) -> list[bytes]:
    """The entries of a bundle, of which there must be `width`. Raises FormatError."""
    entries: list[bytes] = []
    position = 0
    while position < len(bundle):
        start = position + 2
        position = start + int.from_bytes(bundle[position:start], "big")
        if position > len(bundle) or start > len(bundle):
            raise FormatError(f"the bundle ends within entry {len(entries)}")
        entries.append(bundle[start:position])
    if len(entries) != width and width is not None:
        raise FormatError(f"the bundle has {len(entries)} entries, not {width}")
    return entries


def hashes_of(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def read_tile(tile: Tile, fetch: Fetch) -> bytes:
    """A tile's bytes, checked for length; a partial tile may have given way to the full one. `fetch` takes paths."""
    try:
        data, width = fetch(tile.path), tile.width
    except MissingError:
        if tile.width == WIDTH:
            raise
        try:
            data, width = fetch(tile.full.path), WIDTH
        except MissingError:
            raise MissingError(tile.path) from None
    if len(data) != width * HASH_SIZE:
        raise FormatError(f"{tile.path} has {len(data)} bytes, not {width * HASH_SIZE}")
    return data[: tile.width * HASH_SIZE]


def read_bundle(tile: Tile, fetch: Fetch) -> bytes:
    """A bundle's bytes, not looked at; but where a partial bundle gave way to the full one, cut to its entries."""
    try:
        return fetch(tile.path)
    except MissingError:
        if tile.width == WIDTH:
            raise
    try:
        return cut_bundle(fetch(tile.full.path), tile.width)
    except MissingError:
        raise MissingError(tile.path) from None


def cut_bundle(bundle: bytes, width: int) -> bytes:
    """The first `width` entries, still encoded; a damaged bundle ends where it ends."""
    position = 0
    for _ in range(width):
        position += 2 + int.from_bytes(bundle[position : position + 2], "big")
    return bundle[:position]


class NodeReader:
    """Reads the nodes of a tree of `size` from its tiles: the `read` of merkle's proofs. Keeps what it read."""

    def __init__(self, size: int, fetch: Fetch) -> None:
        self.size = size
        self._fetch = fetch
        self._kept: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        row, within = divmod(level, HEIGHT)
        first = index << within
        number, place = divmod(first, WIDTH)
        data = self._tile(row, number)[place * HASH_SIZE : (place + (1 << within)) * HASH_SIZE]
        if len(data) != HASH_SIZE << within:
            raise ValueError(f"node {level}/{index} is not in a tree of {self.size}")
        return merkle.root(hashes_of(data))

    def _tile(self, row: int, number: int) -> bytes:
        if (row, number) not in self._kept:
            tile = tile_of(row, number, self.size)
            if not tile.width:
                raise ValueError(f"tile {row}/{number} is not in a tree of {self.size}")
            self._kept[row, number] = read_tile(tile, self._fetch)
        return self._kept[row, number]


@dataclass(frozen=True)
class Edge:
    """The unfinished tile of each level, lowest first: all that growing needs, and what the root follows from."""

    size: int = 0
    rows: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, size: int, fetch: Fetch) -> "Edge":
        rows, level = [], 0
        while size >> (HEIGHT * level):
            width = (size >> (HEIGHT * level)) % WIDTH
            number = size >> (HEIGHT * (level + 1))
            rows.append(read_tile(Tile(level, number, width), fetch) if width else b"")
            level += 1
        return cls(size, tuple(rows))

    def root(self) -> bytes:
        found = b""
        for row in self.rows:
            if nodes := hashes_of(row) + ([found] if found else []):
                found = merkle.root(nodes)
        return found or merkle.EMPTY_ROOT

    def grown(self, leaf_hashes: Sequence[bytes]) -> tuple["Edge", dict[Tile, bytes]]:
        """The edge after appending, and the tiles that this growth writes."""
        written: dict[Tile, bytes] = {}
        rows = list(self.rows)
        added, level = list(leaf_hashes), 0
        while added:
            if level == len(rows):
                rows.append(b"")
            first = (self.size >> (HEIGHT * level)) // WIDTH
            added, rows[level] = self._fill(level, first, rows[level] + b"".join(added), written)
            level += 1
        return Edge(self.size + len(leaf_hashes), tuple(rows)), written

    @staticmethod
    def _fill(level: int, first: int, data: bytes, written: dict[Tile, bytes]) -> tuple[list[bytes], bytes]:
        """Cuts a level's hashes into tiles. Returns the roots of the full ones, and what is left over."""
        full, above = WIDTH * HASH_SIZE, []
        whole = len(data) // full
        for number in range(whole):
            tile = data[number * full : (number + 1) * full]
            written[Tile(level, first + number)] = tile
            above.append(merkle.root(hashes_of(tile)))
        rest = data[whole * full :]
        if rest:
            written[Tile(level, first + whole, len(rest) // HASH_SIZE)] = rest
        return above, rest


def bundles_grown(size: int, unfinished: Sequence[bytes], entries: Sequence[bytes]) -> dict[Tile, bytes]:
    """The bundles that appending `entries` to a log of `size` writes; `unfinished` are its last bundle's entries."""
    if len(unfinished) != size % WIDTH:
        raise ValueError(f"a log of {size} ends in {size % WIDTH} entries of a bundle, not {len(unfinished)}")
    together = [*unfinished, *entries]
    new = size + len(entries)
    return {
        tile: encode_bundle(together[place * WIDTH : place * WIDTH + tile.width])
        for place, tile in enumerate(bundles_of_growth(size, new))
    }
