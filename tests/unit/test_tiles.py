"""Tiles are those of C2SP tlog-tiles: their paths in one spelling, and which of them a tree of a size has."""

import pytest

from ledger.errors import Malformed
from ledger.tree.merkle import InvalidProof, Node
from ledger.tree.tiles import Tile, TileTree, new_tiles, split

PATHS = {
    Tile(0, 0): "tile/0/000",
    Tile(0, 67): "tile/0/067",
    Tile(1, 999, 1): "tile/1/999.p/1",
    Tile(0, 1000): "tile/0/x001/000",
    Tile(63, 1234067, 255): "tile/63/x001/x234/067.p/255",
    Tile(0, 10**15): "tile/0/x001/x000/x000/x000/x000/000",
}
REFUSED = [
    "",
    "tile",
    "tile/",
    "tile/0",
    "tile/0/",
    "/tile/0/000",
    "tile/0/000/",
    "tile/0/000\n",
    " tile/0/000",
    "tile//0/000",
    "tile/00/000",
    "tile/01/000",
    "tile/+1/000",
    "tile/-1/000",
    "tile/64/000",
    "tile/100/000",
    "tile/0/0",
    "tile/0/00",
    "tile/0/0000",
    "tile/0/1000",
    "tile/0/x000",
    "tile/0/x000/000",
    "tile/0/x000/x001/000",
    "tile/0/001/000",
    "tile/0/X001/000",
    "tile/0/x1/000",
    "tile/0/x001/x000",
    "tile/0/x001000",
    "tile/0/000.p",
    "tile/0/000.p/",
    "tile/0/000.p/0",
    "tile/0/000.p/01",
    "tile/0/000.p/256",
    "tile/0/000.p/999",
    "tile/0/000.p/+1",
    "tile/0/000.p/1/",
    "tile/0/000.p/1.p/1",
    "tile/0/000p/1",
    "tile/8/0/000",
    "tile/entries/000",
    "tile/0/\u0661\u0662\u0663",
    "tile/\u0661/000",
    "tile/0/" + "x001/" * 7 + "000",
    "tile/0/" + "x001/" * 100_000 + "000",
    "tile/0/000.p/" + "1" * 100_000,
]
SIZES = [0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 70_000]


def tiles_of(size: int) -> set[Tile]:
    """The words of the specification: floor(s / 256^l) hashes at level l, 256 to a tile, the last one partial."""
    found, level = set(), 0
    while size // 256**level:
        full, partial = divmod(size // 256**level, 256)
        found |= {Tile(level, index) for index in range(full)}
        if partial:
            found.add(Tile(level, full, partial))
        level += 1
    return found


@pytest.mark.parametrize("tile", PATHS, ids=PATHS.values())
def test_a_path_is_written_and_read_as_specified(tile: Tile) -> None:
    assert tile.path == PATHS[tile]
    assert Tile.parse(PATHS[tile]) == tile


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: ascii(path[:24]))
def test_a_path_has_one_spelling(path: str) -> None:
    with pytest.raises(Malformed, match="a tile is written"):
        Tile.parse(path)


def test_what_was_asked_for_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(Malformed) as refused:
        Tile.parse("tile/0/quiroga")
    assert "quiroga" not in str(refused.value)


def test_the_example_of_the_specification() -> None:
    tiles = new_tiles(0, 70_000)
    assert [len([t for t in tiles if (t.level, t.width) == (0, 256)]), len(tiles)] == [273, 273 + 4]
    assert [t.path for t in tiles if t.width < 256] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert Tile(1, 0) in tiles
    assert new_tiles(0, 256) == [Tile(0, 0), Tile(1, 0, 1)]


def test_a_growth_writes_the_tiles_that_were_not_there() -> None:
    held = {size: tiles_of(size) for size in SIZES}
    for old_size in held:
        for new_size in held:
            if old_size <= new_size:
                assert new_tiles(old_size, new_size) == sorted(held[new_size] - held[old_size])
    for size in range(600):
        assert new_tiles(0, size) == sorted(tiles_of(size))
        for step in [0, 1, 2, 255, 256, 257]:
            assert new_tiles(size, size + step) == sorted(tiles_of(size + step) - tiles_of(size))


def test_a_growth_far_out_writes_a_few_tiles_only() -> None:
    size = 2**40 + 65_536
    assert new_tiles(size - 1, size) == [Tile(0, 2**32 + 255), Tile(1, 2**24), Tile(2, 2**16, 1)]


def test_a_tile_is_within_a_tree_that_holds_all_of_its_hashes() -> None:
    assert Tile(0, 0, 5).within(5)
    assert not Tile(0, 0, 6).within(5)
    assert Tile(1, 0, 1).within(256)
    assert not Tile(1, 0, 1).within(255)
    assert not Tile(0, 1).within(511)
    assert all(tile.within(size) for size in range(0, 600, 7) for tile in tiles_of(size))


def test_tiles_longer_or_shorter_than_their_width_are_refused() -> None:
    for data in [b"", bytes(31), bytes(63), bytes(65), bytes(96)]:
        with pytest.raises(InvalidProof, match=r"tile/0/000\.p/2"):
            split(Tile(0, 0, 2), data)
        with pytest.raises(InvalidProof):
            TileTree(2, lambda tiles, data=data: [data]).nodes([Node(1, 0)])  # type: ignore[misc]
