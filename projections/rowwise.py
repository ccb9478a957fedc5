"""A whole schema of views, read row by row in the order of its keys, in one snapshot.

    with Snapshot(at_schema(dsns.owner, "live")) as live:
        live.positions, next(live.rows("timeline")).text, live.trees.tile(3, 0, 0)

For whoever compares two builds of the same log (replay.compare). Rows are streamed: memory does not grow with them.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

from ledger.errors import Unavailable
from projections import tlog
from projections.statements import statements

VIEWS = tuple(statements("compare"))
"""Every view, in the order of the file."""

_APPLICATION = re.compile(r"ledger\[([0-9]+)\]")
_ROWS_AT_ONCE = 5_000
_TILES_AT_ONCE = 200


class KeyedRow(NamedTuple):
    """A row as text, under a key that sorts as the server sorts it; `position`: a record that it comes from."""

    key: list[str]
    position: str | None
    text: str


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

    def rows(self, view: str) -> Iterator[KeyedRow]:
        """The rows of a view, streamed."""
        with self._connection.cursor(f"walk_{view}") as cursor:
            cursor.itersize = _TILES_AT_ONCE if view == "tiles" else _ROWS_AT_ONCE
            cursor.execute(statements("compare")[view])
            for row in cursor:
                yield KeyedRow(*row)


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
