"""A whole schema of views, read row by row in the order of its keys, in one snapshot.

    with Snapshot(at_schema(dsns.owner, "live")) as live:
        live.positions, next(live.rows("timeline")).text, live.trees.tile(3, 0, 0)

For whoever compares two builds of the same log (replay.compare). Rows are streamed: memory does not grow with them.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from ledger.errors import Unavailable
from projections import tlog
from projections.statements import statements

VIEWS = tuple(statements("compare"))
"""Every view, in the order of the file."""

_APPLICATION = re.compile(r"ledger\[([0-9]+)\]")
BUCKETS = 4_096
"""Into how many parts a view is taken apart to find where two of them differ."""
_ROWS_AT_ONCE = 5_000
_TILES_AT_ONCE = 200


class KeyedRow(NamedTuple):
    """A row as text, under a key that sorts as the server sorts it; `position`: a record that it comes from."""

    key: list[str]
    position: str | None
    text: str


class Digest(NamedTuple):
    """How many rows there are, and a SHA-256 over the SHA-256 of each row's text, in the order of their keys."""

    rows: int
    digest: bytes


class Snapshot:
    """All views of one schema at one moment. A context manager."""

    def __init__(self, dsn: str) -> None:
        try:
            self._connection: psycopg.Connection[Any] = psycopg.connect(dsn, connect_timeout=10)
        except psycopg.OperationalError:
            raise Unavailable("the database of the views does not answer: check its address") from None
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        self.positions = tracked(self._connection)
        self.trees = tlog.Snapshot(self._connection)

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def digests(self, view: str) -> dict[int, Digest]:
        """The rows of a view in `BUCKETS` parts by the hash of their key; only parts that have rows."""
        statement = _wrapped("digests of buckets", view)
        found = self._connection.execute(statement, {"buckets": BUCKETS}).fetchall()
        return {int(bucket): Digest(int(rows), bytes(digest)) for bucket, rows, digest in found}

    def rows(self, view: str, buckets: Sequence[int] | None = None) -> Iterator[KeyedRow]:
        """The rows of a view, streamed; of these parts alone where some are named."""
        with self._connection.cursor(f"walk_{view}") as cursor:
            cursor.itersize = _TILES_AT_ONCE if view == "tiles" else _ROWS_AT_ONCE
            if buckets is None:
                cursor.execute(statements("compare")[view])
            else:
                parameters = {"buckets": BUCKETS, "some": list(buckets)}
                cursor.execute(_wrapped("rows of buckets", view), parameters)
            for row in cursor:
                yield KeyedRow(*row)


def _wrapped(name: str, view: str) -> sql.Composed:
    """A statement over the rows of a view."""
    rows = statements("compare")[view].decode().replace("%", "%%")
    return sql.SQL(statements("digests")[name].decode()).format(rows=sql.SQL(rows))


def positions(dsn: str) -> dict[int, int]:
    """For each partition the first offset that is not in the views."""
    with Snapshot(dsn) as snapshot:
        return snapshot.positions


def tracked(connection: "psycopg.Connection[Any]") -> dict[int, int]:
    """The same, over a connection whose search path names the schema."""
    found = {}
    for name, offset in connection.execute("SELECT application_name, notification_id FROM tracking"):
        match = _APPLICATION.fullmatch(name)
        if match is not None:
            found[int(match[1])] = int(offset)
    return found
