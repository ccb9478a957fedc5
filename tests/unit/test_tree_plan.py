"""What the plan of a tree promises: whatever the batches and the gaps, the same rows, and every record is found."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from ledger.errors import TreeMismatch
from ledger.tree.merkle import HASH_BYTES, Frontier, leaf_hash
from ledger.tree.tiles import Tile, check_tiles
from projections.tlog import StoredTree
from projections.tree import EdgeTile, Run, check, edge_starts, empty_tree, plan
from tests.reference.tree import Tree


@dataclass
class Stored:
    """What the tables would hold."""

    tree: StoredTree = field(default_factory=lambda: empty_tree(3))
    runs: list[Run] = field(default_factory=list)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def take(self, offsets: Sequence[int], leaves: Sequence[bytes]) -> None:
        planned = plan(self.tree, offsets, leaves)
        assert planned.before == self.tree
        for tile, start, data in planned.tiles:
            held = self.tiles.get((tile.level, tile.index), b"")
            assert len(held) == start * HASH_BYTES, "hashes only ever come behind those that are there"
            self.tiles[tile.level, tile.index] = held + data
        self.tree, self.runs = planned.after, self.runs + planned.runs

    def read(self, tiles: Sequence[Tile]) -> list[bytes]:
        return [self.tiles[tile.level, tile.index][: tile.width * HASH_BYTES] for tile in tiles]

    def edge(self) -> list[EdgeTile]:
        starts = edge_starts(self.tree.frontier.size)
        return [EdgeTile(*key, hashes) for key, hashes in sorted(self.tiles.items()) if key[1] >= starts[key[0]]]

    def check(self, position: int | None = None) -> None:
        position = self.tree.next_offset if position is None else position
        check(self.tree, position, self.runs[-1] if self.runs else None, self.edge())


def rising(dice: random.Random, count: int, gaps: float) -> list[int]:
    offset, found = dice.choice((0, 5)), []
    for _ in range(count):
        offset += dice.randint(2, 9) if dice.random() < gaps else 1
        found.append(offset - 1)
    return found


def batches(dice: random.Random, count: int, longest: int) -> Iterator[slice]:
    start = 0
    while start < count:
        stop = min(count, start + dice.randint(1, longest))
        yield slice(start, stop)
        start = stop


@pytest.mark.parametrize("seed", range(15))
def test_whatever_the_batches_and_gaps_the_rows_are_the_same_and_every_record_is_found(seed: int) -> None:
    dice = random.Random(seed)
    count = dice.choice((1, 255, 256, 257, 1_000))
    offsets = rising(dice, count, dice.choice((0, 0.02, 0.3)))
    records = [b"%d" % offset for offset in offsets]
    leaves = [leaf_hash(record) for record in records]
    stored = [Stored(), Stored()]
    for one, longest in zip(stored, (dice.choice((1, 30, 300)), count), strict=True):
        for some in batches(dice, count, longest):
            one.take(offsets[some], leaves[some])
            one.check()
    assert stored[0] == stored[1]
    root = Tree(records).root(count)
    assert stored[0].tree == StoredTree(3, stored[0].tree.frontier, offsets[-1] + 1)
    assert stored[0].tree.frontier.root == root
    check_tiles(count, root, stored[0].read)
    for index, offset in enumerate(offsets):
        first_offset, first_index = max(run for run in stored[0].runs if run[0] <= offset)
        assert first_index + offset - first_offset == index
    assert len(stored[0].runs) == 1 + sum(after > before + 1 for before, after in pairwise(offsets))


def test_a_tree_that_fills_a_tile_of_the_second_level_keeps_its_tiles() -> None:
    count = 256 * 256 + 300
    leaves = [leaf_hash(b"%d" % i) for i in range(count)]
    stored = Stored()
    for some in batches(random.Random(1), count, 9_000):
        stored.take(range(count)[some], leaves[some])
        stored.check()
    assert {level for level, _ in stored.tiles} == {0, 1, 2}
    check_tiles(count, Frontier().extend(leaves).after.root, stored.read)


def test_a_stored_tree_that_does_not_fit_is_refused() -> None:
    offsets = [*range(300), *range(310, 600)]
    leaves = [leaf_hash(b"%d" % offset) for offset in offsets]

    def fresh() -> Stored:
        stored = Stored()
        stored.take(offsets, leaves)
        return stored

    Stored().check()
    fresh().check()
    wrong: list[Stored] = []
    for position in (0, 599, 601):
        with pytest.raises(TreeMismatch, match=rf"partition 3 does not fit the position 3-{position}: rebuild"):
            fresh().check(position)
    with pytest.raises(TreeMismatch):
        Stored().check(5)
    changes: tuple[Callable[[Stored], object], ...] = (
        lambda stored: stored.runs.pop(),
        lambda stored: stored.runs.clear(),
        lambda stored: stored.runs.append((320, 311)),
        lambda stored: stored.tiles.pop((0, 2)),
        lambda stored: stored.tiles.pop((1, 0)),
        lambda stored: stored.tiles.update({(0, 2): stored.tiles[0, 2][:-HASH_BYTES]}),
        lambda stored: stored.tiles.update({(0, 2): stored.tiles[0, 2] + b"\0"}),
        lambda stored: stored.tiles.update({(0, 2): stored.tiles[0, 2] + bytes(HASH_BYTES)}),
        lambda stored: stored.tiles.update({(0, 2): bytes(HASH_BYTES) + stored.tiles[0, 2][HASH_BYTES:]}),
        lambda stored: stored.tiles.update({(1, 0): stored.tiles[1, 0][::-1]}),
        lambda stored: stored.tiles.update({(0, 3): bytes(HASH_BYTES)}),
        lambda stored: stored.tiles.update({(2, 0): bytes(HASH_BYTES)}),
    )
    for change in changes:
        stored = fresh()
        change(stored)
        wrong.append(stored)
    size, hashes = fresh().tree.frontier.size, fresh().tree.frontier.hashes
    for frontier in (Frontier(size, hashes[::-1]), Frontier(), Frontier().extend(leaves[:-1]).after):
        stored = fresh()
        stored.tree = stored.tree._replace(frontier=frontier)
        wrong.append(stored)
    for stored in wrong:
        with pytest.raises(TreeMismatch):
            stored.check()
