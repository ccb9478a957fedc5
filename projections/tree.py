"""How a batch moves its partition's tree on: which rows follow from the tree before, the offsets and the leaf hashes.

Every record is a leaf, in the order of offsets, repeats too. Pure: `projections.write` writes a plan in the batch's own
transaction; `projections.load` reads the tree back, and `check` says whether what was stored fits together.

>>> from ledger.tree.merkle import leaf_hash
>>> first = plan(empty_tree(3), [0, 1, 2], [leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")])
>>> first.after.frontier.size, first.after.next_offset, first.runs
(3, 3, [(0, 0)])
>>> second = plan(first.after, [4, 5], [leaf_hash(b"d"), leaf_hash(b"e")])    # offset 3 holds no record
>>> second.runs, [(write.tile.path, write.start) for write in second.tiles]
([(4, 3)], [('tile/0/000.p/5', 3)])
>>> edge = [EdgeTile(0, 0, first.tiles[0].data + second.tiles[0].data)]
>>> check(second.after, 6, (4, 3), edge)
>>> check(second.after, 7, (4, 3), edge)
Traceback (most recent call last):
    ...
ledger.errors.TreeMismatch: the stored tree of partition 3 does not fit the position 3-7: rebuild the views from the log
"""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.errors import TreeMismatch
from ledger.log import Position
from ledger.tree.merkle import HASH_BYTES, Frontier, InvalidProof
from ledger.tree.proving import frontier_at
from ledger.tree.tiles import HEIGHT, WIDTH, Tile, TileTree, TileWrite, writes
from projections.tlog import StoredTree

LEVELS = 8
"""No tree of 2^63 leaves at most has tiles at more levels."""
Run = tuple[int, int]
"""(first offset, first leaf index) of a run of offsets without a gap."""


class TreePlan(NamedTuple):
    """What a batch writes of its tree: the tree before and after, new runs of offsets, and hashes to append."""

    before: StoredTree
    after: StoredTree
    runs: list[Run]
    tiles: list[TileWrite]


class EdgeTile(NamedTuple):
    """A stored tile at or beyond the right edge of its tree."""

    level: int
    number: int
    hashes: bytes


def empty_tree(partition: int) -> StoredTree:
    """The tree of a partition of which nothing was projected."""
    return StoredTree(partition, Frontier(), 0)


def plan(tree: StoredTree, offsets: Sequence[int], leaves: Sequence[bytes]) -> TreePlan:
    """What follows when the records at these offsets (rising, at least one) become leaves with these hashes."""
    assert len(offsets) == len(leaves) > 0 and offsets[0] >= tree.next_offset, "records follow one another"
    growth = tree.frontier.extend(leaves)
    after = StoredTree(tree.partition, growth.after, offsets[-1] + 1)
    return TreePlan(tree, after, _runs(tree, offsets), writes(growth))


def _runs(tree: StoredTree, offsets: Sequence[int]) -> list[Run]:
    """The runs that begin in these offsets; the first leaf of a tree begins one."""
    size = tree.frontier.size
    if size and offsets[0] == tree.next_offset and offsets[-1] - offsets[0] == len(offsets) - 1:
        return []
    runs = []
    follows = tree.next_offset if size else None
    for i, offset in enumerate(offsets):
        if offset != follows:
            runs.append((offset, size + i))
        follows = offset + 1
    return runs


def edge_starts(size: int) -> list[int]:
    """For each level the index of its first tile that is not full: where `check` wants to see what is stored.

    >>> edge_starts(70_000)[:3]
    [273, 1, 0]
    """
    return [size >> HEIGHT * (level + 1) for level in range(LEVELS)]


def check(tree: StoredTree, position: int, last_run: Run | None, edge: Sequence[EdgeTile]) -> None:
    """Raises `TreeMismatch` unless tree, position, last run and the tiles from the edge on say the same.

    `edge`: what is stored from `edge_starts` on. Full tiles are not looked at: `replay --compare` does that.
    """
    first_offset, first_index = last_run or (0, 0)
    size = tree.frontier.size
    fits = (
        tree.next_offset == position
        and (size > 0) == (position > 0) == (last_run is not None)
        and first_index + tree.next_offset - first_offset == size
        and _edge_fits(tree.frontier, edge)
    )
    if not fits:
        raise mismatch(tree.partition, position)


def mismatch(partition: int, position: int) -> TreeMismatch:
    """What is said when a stored tree is not what its position makes it."""
    place = Position(partition, position)
    return TreeMismatch(
        f"the stored tree of partition {partition} does not fit the position {place}: rebuild the views from the log"
    )


def _edge_fits(frontier: Frontier, edge: Sequence[EdgeTile]) -> bool:
    """Whether these are the partial tiles of the tree, no more and no fewer, and lead to the same hashes."""
    size = frontier.size
    found = {Tile(tile.level, tile.number, len(tile.hashes) // HASH_BYTES): tile.hashes for tile in edge}
    counts = [size >> HEIGHT * level for level in range(LEVELS)]
    wanted = {Tile(level, count // WIDTH, count % WIDTH) for level, count in enumerate(counts) if count % WIDTH}
    if found.keys() != wanted or len(found) != len(edge):
        return False
    try:
        return frontier_at(size, TileTree(size, lambda tiles: [found[tile] for tile in tiles]).nodes) == frontier
    except InvalidProof:  # a tile with more bytes than its hashes
        return False
