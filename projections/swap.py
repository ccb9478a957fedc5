"""Makes a rebuilt schema the live one, in one transaction that no reader sees the middle of.

    with held(dsns.owner, "live") as swap:               # live workers wait from here on; readers do not
        swap.positions                                   # where the live views stand still
        swap.outwait_snapshots(deadline_s)               # whoever could not see all of the rebuilt schema has ended
        old = swap.replace("rebuild_v2_20260304t120000_5e1f", deadline_s)      # 'live_replaced_20260304t121314_9a02'

Everybody finds tables by the name of the schema, so two renamed schemas are all there is to it. A live worker that
waited finds its position in the new one, or that somebody has moved it on, and begins again from there. What is in a
live schema and is no view (`halted`, who follows which partition) is carried over.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
from psycopg import sql

from ledger.errors import ConfigurationError, Unavailable
from projections import rowwise
from projections import schema as schemas
from projections.reach import reachable
from projections.statements import statements

FROM_THE_LOG = (*rowwise.VIEWS, "tracking", "schema_version")
"""The tables that a rebuild makes itself. Every other table of a live schema is carried over as it is."""
WRITERS_WAIT_MS = 2_000
READERS_WAIT_MS = 200
"""How long anybody may have to wait for us to wait for somebody else."""
_LOOK_EVERY_S = 0.02


class Busy(Unavailable):
    """Somebody held what was needed for longer than others may be kept waiting; nothing was changed."""


class Replaced(msgspec.Struct, frozen=True):
    """What the comment of a replaced schema says: whose place it had, and when it lost it."""

    live: str
    at: str


class _Comment(msgspec.Struct, frozen=True):
    replaced: Replaced


class Swap:
    """A live schema whose writers wait. Made by `held`."""

    def __init__(self, connection: "psycopg.Connection[Any]", owner_dsn: str, live: str) -> None:
        self._connection, self._owner_dsn, self._live = connection, owner_dsn, live
        self.positions = rowwise.tracked(connection)

    def outwait_snapshots(self, deadline_s: float) -> None:
        """Returns when every transaction that is open now has ended, but for writers that wait for us.

        One that began earlier and looks at the rebuilt tables would see them as they were then: behind what it, or
        somebody else, saw in the live ones. Raises `Busy` after `deadline_s` of `time.monotonic`.
        """
        with schemas.connect(self._owner_dsn) as watching:
            open_before = self._open_transactions(watching)
            while open_before:
                if time.monotonic() > deadline_s:
                    raise Busy("a transaction on the views has been open for too long: end it, then try again")
                time.sleep(_LOOK_EVERY_S)
                open_before &= self._open_transactions(watching)

    def _open_transactions(self, watching: "psycopg.Connection[Any]") -> set[str]:
        holder = self._connection.info.backend_pid
        return {str(row[0]) for row in watching.execute(statements("rebuild")["open transactions"], {"holder": holder})}

    def replace(self, rebuilt: str, deadline_s: float) -> str:
        """Carries over, renames both schemas; returns the old one's new name. Takes effect when `held` ends."""
        tables = _tables(self._connection, self._live)
        self._shut_out_readers(tables, deadline_s)
        theirs = _tables(self._connection, rebuilt)
        for table in sorted(set(tables) - set(FROM_THE_LOG)):
            self._carry_over(table, rebuilt, moved=table not in theirs)
        now = datetime.now(UTC)
        old = f"{self._live}_replaced_{now:%Y%m%dt%H%M%S}_{uuid4().hex[:4]}"
        said = msgspec.json.encode(_Comment(Replaced(self._live, now.isoformat(timespec="seconds")))).decode()
        live_name, old_name, rebuilt_name = (sql.Identifier(name) for name in (self._live, old, rebuilt))
        for statement in (
            sql.SQL("COMMENT ON SCHEMA {} IS {}").format(live_name, sql.Literal(said)),
            sql.SQL("COMMENT ON SCHEMA {} IS NULL").format(rebuilt_name),
            sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(live_name, old_name),
            sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(rebuilt_name, live_name),
        ):
            self._connection.execute(statement)
        return old

    def _shut_out_readers(self, tables: list[str], deadline_s: float) -> None:
        """Holds every live table, at a moment when nobody is in the middle of reading them."""
        named = sql.SQL(", ").join(sql.Identifier(self._live, table) for table in tables)
        _may_wait(self._connection, READERS_WAIT_MS)
        while True:
            try:
                with self._connection.transaction():  # a savepoint: what was locked is let go
                    self._connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(named))
                return
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if time.monotonic() > deadline_s:
                    raise Busy("somebody reads the live views without a pause: end it, then try again") from None
                time.sleep(_LOOK_EVERY_S)

    def _carry_over(self, table: str, rebuilt: str, *, moved: bool) -> None:
        ours, theirs = sql.Identifier(self._live, table), sql.Identifier(rebuilt, table)
        if moved:
            self._connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(ours, sql.Identifier(rebuilt)))
        else:
            self._connection.execute(sql.SQL("DELETE FROM {}").format(theirs))
            self._connection.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(theirs, ours))


@contextmanager
def held(owner_dsn: str, live: str) -> Iterator[Swap]:
    """The live schema's writers wait until this ends: committed, or undone after an error. Raises `Busy`."""
    dsn = schemas.at_schema(owner_dsn, live)
    with reachable(), schemas.connect(dsn) as connection, connection.transaction():
        tables = _tables(connection, live)
        if "tracking" not in tables:
            raise ConfigurationError(f"there are no live views in the schema {live}: run `consent-ledger setup`")
        # In the order in which a writer takes them: first what says whether it may write, then its position.
        first = [table for table in tables if table not in FROM_THE_LOG and table != "halted"]
        named = sql.SQL(", ").join(sql.Identifier(live, table) for table in (*first, "halted", "tracking"))
        _may_wait(connection, WRITERS_WAIT_MS)
        try:
            connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(named))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise Busy("a live worker writes without a pause: try again") from None
        yield Swap(connection, owner_dsn, live)


def replaced(owner_dsn: str, live: str) -> list[str]:
    """The schemas whose place others have taken, the oldest first."""
    found = []
    with schemas.connect(owner_dsn) as connection:
        for name, comment in connection.execute(statements("rebuild")["comments"]):
            try:
                said = msgspec.json.decode(comment or "", type=_Comment).replaced
            except msgspec.MsgspecError:
                continue
            if said.live == live:
                found.append((said.at, str(name)))
    return [name for _, name in sorted(found)]


def _tables(connection: "psycopg.Connection[Any]", schema: str) -> list[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (schema,))
    return [str(row[0]) for row in rows]


def _may_wait(connection: "psycopg.Connection[Any]", ms: int) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{ms}ms",))
