"""RFC 6962 § 2.1 word for word, over a list of leaves: slow, recursive, and without a line of the product's.

>>> tree = Tree([b"a", b"b", b"c"])
>>> tree.root(3) == node(node(leaf(b"a"), leaf(b"b")), leaf(b"c"))
True
>>> tree.path(2, 3) == [node(leaf(b"a"), leaf(b"b"))]
True
"""

import hashlib
from collections.abc import Sequence
from functools import cache


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(bytes([0]) + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(bytes([1]) + left + right).digest()


def below(count: int) -> int:
    """`k`: the largest power of two smaller than count."""
    k = 1
    while k * 2 < count:
        k *= 2
    return k


class Tree:
    """D[0:n] for every n up to the number of leaves."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = list(leaves)
        self._hash = cache(self._hash_of)

    def root(self, size: int) -> bytes:
        """MTH(D[0:size])."""
        return self._hash(0, size)

    def _hash_of(self, start: int, stop: int) -> bytes:
        """MTH(D[start:stop])."""
        if start == stop:
            return hashlib.sha256(b"").digest()
        if stop - start == 1:
            return leaf(self.leaves[start])
        k = below(stop - start)
        return node(self._hash(start, start + k), self._hash(start + k, stop))

    def path(self, index: int, size: int) -> list[bytes]:
        """PATH(index, D[0:size])."""
        return self._path(index, 0, size)

    def _path(self, m: int, start: int, stop: int) -> list[bytes]:
        if stop - start == 1:
            return []
        k = below(stop - start)
        if m < k:
            return [*self._path(m, start, start + k), self._hash(start + k, stop)]
        return [*self._path(m - k, start + k, stop), self._hash(start, start + k)]

    def proof(self, old_size: int, new_size: int) -> list[bytes]:
        """PROOF(old_size, D[0:new_size])."""
        return self._subproof(old_size, 0, new_size, True)

    def _subproof(self, m: int, start: int, stop: int, whole: bool) -> list[bytes]:
        if m == stop - start:
            return [] if whole else [self._hash(start, stop)]
        k = below(stop - start)
        if m <= k:
            return [*self._subproof(m, start, start + k, whole), self._hash(start + k, stop)]
        return [*self._subproof(m - k, start + k, stop, False), self._hash(start, start + k)]
