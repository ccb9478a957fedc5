"""The trees as they are stored: sizes, roots, tiles, which leaf a record is, and the greatest checkpoint signed.

    with closing(Trees(dsns.reader)) as trees, trees.snapshot() as snapshot:
        tree = snapshot.tree(3)                                       # StoredTree(3, frontier, next_offset=1042)
        index = snapshot.leaf_index(Position(3, 1041))                # 1041, or less when offsets have gaps
        nodes = TileTree(tree.frontier.size, snapshot.tiles(3)).nodes
        hashes = prove_inclusion(index, tree.frontier.size, nodes)

One snapshot is one state of all of it. PostgreSQL is not trusted: whoever hands a proof out checks it against a signed
checkpoint first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import ConfigurationError, Unavailable
from ledger.log import Position
from ledger.tree.merkle import HASH_BYTES, Frontier, InvalidProof
from ledger.tree.tiles import Tile, TileReader
from projections.statements import statements

Connection = psycopg.Connection[Any]
_POOL_TIMEOUT_S = 5.0


class StoredTree(NamedTuple):
    """A partition's tree: its frontier (size and hashes), and the first offset behind its last leaf."""

    partition: int
    frontier: Frontier
    next_offset: int


class Signed(NamedTuple):
    """The greatest checkpoint that was signed: what it says, and the signed note itself. Not checked here."""

    size: int
    root: bytes
    note: bytes


class Snapshot:
    """The trees at one moment, over one connection inside a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tree(self, partition: int) -> StoredTree:
        """The partition's tree; an empty one when nothing was projected. Raises `InvalidProof` for a broken row."""
        row = self._one("tree", partition=partition)
        if row is None:
            return StoredTree(partition, Frontier(), 0)
        return StoredTree(partition, Frontier.unpack(row[0], bytes(row[1])), row[2])

    def tiles(self, partition: int) -> TileReader:
        """Reads tiles of this partition; raises `InvalidProof` when one is missing or too short."""

        def read(tiles: Sequence[Tile]) -> list[bytes]:
            parameters = {
                "partition": partition,
                "levels": [tile.level for tile in tiles],
                "indexes": [tile.index for tile in tiles],
                "bytes": [tile.width * HASH_BYTES for tile in tiles],
            }
            with self._connection.cursor(row_factory=tuple_row) as cursor:
                rows = cursor.execute(statements("tlog")["tiles"], parameters).fetchall()
            found = {(level, index, len(hashes)): bytes(hashes) for level, index, hashes in rows}
            try:
                return [found[tile.level, tile.index, tile.width * HASH_BYTES] for tile in tiles]
            except KeyError:
                raise InvalidProof("a tile is missing or too short: rebuild the tiles from the log") from None

        return read

    def tile(self, partition: int, level: int, index: int) -> bytes:
        """All that is stored of one tile; empty when there is none."""
        row = self._one("tile", partition=partition, level=level, index=index)
        return b"" if row is None else bytes(row[0])

    def leaf_index(self, position: Position) -> int | None:
        """Which leaf the record at a position is; None where the tree has none (yet, or in a gap of offsets)."""
        partition, offset = position
        row = self._one("run of offset", partition=partition, offset=offset)
        tree = self._one("tree", partition=partition)
        if row is None or tree is None:
            return None
        index = int(row[1]) + offset - int(row[0])
        end = int(tree[0]) if row[2] is None else int(row[2])
        return index if index < end else None

    def runs(self, partition: int) -> list[tuple[int, int]]:
        """Where the leaves stand: (first offset, first leaf index) of each run of offsets, in their order."""
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(statements("tlog")["runs"], {"partition": partition}).fetchall()
        return [(int(offset), int(index)) for offset, index in rows]

    def position(self, partition: int, index: int) -> Position:
        """The position of a leaf of the tree."""
        row = self._one("run of index", partition=partition, index=index)
        if row is None:
            raise InvalidProof("the tree does not say where its leaves stand: rebuild it from the log")
        return Position(partition, int(row[0]) + index - int(row[1]))

    def checkpoint(self, partition: int) -> Signed | None:
        """The greatest checkpoint signed for the partition, as the signer keeps it."""
        row = self._one("checkpoint", partition=partition)
        return None if row is None else Signed(int(row[0]), bytes(row[1]), bytes(row[2]))

    def _one(self, name: str, **parameters: Any) -> tuple[Any, ...] | None:
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            found: tuple[Any, ...] | None = cursor.execute(statements("tlog")[name], parameters).fetchone()
            return found


class Trees:
    """A pool of connections to the trees, for any role that may read them. Used from one thread or several."""

    def __init__(self, dsn: str, pool_size: int = 2) -> None:
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            dsn,
            min_size=1,
            max_size=pool_size,
            open=True,
            timeout=_POOL_TIMEOUT_S,
            kwargs={"autocommit": True, "application_name": "consent-ledger trees"},
            check=ConnectionPool.check_connection,
        )

    def close(self) -> None:
        """Gives the connections back."""
        self._pool.close()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One read-only snapshot; raises `Unavailable` when the database is away."""
        try:
            with self._pool.connection() as connection, connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield Snapshot(connection)
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout):
            raise Unavailable("the trees cannot be reached") from None
        except psycopg.Error as error:
            raise ConfigurationError(
                f"the trees do not answer as they should ({type(error).__name__}): check schema and role with `doctor`"
            ) from None
