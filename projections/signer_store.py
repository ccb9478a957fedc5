"""What the signer keeps in PostgreSQL: the greatest checkpoint signed for each partition, moved by compare-and-swap.

    with closing(SignedStore(dsns.signer)) as store:
        store.move(3, before, Signed(1041, root, note))     # True: in the database, for certain
    coverage(dsns.reader)[3]                                # Coverage(3, tree_size=1050, signed_size=1041, signed=…)

One connection, one thread. When it is lost at a commit, whether the row has moved is unknown: `move` raises
`Unavailable`, and what the row says has to be read again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from ledger.errors import ConfigurationError, Unavailable
from projections.signer_rules import LOCKED, Refused
from projections.statements import statements
from projections.tlog import Signed

Step = Callable[[str], None]
"""Told the name of each step as it is reached: for tests, which kill the signer there."""
SWAPPED = "swapped"
LOCK_LIMIT, LIMIT = "1s", "5s"
"""How long to wait for another's lock; how long a statement, or a transaction between two statements, may take."""


def no_step(name: str) -> None:
    """A `Step` that does nothing."""


class Coverage(NamedTuple):
    """How much of a partition's tree is signed: sizes in leaves, and when the last checkpoint was signed, if ever."""

    partition: int
    tree_size: int
    signed_size: int
    signed: datetime | None

    @property
    def lag(self) -> int:
        """The leaves that no checkpoint covers."""
        return max(0, self.tree_size - self.signed_size)

    @property
    def covered(self) -> bool:
        """Whether a checkpoint covers every leaf."""
        return self.lag == 0


class SignedStore:
    """The table `checkpoints`, for the role that may write it. Connects when it is used, and again after a loss."""

    def __init__(self, signer_dsn: str) -> None:
        self._dsn = signer_dsn
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        """Closes the connection; it is made anew when it is needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def partitions(self) -> list[int]:
        """The partitions that have a tree, or a checkpoint."""
        with self._translated("which partitions there are is unknown") as connection:
            return [int(row[0]) for row in connection.execute(statements("signer")["partitions"])]

    def move(self, partition: int, before: Signed | None, after: Signed, at: Step = no_step) -> bool:
        """Puts `after` in the place of `before` (None: of no row) in one transaction; False when another stands there.

        Raises `Unavailable` when that cannot be known, and `Refused` when another session holds the row.
        """
        statement = statements("signer")["first" if before is None else "move"]
        parameters = {"partition": partition, **after._asdict()}
        if before is not None:
            parameters |= {"old_size": before.size, "old_root": before.root}
        with (
            self._translated(f"whether the checkpoint of partition {partition} is stored is unknown") as connection,
            connection.transaction(),
        ):
            try:
                moved = connection.execute(statement, parameters).rowcount == 1
            except psycopg.errors.LockNotAvailable:
                raise Refused(partition, LOCKED, "another session holds the row of its checkpoint") from None
            if moved:
                at(SWAPPED)
        return moved

    @contextmanager
    def _translated(self, what: str) -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
        try:
            if self._connection is None:
                self._connection = _connect(self._dsn)
            yield self._connection
        except psycopg.ProgrammingError as error:
            self.close()
            raise ConfigurationError(
                f"the signer's state does not answer as it should ({type(error).__name__}): check schema and role"
            ) from None
        except psycopg.Error as error:  # whatever its class: a session ended for idling counts as an internal error
            self.close()
            raise Unavailable(f"{what}: the signer's database was lost ({type(error).__name__})") from None


def _connect(dsn: str) -> "psycopg.Connection[tuple[Any, ...]]":
    connection = psycopg.connect(dsn, autocommit=True, connect_timeout=5, application_name="consent-ledger sign")
    try:
        connection.execute(statements("signer")["session"], {"lock": LOCK_LIMIT, "limit": LIMIT})
    except psycopg.Error:
        connection.close()
        raise
    return connection


def coverage(dsn: str) -> dict[int, Coverage]:
    """How much of each partition's tree is signed, for any role that may read it. Raises `Unavailable`."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            rows = connection.execute(statements("signer")["coverage"]).fetchall()
    except psycopg.OperationalError:
        raise Unavailable("the trees and their checkpoints cannot be reached") from None
    except psycopg.Error as error:
        raise ConfigurationError(
            f"trees and checkpoints do not answer as they should ({type(error).__name__}): run `consent-ledger setup`"
        ) from None
    return {int(row[0]): Coverage(int(row[0]), int(row[1]), int(row[2]), row[3]) for row in rows}
