"""Hash tiles (C2SP tlog-tiles, height 8): how a tree is stored and served, and read back to make proofs.

Tile *n* of level *l* holds the hashes of nodes 256 n to 256 n + 255 of tree level 8 l, joined: 8,192 bytes, fewer
at the right edge (a *partial* tile). Hashes only ever come behind those that are there, so a store appends.

>>> from ledger.tree.merkle import Frontier, leaf_hash
>>> Tile(0, 1234067).path, Tile.parse("tile/1/000.p/17")
('tile/0/x001/x234/067', Tile(level=1, index=0, width=17))
>>> growth = Frontier().extend([leaf_hash(bytes([i % 251])) for i in range(300)])
>>> [(w.tile.path, w.start, len(w.data)) for w in writes(growth)]
[('tile/0/000', 0, 8192), ('tile/0/001.p/44', 0, 1408), ('tile/1/000.p/1', 0, 32)]
>>> store = {w.tile: w.data for w in writes(growth)}
>>> tree = TileTree(300, lambda tiles: [store[tile] for tile in tiles])
>>> from ledger.tree.proving import root_at
>>> root_at(300, tree.nodes) == growth.after.root
True
>>> check_tiles(300, growth.after.root, lambda tiles: [store[tile] for tile in tiles])
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.errors import Malformed, Problem
from ledger.tree.merkle import HASH_BYTES, MAX_SIZE, Frontier, Growth, InvalidProof, Node
from ledger.tree.proving import root_at

HEIGHT = 8
WIDTH = 1 << HEIGHT
MAX_LEVEL = 63
_PATH = re.compile(r"tile/(0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Which tile: its level, its index within the level, and how many hashes it holds (256: it is full)."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is served, below the log's prefix."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{self.level}/{'/'.join(['x' + group for group in groups[:-1]] + groups[-1:])}{partial}"

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """Reads a path; raises `Malformed` for any spelling but the one."""
        match = _PATH.fullmatch(path)
        if match is not None:
            width = int(match[3]) if match[3] else WIDTH
            tile = cls(int(match[1]), int(match[2].replace("x", "").replace("/", "")), width)
            # Written again, so that `x000/001` and `.p/256` do not pass.
            if tile.level <= MAX_LEVEL and tile.width <= WIDTH and tile.path == path:
                return tile
        raise Malformed([Problem("/tile", "tile")], "a tile is written tile/<L>/<N>[.p/<W>], such as tile/0/x001/067")

    def within(self, size: int) -> bool:
        """Whether a tree of this size holds all of the tile's hashes."""
        return self.index * WIDTH + self.width <= size >> HEIGHT * self.level


class TileWrite(NamedTuple):
    """Hashes that a growth adds to one tile: `data` goes behind the `start` hashes that are there already."""

    tile: Tile
    start: int
    data: bytes


TileReader = Callable[[Sequence[Tile]], Sequence[bytes]]
"""Gives the bytes of each tile, in their order; asked for a narrower tile than it has, it gives the beginning."""


def new_tiles(old_size: int, new_size: int) -> list[Tile]:
    """The tiles that a tree of `new_size` has and one of `old_size` has not, lowest level and index first.

    >>> [tile.path for tile in new_tiles(250, 600)]
    ['tile/0/000', 'tile/0/001', 'tile/0/002.p/88', 'tile/1/000.p/2']
    """
    assert 0 <= old_size <= new_size <= MAX_SIZE
    tiles = []
    for level in range(_levels(new_size)):
        old, new = old_size >> HEIGHT * level, new_size >> HEIGHT * level
        if old == new:
            break  # nothing was completed here, so nothing above
        indexes = range(old // WIDTH, -(-new // WIDTH))
        tiles += [Tile(level, index, min(WIDTH, new - index * WIDTH)) for index in indexes]
    return tiles


def writes(growth: Growth) -> list[TileWrite]:
    """What a store must append, tile by tile, for this growth: the tiles of `new_tiles`, in that order."""
    found = []
    for tile in new_tiles(growth.before.size, growth.after.size):
        before = growth.before.size >> HEIGHT * tile.level
        start = max(0, before - tile.index * WIDTH)
        first = tile.index * WIDTH + start - before
        hashes = growth.nodes[HEIGHT * tile.level][first : first + tile.width - start]
        found.append(TileWrite(tile, start, b"".join(hashes)))
    return found


class TileTree:
    """The nodes of a tree of one size, read from its tiles. Keeps what it has read: make one for each question."""

    def __init__(self, size: int, read: TileReader) -> None:
        self.size = size
        self._read = read
        self._rows: dict[Tile, list[list[bytes]]] = {}

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        """The hashes of nodes that are complete at this size (a `NodeReader`); one reading for all of them.

        Raises `InvalidProof` when a tile has not the length it must have.
        """
        tiles = [self._tile_of(node) for node in nodes]
        wanted = [tile for tile in dict.fromkeys(tiles) if tile not in self._rows]
        for tile, data in zip(wanted, self._read(wanted) if wanted else [], strict=True):
            # A tile is a tree of its own: row h holds the nodes over 2^h of its hashes.
            self._rows[tile] = Frontier().extend(split(tile, data)).nodes
        return [self._hash(node, tile) for node, tile in zip(nodes, tiles, strict=True)]

    def _tile_of(self, node: Node) -> Tile:
        """The tile that has the node or what is under it, as wide as the tree's size makes it."""
        assert (node.number + 1) << node.level <= self.size, "a node beyond the tree"
        level, row = divmod(node.level, HEIGHT)
        index = node.number << row >> HEIGHT
        return Tile(level, index, min(WIDTH, (self.size >> HEIGHT * level) - index * WIDTH))

    def _hash(self, node: Node, tile: Tile) -> bytes:
        row = node.level % HEIGHT
        return self._rows[tile][row][node.number - (tile.index * WIDTH >> row)]


def split(tile: Tile, data: bytes) -> list[bytes]:
    """The hashes of a tile; raises `InvalidProof` when the bytes are more or fewer than its width says."""
    if len(data) != tile.width * HASH_BYTES:
        raise InvalidProof(f"{tile.path} has not the length of its hashes: rebuild the tiles from the log")
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def check_tiles(size: int, root: bytes, read: TileReader) -> None:
    """Reads every tile of a tree once and checks it against a trusted root, from the top down.

    Raises `InvalidProof`, which names the tile that differs. The partial tiles have one hash in common, the root:
    of these it says that one of them differs.
    """
    edge = [tile for tile in new_tiles(0, size) if tile.width < WIDTH]
    data = dict(zip(edge, read(edge), strict=True))
    if root_at(size, TileTree(size, lambda tiles: [data[tile] for tile in tiles]).nodes) != root:
        raise InvalidProof("a partial tile differs from the signed root")
    for tile in reversed(edge):
        _check_below(tile, data[tile], read)


def _check_below(tile: Tile, data: bytes, read: TileReader) -> None:
    """INVARIANT: the tile's own bytes are checked; now those of the full tiles that its hashes stand for."""
    if tile.level == 0:
        return
    below = [Tile(tile.level - 1, tile.index * WIDTH + offset) for offset in range(tile.width)]
    for child, found, expected in zip(below, read(below), split(tile, data), strict=True):
        if Frontier().extend(split(child, found)).after.root != expected:
            raise InvalidProof(f"{child.path} differs from the signed root")
        _check_below(child, found, read)


def _levels(size: int) -> int:
    """How many levels of tiles a tree has."""
    return -(-size.bit_length() // HEIGHT)
