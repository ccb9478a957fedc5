"""Who may write a partition: the worker whose *epoch* is the newest. Everybody else's batches are refused.

    assignment = Assignment(datastore, 3)
    assignment.claim()                   # raises the partition's epoch: what has an older one cannot write any more
    assignment.epoch                     # goes into each writing transaction (projections.write)
    holders(connection)[3].worker        # 'project host-a/4711/9f3a01bc'

A consumer group hands partitions out, and a worker that was paused past its session hears of that late. So the group's
word is not what protects the tables: the row of `assignments` is, which each writing transaction reads and locks in
the statement that locks the position. A claim waits for a write that is under way, and ends the connection of one that
does not end (`PATIENCE_S`): a process that was stopped in the middle of it would otherwise hold its locks for ever.

INVARIANT: nobody claims a partition back because it was taken: only when it is handed to them anew, or when its holder
has let go or has no connection any more. So two workers that were started for one partition do not take turns.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from eventsourcing.persistence import PersistenceError
from psycopg.rows import tuple_row

from ledger.errors import ProjectionError
from projections.datastore import Datastore, application_name
from projections.statements import statements

Connection = psycopg.Connection[Any]
PATIENCE_S = 3.0
"""How long a claim waits for a write that is under way before it ends that writer's connection."""
_ATTEMPTS = 3


class Holder(NamedTuple):
    """Who has a partition. `alive`: its connections are there, so it may be paused or slow, but it is not dead."""

    epoch: int
    worker: str
    since: datetime
    released: bool
    alive: bool

    @property
    def gone(self) -> bool:
        """Whether it has let go, or is dead: whoever waits for the partition may take it."""
        return self.released or not self.alive


class Assignment:
    """One worker's hold on one partition. `epoch` is None until it is claimed. Used by one thread."""

    def __init__(self, datastore: Datastore, partition: int) -> None:
        self.partition = partition
        self.epoch: int | None = None
        self._datastore = datastore

    def claim(self) -> None:
        """Takes the partition from whoever has it. Raises what eventsourcing raises when PostgreSQL is away."""
        for _ in range(_ATTEMPTS):
            locked, epoch = self._raise("claim")
            if not locked:
                assert epoch is not None, "an upsert returns its row"
                self.epoch = epoch
                return
            self._end_writer()
        raise ProjectionError(f"partition {self.partition} cannot be taken over: another worker keeps its rows locked")

    def claim_from(self, holder: Holder | None) -> bool:
        """Takes the partition over from a holder that is gone, unless another is quicker (or it still writes)."""
        if holder is None:
            self.claim()
            return True
        _, epoch = self._raise("claim from", holder.epoch)
        self.epoch = self.epoch if epoch is None else epoch
        return epoch is not None

    def is_newest(self, connection: Connection) -> bool:
        """Whether nobody has claimed the partition since."""
        row = connection.execute(statements("assignments")["epoch"], {"partition": self.partition}).fetchone()
        return row is not None and row["epoch"] == self.epoch

    def _raise(self, how: str, epoch: int | None = None) -> tuple[bool, int | None]:
        """Whether the row is locked by a write under way, or else the new epoch if there is one."""
        named = statements("assignments")
        parameters = {"partition": self.partition, "worker": self._datastore.worker, "epoch": epoch}
        with self._datastore.get_connection() as connection:
            try:
                with connection.transaction():
                    connection.execute(named["wait at most"], {"ms": f"{int(PATIENCE_S * 1000)}ms"})
                    row = connection.execute(named[how], parameters).fetchone()
            except psycopg.errors.LockNotAvailable:
                return True, None
        return False, None if row is None else int(row["epoch"])

    def _end_writer(self) -> None:
        with self._datastore.get_connection() as connection:
            parameters = {"name": application_name(self.partition)}
            connection.execute(statements("assignments")["end its writer"], parameters)


def release(datastore: Datastore, assignments: Iterable[Assignment]) -> None:
    """Lets go, so that whoever waits need not wait. What another has by now stays so; nobody answering is no fault."""
    held = {each.partition: each.epoch for each in assignments if each.epoch is not None}
    if held:
        parameters = {"partitions": list(held), "epochs": list(held.values())}
        with suppress(psycopg.Error, PersistenceError), datastore.get_connection() as connection:
            connection.execute(statements("assignments")["release"], parameters)


def holders(connection: Connection) -> Mapping[int, Holder]:
    """Who has each partition that was ever claimed."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(statements("assignments")["holders"]).fetchall()
    return {
        int(p): Holder(int(epoch), str(worker), since, released, alive)
        for p, epoch, worker, since, released, alive in rows
    }
