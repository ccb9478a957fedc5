"""Makes the proofs that `ledger.tree.merkle` verifies, at any tree size, from node hashes read out of a storage.

The storage comes in as a function from nodes to their hashes; `ledger.tree.tiles.TileTree.nodes` is one. It is asked
once a call, for all nodes together.

>>> from ledger.tree.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
>>> grown = Frontier().extend([leaf_hash(bytes([i])) for i in range(6)])
>>> def read(nodes):
...     return [grown.nodes[node.level][node.number] for node in nodes]
>>> proof = prove_inclusion(4, 6, read)
>>> verify_inclusion(4, 6, leaf_hash(b"\\x04"), proof, grown.after.root)
>>> old_root = root_at(3, read)
>>> verify_consistency(3, 6, old_root, grown.after.root, prove_consistency(3, 6, read))
"""

from collections.abc import Callable, Sequence

from ledger.tree.merkle import Frontier, Node, fold, perfect_nodes

NodeReader = Callable[[Sequence[Node]], Sequence[bytes]]
"""Gives the hash of each node, in their order."""
Span = tuple[int, int]
"""Leaves from the first index to before the second."""


def frontier_at(size: int, read: NodeReader) -> Frontier:
    """The tree as it was at `size`, ready to be extended."""
    return Frontier(size, tuple(read(perfect_nodes(0, size))))


def root_at(size: int, read: NodeReader) -> bytes:
    """The root of the tree as it was at `size`."""
    return frontier_at(size, read).root


def prove_inclusion(index: int, size: int, read: NodeReader) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of the tree of `size` (RFC 6962 § 2.1.1)."""
    return prove_inclusions([index], size, read)[0]


def prove_inclusions(indexes: Sequence[int], size: int, read: NodeReader) -> list[list[bytes]]:
    """One proof for each index, with one reading of the storage for all of them."""
    return _hashes([inclusion_spans(index, size) for index in indexes], read)


def prove_consistency(old_size: int, new_size: int, read: NodeReader) -> list[bytes]:
    """The hashes that show that the tree of `new_size` begins with that of `old_size` (RFC 6962 § 2.1.2)."""
    return _hashes([consistency_spans(old_size, new_size)], read)[0]


def inclusion_spans(index: int, size: int) -> list[Span]:
    """The subtrees that an inclusion proof names, from the leaf's sibling upwards.

    >>> inclusion_spans(4, 6)
    [(5, 6), (0, 4)]
    """
    assert 0 <= index < size
    start, stop, spans = 0, size, []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            spans.append((middle, stop))
            stop = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old_size: int, new_size: int) -> list[Span]:
    """The subtrees that a consistency proof names, from the old tree's last perfect subtree upwards.

    >>> consistency_spans(3, 6)
    [(2, 3), (3, 4), (0, 2), (4, 6)]
    """
    assert 0 < old_size <= new_size
    start, stop, spans = 0, new_size, []
    while stop != old_size:
        middle = start + _split(stop - start)
        if old_size <= middle:
            spans.append((middle, stop))
            stop = middle
        else:
            spans.append((start, middle))
            start = middle
    if start:  # the whole old tree is known to whoever checks: only a part of it is named
        spans.append((start, stop))
    return spans[::-1]


def _split(count: int) -> int:
    """The largest power of two below `count` (at least 2): so many leaves are in the left subtree."""
    return 1 << ((count - 1).bit_length() - 1)


def _hashes(proofs: Sequence[Sequence[Span]], read: NodeReader) -> list[list[bytes]]:
    """Each span's hash; a span at the right edge is folded from its perfect subtrees."""
    parts = {span: perfect_nodes(*span) for spans in proofs for span in spans}
    wanted = list(dict.fromkeys(node for nodes in parts.values() for node in nodes))
    found = dict(zip(wanted, read(wanted), strict=True))
    folded = {span: fold([found[node] for node in nodes]) for span, nodes in parts.items()}
    return [[folded[span] for span in spans] for spans in proofs]
