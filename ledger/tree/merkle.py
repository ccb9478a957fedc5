"""The Merkle tree over a partition's records (RFC 6962 § 2.1): hashes, growth, and what a proof must show.

The leaf's data is a record's value, byte for byte, so a leaf hash names one record and no other. A tree grows
at its right edge: all that must be kept to append is its *frontier*, one hash for each 1 bit of its size.

>>> empty().hex()[:16], leaf_hash(b"").hex()[:16]
('e3b0c44298fc1c14', '6e340b9cffb37a98')
>>> growth = Frontier().extend([leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")])
>>> tree = growth.after
>>> tree.size, len(tree.hashes), tree.root == node_hash(node_hash(leaf_hash(b"a"), leaf_hash(b"b")), leaf_hash(b"c"))
(3, 2, True)
>>> Frontier.unpack(3, tree.pack()) == tree
True
>>> verify_inclusion(2, 3, leaf_hash(b"c"), [node_hash(leaf_hash(b"a"), leaf_hash(b"b"))], tree.root)
>>> verify_inclusion(1, 3, leaf_hash(b"c"), [node_hash(leaf_hash(b"a"), leaf_hash(b"b"))], tree.root)
Traceback (most recent call last):
    ...
ledger.tree.merkle.InvalidProof: the proof does not lead from the leaf to the tree's root

A root does not commit to its size: sizes must come from a signed checkpoint (`ledger.tree.checkpoint`). Proofs are made
by `ledger.tree.proving`, from hashes kept as tiles (`ledger.tree.tiles`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from ledger.errors import ConsentLedgerError

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
_LEAF = b"\x00"
_NODE = b"\x01"


class InvalidProof(ConsentLedgerError):
    """A proof, a tile or a stored tree is malformed, or does not show what it is said to show."""


def empty() -> bytes:
    """The root of a tree without leaves: `H("")`."""
    return sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """`H(00 || data)`: the hash of one record's bytes."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`H(01 || left || right)`: the hash of an inner node."""
    return sha256(_NODE + left + right).digest()


class Node(NamedTuple):
    """A node over 2^level leaves: those from number * 2^level on. Level 0 is the leaves."""

    level: int
    number: int


def perfect_nodes(start: int, stop: int) -> list[Node]:
    """The fewest nodes that cover the leaves from `start` to before `stop`, left to right.

    >>> perfect_nodes(0, 6)
    [Node(level=2, number=0), Node(level=1, number=2)]
    """
    nodes = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring subtrees, largest first: hashed together from the right. At least one."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree as far as appending needs it: its size, and the roots of its perfect subtrees, largest first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """The tree's root."""
        return fold(self.hashes) if self.hashes else empty()

    def pack(self) -> bytes:
        """The hashes, joined: together with the size all that must be stored."""
        return b"".join(self.hashes)

    @classmethod
    def unpack(cls, size: int, packed: bytes) -> "Frontier":
        """The frontier that was stored; raises `InvalidProof` when the bytes are not those of such a size."""
        if not 0 <= size <= MAX_SIZE or len(packed) != size.bit_count() * HASH_BYTES:
            raise InvalidProof("a stored frontier has one hash of 32 bytes for each 1 bit of its size: rebuild it")
        return cls(size, tuple(packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES)))

    def extend(self, leaves: Sequence[bytes]) -> "Growth":
        """Appends leaf hashes, in their order; cost: one hash a leaf. This frontier stays as it is."""
        size = self.size + len(leaves)
        assert size <= MAX_SIZE
        kept = list(self.hashes)
        edge: list[bytes] = []
        current = list(leaves)
        completed = []
        for level in range(size.bit_length()):
            completed.append(current)
            # A node left over from before is the left neighbour of the first new one.
            pending = [kept.pop(), *current] if self.size >> level & 1 else current
            if len(pending) & 1:
                edge.append(pending[-1])
            pairs = zip(pending[::2], pending[1::2], strict=False)
            current = [sha256(_NODE + left + right).digest() for left, right in pairs]
        return Growth(self, Frontier(size, tuple(reversed(edge))), completed)


@dataclass(frozen=True, slots=True)
class Growth:
    """What appending did: `nodes[level]` are the nodes it completed, from index `before.size >> level` on."""

    before: Frontier
    after: Frontier
    nodes: list[list[bytes]] = field(repr=False)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Checks that the leaf stands at `index` in the tree of that size and root (RFC 9162 § 2.1.3.2).

    Raises `InvalidProof`. The proof's hashes go from the leaf's sibling up to the root's child.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise InvalidProof("a leaf's index is at least 0 and below the tree's size")
    _check_hashes([leaf, root, *proof])
    at, last, calculated = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof("the proof has more hashes than the tree has levels")
        if at & 1 or at == last:
            calculated = node_hash(sibling, calculated)
            # A right edge without a sibling has no hash on these levels.
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            calculated = node_hash(calculated, sibling)
        at, last = at >> 1, last >> 1
    if last != 0 or calculated != root:
        raise InvalidProof("the proof does not lead from the leaf to the tree's root")


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Checks that the tree of `new_size` begins with the tree of `old_size` (RFC 9162 § 2.1.4.2).

    Raises `InvalidProof`; also from 0 to more than 0, which says nothing and has no proof.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise InvalidProof("a tree only grows: the newer size is below the older one")
    if old_size == new_size:
        if proof or old_root != new_root or (old_size == 0 and old_root != empty()):
            raise InvalidProof("trees of one size have one root, and a proof without hashes")
        return
    _check_hashes([old_root, new_root, *proof])
    if old_size == 0 or not proof:
        raise InvalidProof("a tree that grew from at least one leaf has a proof of at least one hash")
    # An old tree that is one perfect subtree is not repeated in the proof: its root is where the proof starts.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("the proof has more hashes than the tree has levels")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise InvalidProof("the proof does not lead to both roots")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise InvalidProof("a hash has 32 bytes")
