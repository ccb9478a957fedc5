"""The incremental tree, read back from its tiles, equals the tree computed anew: every pair up to 256 leaves."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from ledger.tree.merkle import Frontier, InvalidProof, leaf_hash, verify_consistency, verify_inclusion
from ledger.tree.proving import frontier_at, prove_consistency, prove_inclusion, prove_inclusions, root_at
from ledger.tree.tiles import Tile, TileTree, TileWrite, check_tiles, writes
from tests.reference.tree import Tree

LARGEST = 256
RECORDS = [b"record %d" % number for number in range(70_000)]
LEAVES = [leaf_hash(record) for record in RECORDS]
ANEW = Tree(RECORDS)
EDGES = [0, 1, 2, 255, 256, 257, 511, 512, 513, 65_279, 65_280, 65_535, 65_536, 65_537, 65_792, 70_000]


class Tiles:
    """A store as simple as it gets: the widest bytes of each tile; hashes only ever come behind those there."""

    def __init__(self) -> None:
        self.stored: dict[tuple[int, int], bytes] = {}
        self.asked = 0

    def append(self, changes: Sequence[TileWrite]) -> None:
        for change in changes:
            key = (change.tile.level, change.tile.index)
            before = self.stored.get(key, b"")
            assert len(before) == change.start * 32
            self.stored[key] = before + change.data
            assert len(self.stored[key]) == change.tile.width * 32

    def read(self, tiles: Sequence[Tile]) -> list[bytes]:
        self.asked += 1
        return [self.stored[tile.level, tile.index][: tile.width * 32] for tile in tiles]


def grown(steps: Sequence[int]) -> tuple[Tiles, Frontier]:
    store, tree = Tiles(), Frontier()
    for start, stop in pairwise([0, *steps]):
        growth = tree.extend(LEAVES[start:stop])
        store.append(writes(growth))
        tree = Frontier.unpack(growth.after.size, growth.after.pack())
    return store, tree


@pytest.fixture(scope="module")
def small() -> Tiles:
    """A tree that has since grown past every size asked about."""
    return grown([300])[0]


@pytest.fixture(scope="module")
def large() -> tuple[Tiles, Frontier]:
    """A tree of three levels of tiles, grown in uneven steps."""
    return grown(EDGES[1:])


def test_the_root_is_right_at_every_size_whether_leaves_come_singly_or_all_at_once() -> None:
    tree = Frontier()
    assert tree.root == ANEW.root(0)
    for size, leaf in enumerate(LEAVES[:600], start=1):
        tree = tree.extend([leaf]).after
        assert (tree.size, tree.root) == (size, ANEW.root(size))
        assert Frontier().extend(LEAVES[:size]).after == tree


def test_every_inclusion_proof_up_to_256_leaves_is_the_one_of_the_tree_computed_anew(small: Tiles) -> None:
    for size in range(1, LARGEST + 1):
        tree, root = TileTree(size, small.read), ANEW.root(size)
        for index, proof in enumerate(prove_inclusions(range(size), size, tree.nodes)):
            assert proof == ANEW.path(index, size)
            verify_inclusion(index, size, LEAVES[index], proof, root)


def test_every_consistency_proof_up_to_256_leaves_is_the_one_of_the_tree_computed_anew(small: Tiles) -> None:
    for new_size in range(1, LARGEST + 1):
        tree, new_root = TileTree(new_size, small.read), ANEW.root(new_size)
        for old_size in range(1, new_size + 1):
            proof = prove_consistency(old_size, new_size, tree.nodes)
            assert proof == ANEW.proof(old_size, new_size)
            verify_consistency(old_size, new_size, ANEW.root(old_size), new_root, proof)


def test_no_proof_up_to_64_leaves_proves_another_leaf_or_another_place() -> None:
    for size in range(1, 65):
        root = ANEW.root(size)
        for index in range(size):
            proof = ANEW.path(index, size)
            for other in {index ^ 1, index + 1, index - 1, 0, size - 1} - {index}:
                with pytest.raises(InvalidProof):
                    verify_inclusion(other, size, LEAVES[index], proof, root)
                with pytest.raises(InvalidProof):
                    verify_inclusion(index, size, LEAVES[other], proof, root)


def test_proofs_across_tiles_are_those_of_the_tree_computed_anew(large: tuple[Tiles, Frontier]) -> None:
    store, _ = large
    for size in EDGES[1:]:
        tree = TileTree(size, store.read)
        root = root_at(size, tree.nodes)
        assert root == ANEW.root(size)
        for index in sorted({0, size // 3, size - 1}):
            proof = prove_inclusion(index, size, tree.nodes)
            assert proof == ANEW.path(index, size)
            verify_inclusion(index, size, LEAVES[index], proof, root)
        for old_size in [edge for edge in EDGES if 0 < edge <= size]:
            proof = prove_consistency(old_size, size, tree.nodes)
            assert proof == ANEW.proof(old_size, size)
            verify_consistency(old_size, size, ANEW.root(old_size), root, proof)


def test_a_tree_goes_on_from_any_size_as_its_tiles_hold_it(large: tuple[Tiles, Frontier]) -> None:
    store, whole = large
    for size in [0, 257, 65_280, 65_537, 70_000]:
        tree = frontier_at(size, TileTree(size, store.read).nodes)
        assert tree.extend(LEAVES[size:]).after == whole


def test_many_proofs_read_the_storage_once(large: tuple[Tiles, Frontier]) -> None:
    store, whole = large
    indexes = list(range(0, whole.size, 997))
    asked = store.asked
    proofs = prove_inclusions(indexes, whole.size, TileTree(whole.size, store.read).nodes)
    assert store.asked == asked + 1
    assert proofs == [ANEW.path(index, whole.size) for index in indexes]


def test_an_altered_tile_is_named(large: tuple[Tiles, Frontier]) -> None:
    store, whole = large
    check_tiles(whole.size, whole.root, store.read)
    altered = Tiles()
    for (level, index), named in [((0, 0), "tile/0/000"), ((0, 272), "tile/0/272"), ((1, 0), "tile/1/000")]:
        altered.stored = dict(store.stored)
        data = bytearray(store.stored[level, index])
        data[4_000] ^= 0x10
        altered.stored[level, index] = bytes(data)
        with pytest.raises(InvalidProof, match=f"{named} differs"):
            check_tiles(whole.size, whole.root, altered.read)
    for edge in [(0, 273), (1, 1), (2, 0)]:
        altered.stored = dict(store.stored)
        altered.stored[edge] = bytes(32) + store.stored[edge][32:]
        with pytest.raises(InvalidProof, match="a partial tile differs"):
            check_tiles(whole.size, whole.root, altered.read)


def test_a_stored_frontier_of_another_length_is_refused() -> None:
    tree = Frontier().extend(LEAVES[:11]).after
    for size, packed in [(10, tree.pack()), (11, tree.pack()[:-1]), (11, tree.pack() + bytes(32)), (-1, b"")]:
        with pytest.raises(InvalidProof):
            Frontier.unpack(size, packed)
