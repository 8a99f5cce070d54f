"""C2SP tlog-tiles: paths, which tiles there are, bundles, nodes read from tiles."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import merkle, tiles
from audit.errors import FormatError, MissingError
from audit.tiles import ENTRIES, Edge, NodeReader, Tile
from tests.audit.formats.logs import Log, entries_of, nodes_of

LEAVES = [merkle.leaf_hash(entry) for entry in entries_of(70_000)]


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 0, 1), "tile/0/000.p/1"),
        (Tile(1, 999, 255), "tile/1/999.p/255"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(63, 1234067), "tile/63/x001/x234/067"),
        (Tile(0, 1234067, 8), "tile/0/x001/x234/067.p/8"),
        (Tile(ENTRIES, 1234067), "tile/entries/x001/x234/067"),
        (Tile(ENTRIES, 5, 7), "tile/entries/005.p/7"),
        (Tile(2, 10**12), "tile/2/x001/x000/x000/x000/000"),
    ],
)
def test_path_both_ways(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/x234",
        "tile/0/001/234",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/8/0/000",
        "tile/Entries/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/-1",
        "tile/0/000.p/1/",
        "tile/0/x001.p/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/../0/000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/x" + "/x".join(["999"] * 7) + "/999",
    ],
)
def test_what_is_not_a_path_is_refused(path: str) -> None:
    with pytest.raises(FormatError):
        Tile.parse(path)


def test_the_tree_of_70000_of_the_specification() -> None:
    """tlog-tiles, 'Partial Tiles'."""
    found = list(tiles.tiles_of_growth(0, 70_000))
    of_level = {level: [tile for tile in found if tile.level == level] for level in range(4)}
    assert [len(of_level[level]) for level in range(4)] == [274, 2, 1, 0]
    assert of_level[0][-1] == Tile(0, 273, 112)
    assert of_level[1] == [Tile(1, 0), Tile(1, 1, 17)]
    assert of_level[2] == [Tile(2, 0, 1)]


def test_the_tree_of_256_of_the_specification() -> None:
    assert list(tiles.tiles_of_growth(0, 256)) == [Tile(0, 0), Tile(1, 0, 1)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (0, 0, []),
        (5, 5, []),
        (0, 1, ["tile/0/000.p/1"]),
        (1, 3, ["tile/0/000.p/3"]),
        (255, 256, ["tile/0/000", "tile/1/000.p/1"]),
        (250, 260, ["tile/0/000", "tile/0/001.p/4", "tile/1/000.p/1"]),
        (256, 300, ["tile/0/001.p/44"]),
        (65_535, 65_536, ["tile/0/255", "tile/1/000", "tile/2/000.p/1"]),
    ],
)
def test_which_tiles_a_growth_writes(old: int, new: int, expected: list[str]) -> None:
    assert [tile.path for tile in tiles.tiles_of_growth(old, new)] == expected
    bundles = [tile.path.replace("entries", "0") for tile in tiles.bundles_of_growth(old, new)]
    assert bundles == [path for path in expected if path.startswith("tile/0")]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 1200), max_size=6))
def test_growing_in_batches_writes_the_tiles_that_it_should(batches: list[int]) -> None:
    edge, kept = Edge(), {}
    for batch in batches:
        old = edge.size
        edge, written = edge.grown(LEAVES[old : old + batch])
        assert list(written) == list(tiles.tiles_of_growth(old, old + batch))
        kept.update({tile.path: data for tile, data in written.items()})
    assert edge.root() == merkle.root(LEAVES[: edge.size])
    assert Edge.read(edge.size, kept.__getitem__) == edge


def test_a_tile_holds_the_tree_hashes_of_the_specification() -> None:
    """MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l])"""
    _, written = Edge().grown(LEAVES)
    hashes = tiles.hashes_of(written[Tile(1, 1, 17)])
    assert hashes[3] == merkle.root(LEAVES[(256 + 3) * 256 : (256 + 4) * 256])
    assert tiles.hashes_of(written[Tile(2, 0, 1)]) == [merkle.root(LEAVES[:65_536])]
    assert written[Tile(0, 273, 112)] == b"".join(LEAVES[273 * 256 :])


def test_nodes_read_from_tiles_prove_what_nodes_in_memory_prove() -> None:
    _, written = Edge().grown(LEAVES)
    fetch = {tile.path: data for tile, data in written.items()}.__getitem__
    read, memory = NodeReader(70_000, fetch), nodes_of(LEAVES)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        assert merkle.inclusion_proof(index, 70_000, read) == merkle.inclusion_proof(index, 70_000, memory)
    for old in (1, 255, 256, 257, 65_536, 65_537, 69_999):
        assert merkle.consistency_proof(old, 70_000, read) == merkle.consistency_proof(old, 70_000, memory)


@pytest.mark.parametrize(("level", "index"), [(0, 300), (8, 1), (16, 0), (2, 75)])
def test_a_node_outside_the_tree_is_an_error(level: int, index: int) -> None:
    _, written = Edge().grown(LEAVES[:300])
    fetch = {tile.path: data for tile, data in written.items()}.__getitem__
    with pytest.raises(ValueError, match="is not in a tree of 300"):
        NodeReader(300, fetch)(level, index)


def test_an_earlier_tree_is_read_after_its_partial_tiles_are_gone(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append(entries_of(300))
    old = log.checkpoint
    log.append(entries_of(300))
    log.store.drop_partials("tile/0/001")
    log.store.drop_partials("tile/entries/001")
    read = NodeReader(300, log.store.read)
    assert merkle.range_root(0, 300, read) == old.root
    bundle = tiles.read_bundle(tiles.tile_of(ENTRIES, 1, 300), log.store.read)
    assert tiles.decode_bundle(bundle, 44) == log.entries[256:300]


def test_a_tile_that_is_missing_is_named_as_it_was_asked_for() -> None:
    def fetch(name: str) -> bytes:
        raise MissingError(name)

    for tile in (Tile(0, 1, 44), Tile(0, 1)):
        with pytest.raises(MissingError) as caught:
            tiles.read_tile(tile, fetch)
        assert caught.value.name == tile.path
    with pytest.raises(MissingError) as caught:
        tiles.read_bundle(Tile(ENTRIES, 1, 44), fetch)
    assert caught.value.name == "tile/entries/001.p/44"


@pytest.mark.parametrize("length", [0, 31, 8191, 8193])
def test_a_tile_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(FormatError, match="not 8192"):
        tiles.read_tile(Tile(0, 0), lambda _: bytes(length))


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundle_both_ways(entries: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(entries), len(entries)) == entries


def test_a_bundle_is_length_prefixed_big_endian() -> None:
    assert tiles.encode_bundle([b"a", b"", b"b" * 258]) == b"\x00\x01a\x00\x00\x01\x02" + b"b" * 258


def test_the_longest_entry() -> None:
    assert tiles.decode_bundle(tiles.encode_bundle([bytes(65_535)])) == [bytes(65_535)]
    with pytest.raises(FormatError, match="entry 1 has 65536 bytes"):
        tiles.encode_bundle([b"", bytes(65_536)])


@pytest.mark.parametrize(
    ("bundle", "width", "message"),
    [
        (b"\x00", 1, "ends within entry 0"),
        (b"\x00\x02a", 1, "ends within entry 0"),
        (b"\x00\x01a\x00\x05abc", 2, "ends within entry 1"),
        (b"\x00\x01a", 2, "has 1 entries, not 2"),
        (b"\x00\x01a\x00\x01b", 1, "has 2 entries, not 1"),
        (b"", 1, "has 0 entries, not 1"),
    ],
)
def test_a_damaged_bundle_is_refused(bundle: bytes, width: int, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        tiles.decode_bundle(bundle, width)


def test_bundles_grow_from_the_unfinished_one() -> None:
    entries = entries_of(520)
    written = tiles.bundles_grown(250, entries[:250], entries[250:])
    assert [tile.path for tile in written] == ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/8"]
    assert [entry for bundle in written.values() for entry in tiles.decode_bundle(bundle)] == entries
    with pytest.raises(ValueError, match="ends in 250 entries"):
        tiles.bundles_grown(250, entries[:249], entries[250:])
