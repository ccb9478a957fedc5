"""How far a schema that is being rebuilt is, and which process has which of its partitions.

with closing(Reach(building.owner_dsn)) as reach:
    reach.positions(), reach.records()          # {0: 1042, 1: 998}, 2040
claims = Claims(building.owner_dsn, building.schema)
claims.take(3)                                  # False: another process has it
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any, TypeVar

import psycopg

from ledger.errors import ConfigurationError, Unavailable
from projections import rowwise
from projections import schema as schemas
from projections.statements import statements

_T = TypeVar("_T")


@contextmanager
def reachable() -> Iterator[None]:
    """The library's errors as ours; their texts may hold row values, so they go no further."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigurationError("a rebuild needs the role ledger_owner: connect as it") from None
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise Unavailable("the database of the views was away: check its address, then go on") from None


class Reach:
    """How far a schema is, asked again and again over one connection."""

    def __init__(self, owner_dsn: str) -> None:
        self._dsn = owner_dsn
        self._connection: psycopg.Connection[Any] | None = None

    def positions(self) -> dict[int, int]:
        """For each partition the first offset that is not in the tables. Raises `Unavailable`, as `records` does."""
        return self._ask(rowwise.tracked)

    def records(self) -> int:
        """How many records are in the tables: each is a leaf of a tree."""
        return self._ask(_leaves)

    def halted(self) -> list[str]:
        """The records that partitions stand still at."""
        return self._ask(_halted)

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, question: Callable[["psycopg.Connection[Any]"], _T]) -> _T:
        if self._connection is not None:
            try:
                return question(self._connection)
            except psycopg.OperationalError:  # cut by a restart of the server, perhaps: once more over a new one
                self.close()
        self._connection = schemas.connect(self._dsn)
        try:
            return question(self._connection)
        except psycopg.OperationalError:
            self.close()
            raise Unavailable("the database of the views does not answer: check its address") from None


def _leaves(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute(statements("rebuild")["leaves"]).fetchone()
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def _halted(connection: "psycopg.Connection[Any]") -> list[str]:
    rows = connection.execute(statements("rebuild")["halted"])
    return [str(row[0]) for row in rows]


class Claims:
    """Which partitions this process rebuilds: locks of its session, which end with it, however it ends."""

    def __init__(self, owner_dsn: str, schema: str) -> None:
        self._dsn, self._schema = owner_dsn, schema
        self._connection: psycopg.Connection[Any] | None = None

    def reached(self) -> dict[int, int]:
        """For each partition the first offset that is not in the tables; raises psycopg's errors."""
        return rowwise.tracked(self._connected())

    def take(self, partition: int) -> bool:
        """Whether the partition is this process's now; raises psycopg's errors."""
        return try_lock(self._connected(), f"{self._schema}/{partition}")

    def close(self) -> None:
        """Gives all of them up."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _connected(self) -> "psycopg.Connection[Any]":
        if self._connection is None or self._connection.closed:
            self._connection = schemas.connect(self._dsn)
        return self._connection


def try_lock(connection: "psycopg.Connection[Any]", name: str) -> bool:
    """Whether the lock of this name is the session's now."""
    row = connection.execute(statements("rebuild")["try lock"], {"key": lock_key(name)}).fetchone()
    assert row is not None, "the query has no condition"
    return bool(row[0])


def lock_key(name: str) -> int:
    """A lock's number: 64 bits that no other lock of ours is likely to have."""
    return int.from_bytes(blake2b(b"consent-ledger/" + name.encode(), digest_size=8).digest(), "big", signed=True)
