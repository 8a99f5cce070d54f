"""RFC 6962 section 2.1 and RFC 9162 section 2.1."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import merkle
from audit.errors import ProofError
from audit.merkle import Frontier
from tests.audit.formats.logs import entries_of, nodes_of

# The reference tree of Certificate Transparency (google/certificate-transparency, merkle_tree_test.cc).
CT_ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(entry) for entry in entries_of(70)]


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it down."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(2**i for i in range(20) if 2**i < len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_reference_tree(size: int) -> None:
    leaves = [merkle.leaf_hash(entry) for entry in CT_ENTRIES[:size]]
    assert merkle.root(leaves).hex() == CT_ROOTS[size]
    assert Frontier().extended(leaves).root().hex() == CT_ROOTS[size]


@pytest.mark.parametrize("size", range(71))
def test_every_way_to_a_root_follows_the_definition(size: int) -> None:
    leaves = LEAVES[:size]
    expected = tree_hash(leaves)
    assert merkle.root(leaves) == expected
    assert merkle.range_root(0, size, nodes_of(leaves)) == expected
    assert Frontier.of(size, nodes_of(leaves)).root() == expected


def test_paths_of_the_example_in_the_rfc() -> None:
    """RFC 6962 section 2.1.3: a tree of seven leaves."""
    read, (a, b, c, d, e, f, j) = nodes_of(LEAVES[:7]), LEAVES[:7]
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, after = merkle.node_hash(g, h), merkle.node_hash(i, j)
    assert merkle.inclusion_proof(0, 7, read) == [b, h, after]
    assert merkle.inclusion_proof(3, 7, read) == [c, g, after]
    assert merkle.inclusion_proof(4, 7, read) == [f, j, k]
    assert merkle.inclusion_proof(6, 7, read) == [i, k]
    assert merkle.consistency_proof(3, 7, read) == [c, d, g, after]
    assert merkle.consistency_proof(4, 7, read) == [after]
    assert merkle.consistency_proof(6, 7, read) == [i, j, k]


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_frontier_grows_in_batches_of_any_size(batches: list[int]) -> None:
    frontier, size = Frontier(), 0
    for batch in batches:
        leaves = LEAVES[size : size + batch]
        frontier, size = frontier.extended(leaves), size + len(leaves)
    assert frontier == Frontier.of(size, nodes_of(LEAVES[:size]))
    assert frontier.root() == tree_hash(LEAVES[:size])


def test_a_frontier_knows_how_many_subtrees_it_has() -> None:
    with pytest.raises(ValueError, match="5 leaves have 2 subtrees, not 1"):
        Frontier(5, (LEAVES[0],))


@given(st.data())
def test_every_inclusion_proof_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, nodes_of(LEAVES[:size]))
    merkle.verify_inclusion(index, size, LEAVES[index], proof, merkle.root(LEAVES[:size]))


@given(st.data())
def test_every_altered_inclusion_proof_fails(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, nodes_of(LEAVES[:size]))
    root = merkle.root(LEAVES[:size])
    damaged, leaf, root = data.draw(damages(proof, LEAVES[index], root))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(index, size, leaf, damaged, root)


@given(st.data())
def test_no_leaf_is_proven_at_another_place(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(-1, size + 1).filter(lambda n: n != index))
    proof = merkle.inclusion_proof(index, size, nodes_of(LEAVES[:size]))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(other, size, LEAVES[index], proof, merkle.root(LEAVES[:size]))


@given(st.data())
def test_every_consistency_proof_verifies(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, 70))
    old = data.draw(st.integers(0, new))
    proof = merkle.consistency_proof(old, new, nodes_of(LEAVES[:new]))
    merkle.verify_consistency(old, new, merkle.root(LEAVES[:old]), merkle.root(LEAVES[:new]), proof)


@given(st.data())
def test_every_altered_consistency_proof_fails(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, new - 1))
    proof = merkle.consistency_proof(old, new, nodes_of(LEAVES[:new]))
    damaged, old_root, new_root = data.draw(damages(proof, merkle.root(LEAVES[:old]), merkle.root(LEAVES[:new])))
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, new, old_root, new_root, damaged)


@pytest.mark.parametrize(
    ("old", "new", "proof"), [(3, 2, []), (-1, 2, []), (0, 2, [LEAVES[0]]), (2, 2, [LEAVES[0]]), (1, 2, [])]
)
def test_consistency_between_sizes_that_need_no_proof_or_cannot_have_one(
    old: int, new: int, proof: list[bytes]
) -> None:
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, new, merkle.root(LEAVES[: max(old, 0)]), merkle.root(LEAVES[:new]), proof)


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_what_is_no_hash_proves_nothing(wrong: bytes) -> None:
    with pytest.raises(ProofError, match="a hash has 32 bytes"):
        merkle.verify_inclusion(0, 1, wrong, [], wrong)
    with pytest.raises(ProofError, match="a hash has 32 bytes"):
        merkle.verify_consistency(0, 1, merkle.EMPTY_ROOT, wrong, [])


def test_equal_sizes_must_have_equal_roots() -> None:
    with pytest.raises(ProofError) as caught:
        merkle.verify_consistency(2, 2, LEAVES[0], LEAVES[1], [])
    assert (caught.value.expected, caught.value.found) == (LEAVES[0], LEAVES[1])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5)])
def test_the_empty_tree_has_one_root(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="the empty tree"):
        merkle.verify_consistency(old, new, LEAVES[0], merkle.root(LEAVES[:new]), [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_a_proof_of_a_leaf_that_is_not_there_cannot_be_made(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree"):
        merkle.inclusion_proof(index, size, nodes_of(LEAVES[:size]))


def test_a_consistency_proof_backwards_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="not the beginning"):
        merkle.consistency_proof(6, 5, nodes_of(LEAVES[:5]))


@st.composite
def damages(draw: st.DrawFn, proof: list[bytes], one: bytes, other: bytes) -> tuple[list[bytes], bytes, bytes]:
    """One change to a proof, or to one of the two hashes that it connects."""
    hashes = [*proof, one, other]
    what = draw(st.sampled_from(["flip", "drop", "insert", "swap"]))
    if what == "insert":
        at = draw(st.integers(0, len(proof)))
        return [*proof[:at], draw(st.sampled_from([*LEAVES, bytes(32)])), *proof[at:]], one, other
    if what == "drop" and proof:
        at = draw(st.integers(0, len(proof) - 1))
        return [*proof[:at], *proof[at + 1 :]], one, other
    if what == "swap" and len(set(proof)) > 1:
        at = draw(st.integers(1, len(proof) - 1).filter(lambda n: proof[n] != proof[0]))
        swapped = list(proof)
        swapped[0], swapped[at] = proof[at], proof[0]
        return swapped, one, other
    at, bit = draw(st.integers(0, len(hashes) - 1)), draw(st.integers(0, 255))
    hashes[at] = (int.from_bytes(hashes[at], "big") ^ (1 << bit)).to_bytes(32, "big")
    return hashes[:-2], hashes[-2], hashes[-1]
