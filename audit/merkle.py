"""Merkle trees of RFC 6962 section 2.1: hashes, roots, proofs. Imports no Django.

A hash is 32 bytes. A node (level, index) is the complete subtree over leaves [index << level, (index + 1) << level).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from audit.errors import ProofError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
ReadNode = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes. An odd one at the end rises as it is, which gives the shape of RFC 6962."""
    if not hashes:
        return EMPTY_ROOT
    sha256, row = hashlib.sha256, list(hashes)
    while len(row) > 1:
        paired = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]
        if len(row) % 2:
            paired.append(row[-1])
        row = paired
    return row[0]


def split(size: int) -> int:
    """The largest power of two below `size`, for at least two leaves: where the tree divides."""
    return 1 << ((size - 1).bit_length() - 1)


def complete_nodes(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees, left to right, that cover [start, end); `start` is where a subtree as wide may begin."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def range_root(start: int, end: int, read: ReadNode) -> bytes:
    """The root of the subtree over leaves [start, end)."""
    if start == end:
        return EMPTY_ROOT
    hashes = [read(level, index) for level, index in complete_nodes(start, end)]
    found = hashes.pop()
    while hashes:
        found = node_hash(hashes.pop(), found)
    return found


@dataclass(frozen=True)
class Frontier:
    """A compact range from leaf 0: the roots of its complete subtrees, largest first. All that appending needs."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size.bit_count() != len(self.hashes):
            raise ValueError(f"{self.size} leaves have {self.size.bit_count()} subtrees, not {len(self.hashes)}")

    @classmethod
    def of(cls, size: int, read: ReadNode) -> "Frontier":
        return cls(size, tuple(read(level, index) for level, index in complete_nodes(0, size)))

    def extended(self, leaf_hashes: Iterable[bytes]) -> "Frontier":
        size, hashes = self.size, list(self.hashes)
        for added in leaf_hashes:
            carry, place = added, size
            while place & 1:
                carry, place = node_hash(hashes.pop(), carry), place >> 1
            hashes.append(carry)
            size += 1
        return Frontier(size, tuple(hashes))

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        found = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            found = node_hash(left, found)
        return found


def inclusion_proof(index: int, size: int, read: ReadNode) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size`, from its sibling up (RFC 6962 section 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    start, end, proof = 0, size, []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            proof.append(range_root(middle, end, read))
            end = middle
        else:
            proof.append(range_root(start, middle, read))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, read: ReadNode) -> list[bytes]:
    """That the tree of `old` leaves begins the tree of `new` (RFC 6962 section 2.1.2). Empty for 0 and for equals."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} is not the beginning of one of {new}")
    if old in (0, new):
        return []
    start, end, proof = 0, new, []
    while end != old:
        middle = start + split(end - start)
        if old <= middle:
            proof.append(range_root(middle, end, read))
            end = middle
        else:
            proof.append(range_root(start, middle, read))
            start = middle
    if start:
        proof.append(range_root(start, end, read))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected: bytes) -> None:
    """RFC 9162 section 2.1.3.2; `leaf` is the leaf's hash. Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}", index=index)
    _check_lengths(leaf, *proof, expected)
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError(f"the inclusion proof of leaf {index} has hashes left over", index=index)
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError(f"the inclusion proof of leaf {index} is too short", index=index)
    if found != expected:
        raise ProofError(f"leaf {index} is not under this root", expected=expected, found=found, index=index)


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162 section 2.1.4.2, and its two cases without a proof: equal sizes, and an empty old tree."""
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {old} is not the beginning of one of {new}")
    _check_lengths(old_root, *proof, new_root)
    if old in (0, new):
        _verify_without_proof(old, new, old_root, new_root, proof)
        return
    if not proof:
        raise ProofError(f"the consistency proof from {old} to {new} is empty")
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    found_old, found_new = _climb(old - 1, new - 1, path)
    if found_old != old_root:
        raise ProofError(f"the proof is for another tree of {old}", expected=old_root, found=found_old)
    if found_new != new_root:
        raise ProofError(f"the tree of {new} does not begin with the tree of {old}", expected=new_root, found=found_new)


def _check_lengths(*hashes: bytes) -> None:
    if wrong := [found for found in hashes if len(found) != HASH_SIZE]:
        raise ProofError(f"a hash has {HASH_SIZE} bytes, and one here has {len(wrong[0])}")


def _verify_without_proof(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    if proof:
        raise ProofError(f"from {old} to {new} no proof is needed, and one was given")
    for size, found in ((old, old_root), (new, new_root)):
        if size == 0 and found != EMPTY_ROOT:
            raise ProofError("the empty tree has another root", expected=EMPTY_ROOT, found=found)
    if old == new and old_root != new_root:
        raise ProofError(f"two trees of {old} have different roots", expected=old_root, found=new_root)


def _climb(place: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two roots that a consistency path leads to."""
    while place & 1:
        place, last = place >> 1, last >> 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof has hashes left over")
        if place & 1 or place == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found_new = node_hash(found_new, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the consistency proof is too short")
    return found_old, found_new
