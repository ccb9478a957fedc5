"""Leaf hashes that can be believed: read from tiles that nobody vouches for, checked against a signed root.

>>> from ledger.tree.merkle import leaf_hash
>>> from ledger.tree.tiles import writes
>>> tree = Frontier().extend([leaf_hash(bytes([i % 251])) for i in range(300)])
>>> stored = {write.tile: write.data for write in writes(tree)}
>>> trusted = TrustedTiles(300, tree.after.root, lambda tiles: [stored[tile] for tile in tiles])
>>> trusted.leaf(299) == leaf_hash(bytes([48]))
True
"""

from ledger.tree.merkle import Frontier, InvalidProof
from ledger.tree.proving import root_at
from ledger.tree.tiles import HEIGHT, WIDTH, Tile, TileReader, TileTree, new_tiles, split


class TrustedTiles:
    """The leaf hashes of a tree, from tiles that lead to a root that is trusted; only what is asked for is read.

    Raises `InvalidProof`, at once or when asked, for tiles that do not.
    """

    def __init__(self, size: int, root: bytes, read: TileReader) -> None:
        self._size, self._read = size, read
        edge = [tile for tile in new_tiles(0, size) if tile.width < WIDTH]
        self._edge = dict(zip(edge, read(edge), strict=True))
        if root_at(size, TileTree(size, lambda tiles: [self._edge[tile] for tile in tiles]).nodes) != root:
            raise InvalidProof("the partial tiles differ from the signed root")
        self._latest: dict[int, tuple[int, list[bytes]]] = {}

    def leaf(self, index: int) -> bytes:
        """The hash of the leaf at this index."""
        return self._hashes(0, index // WIDTH)[index % WIDTH]

    def _hashes(self, level: int, number: int) -> list[bytes]:
        """The hashes of a tile; of each level the latest is kept."""
        kept = self._latest.get(level)
        if kept is not None and kept[0] == number:
            return kept[1]
        tile = Tile(level, number, min(WIDTH, (self._size >> HEIGHT * level) - number * WIDTH))
        if tile in self._edge:
            hashes = split(tile, self._edge[tile])
        else:
            hashes = split(tile, self._read([tile])[0])
            if Frontier().extend(hashes).after.root != self._hashes(level + 1, number // WIDTH)[number % WIDTH]:
                raise InvalidProof(f"{tile.path} differs from the signed root")
        self._latest[level] = (number, hashes)
        return hashes
