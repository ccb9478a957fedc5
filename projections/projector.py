"""One partition's way into the tables: records in, batch by batch, exactly once.

    projector = Projector(datastore, 3)
    projector.open()                          # takes the partition, and its position from PostgreSQL, never from Kafka
    projector.project(records)                # from projector.position on; returns how far it came

Each batch is decoded, sifted, judged in memory, and written with its tree and its position in one transaction
(projections.write). Whatever goes wrong, memory is thrown away and begun again from what PostgreSQL has: also when the
reply to a COMMIT was lost, so that nobody knows whether it happened.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from eventsourcing.postgres import PostgresTrackingRecorder

from ledger.errors import LogError, StaleWriter, TreeMismatch, UnreadableRecord
from ledger.history import PartitionHistory
from ledger.log import LogRecord, Position
from ledger.tree.merkle import leaf_hash
from projections import load
from projections.assignments import Assignment, Holder
from projections.batch import First, Item, Key, decode, sift
from projections.datastore import TRACKING_TABLE, Datastore, application_name
from projections.judged import BatchRows, judge_batch
from projections.lookup import ByIndex, Lookup
from projections.metrics import Metrics
from projections.seen import Seen
from projections.statements import statements
from projections.tree import TreePlan, empty_tree, plan
from projections.write import write

_logger = logging.getLogger("consent_ledger.project")
FACTS_IN_MEMORY = 400_000
"""How many residents' facts one partition keeps: some 100 MB."""


class Judged(NamedTuple):
    """A batch between its steps: what to write, from which position on, and the record that ends it if one does."""

    rows: BatchRows
    tree: TreePlan
    position: int
    unreadable: UnreadableRecord | None
    started_s: float
    tree_s: float


class Projector:
    """Projects one partition.

    `halted`: why it stands still for good, or None. `fenced`: another worker has the partition, so this one waits.
    """

    def __init__(
        self,
        datastore: Datastore,
        partition: int,
        metrics: Metrics | None = None,
        *,
        facts_in_memory: int = FACTS_IN_MEMORY,
        durable: bool = True,
        lookup: Callable[[int], Lookup] = ByIndex,
    ) -> None:
        self.partition = partition
        self.position: int | None = None
        self.halted: LogError | None = None
        self.fenced = False
        self.assignment = Assignment(datastore, partition)
        self._datastore, self._metrics, self._durable = datastore, metrics, durable
        self._recorder = PostgresTrackingRecorder(datastore, tracking_table_name=TRACKING_TABLE)
        self._facts_in_memory, self._lookup = facts_in_memory, lookup
        self.forget()

    def forget(self) -> None:
        """Throws memory away: `open` begins again from what PostgreSQL has."""
        self.position = None
        self._history = PartitionHistory(self.partition)
        self._tree = empty_tree(self.partition)
        self._seen: Seen | None = None
        self._residents = load.Residents(self._history, self._facts_in_memory, self._lookup(self.partition))

    def claim(self) -> None:
        """Takes the partition from whoever has it; `open` does so when nobody has yet."""
        self.assignment.claim()
        self._held()

    def claim_from(self, holder: Holder | None) -> None:
        """Goes on with a partition whose holder is gone, unless another worker is quicker."""
        if self.assignment.claim_from(holder):
            self.forget()
            self._held()

    def fence(self) -> None:
        """Takes note that another worker has the partition."""
        if not self.fenced:
            _logger.warning("another worker has partition %s now: waiting until it is gone", self.partition)
        self.fenced = True
        if self._metrics is not None:
            self._metrics.held.labels(str(self.partition)).set(0)

    def _held(self) -> None:
        self.fenced = False
        if self._metrics is not None:
            self._metrics.held.labels(str(self.partition)).set(1)
            self._metrics.epoch.labels(str(self.partition)).set(self.assignment.epoch or 0)

    def open(self) -> int:
        """Reads the position, seeded with 0 so that there is a row to lock, the tree and the reference facts.

        A partition that another worker has taken meanwhile is `fenced` then. A tree that does not fit the position
        halts the partition: `replay --compare` says what was altered.
        """
        if self.position is None:
            if self.assignment.epoch is None:
                self.claim()
            mismatch = None
            with self._datastore.get_connection() as connection:
                name = application_name(self.partition)
                connection.execute(statements("load")["seed position"], {"name": name})
                with connection.transaction():  # one snapshot, for another worker may be writing
                    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                    position = load.position(connection, name)
                    newest = self.assignment.is_newest(connection)
                    try:
                        self._tree = load.tree(connection, self.partition, position)
                    except TreeMismatch as error:
                        mismatch = error
                load.reference_facts(connection, self._history)
                self._residents.lookup.restore(connection)
            # It has to meet every key from the beginning on; a rebuild's look-ups remember keys themselves.
            by_index = isinstance(self._residents.lookup, ByIndex)
            self._seen = Seen() if position == 0 and by_index else None
            self.position = position
            if not newest:
                self.fence()
            elif mismatch is not None:
                self.halt(mismatch, position, "tree-mismatch")
        return self.position

    def project(self, records: Sequence[LogRecord]) -> int:
        """Projects one batch, which begins at the position; returns the new position.

        On an error nothing is written, or nobody knows: `forget`, then begin again. A record that cannot be read
        halts the partition behind the records before it.
        """
        judged = self.judge(records)
        if judged is not None:
            self.write(judged)
            self.settle(judged)
        assert self.position is not None, "it was open"
        return self.position

    def judge(self, records: Sequence[LogRecord], before: Callable[[], None] | None = None) -> Judged | None:
        """First step: reads and judges a batch. `before` is called when the batch before it has to be settled.

        None when there is nothing to write: the partition has been halted.
        """
        started = time.perf_counter()
        items, unreadable = decode(records)
        if before is not None:
            before()
        if self.halted is not None:
            return None
        assert self.position is not None, "open first"
        assert records[0].position.offset >= self.position, "batches follow one another"
        if not items:
            assert unreadable is not None, "a batch has records"
            self._stop_at(unreadable)
            return None
        with self._datastore.get_connection() as connection:
            known = self._known(connection, items)
            batch = sift(self.partition, self.position, items, known)
            rows = judge_batch(connection, self._history, self._residents, batch)
        tree_started_s = time.perf_counter()
        tree = plan(self._tree, [item.offset for item in items], [leaf_hash(item.body) for item in items])
        tree_s = time.perf_counter() - tree_started_s
        return Judged(rows, tree, self.position, unreadable, started, tree_s)

    def _known(self, connection: psycopg.Connection[Any], items: Sequence[Item]) -> dict[Key, First]:
        """The records known before under the keys of these: asked for only where there may be one."""
        if self._seen is not None:
            items = [items[i] for i in self._seen.meet([item.hash for item in items])]
        return self._residents.lookup.first_records(connection, items) if items else {}

    def write(self, judged: Judged) -> None:
        """Second step, in any thread: rows, tree and position in one transaction."""
        assert self.assignment.epoch is not None, "claim first"
        try:
            tree_s = write(
                self._recorder,
                judged.rows,
                judged.tree,
                judged.position,
                self.assignment.epoch,
                durable=self._durable,
            )
        except StaleWriter:
            if self._metrics is not None:
                self._metrics.stale.labels(str(self.partition)).inc()
            raise
        if self._metrics is not None:
            self._metrics.tree_seconds.inc(judged.tree_s + tree_s)

    def settle(self, judged: Judged) -> None:
        """Third step: what was written counts as known."""
        self.position = judged.rows.batch.end
        self._tree = judged.tree.after
        self._residents.lookup.wrote(judged.rows.batch)
        self._residents.settle(judged.rows.touched)
        self._report(judged.rows, time.perf_counter() - judged.started_s)
        if judged.unreadable is not None:
            self._stop_at(judged.unreadable)

    def _stop_at(self, unreadable: UnreadableRecord) -> None:
        self.halt(unreadable, Position.parse(unreadable.position).offset, unreadable.code)

    def halt(self, error: LogError, offset: int, code: str) -> None:
        """Stops this partition and says so where `doctor` and `/readyz` look."""
        parameters = {"partition": self.partition, "offset": offset, "code": code, "epoch": self.assignment.epoch}
        with self._datastore.transaction(commit=True) as cursor:
            if cursor.execute(statements("write")["halt"], parameters).fetchone() is None:
                raise StaleWriter(f"another worker has taken partition {self.partition} over: it says where it stands")
        self.halted = error
        _logger.error("partition %s stands still: %s", self.partition, error)
        if self._metrics is not None:
            self._metrics.halted.labels(str(self.partition)).set(1)

    def unhalt(self) -> None:
        """Takes back what an earlier run said: this one may be able to read on."""
        with self._datastore.transaction(commit=True) as cursor:
            parameters = {"partition": self.partition, "epoch": self.assignment.epoch}
            cursor.execute(statements("write")["unhalt"], parameters)
        self.halted = None
        if self._metrics is not None:
            self._metrics.halted.labels(str(self.partition)).set(0)

    def _report(self, rows: BatchRows, seconds: float) -> None:
        batch, label = rows.batch, str(self.partition)
        conflicts = [repeat for repeat in batch.repeats if repeat.conflict]
        for repeat in conflicts:
            _logger.warning(
                "record %s repeats %s with other content: it does not count",
                Position(self.partition, repeat.offset),
                Position(self.partition, repeat.first_offset),
            )
        if self._metrics is not None:
            self._metrics.events.labels(label).inc(len(batch.items))
            self._metrics.repeats.labels(label).inc(len(batch.repeats))
            self._metrics.conflicts.labels(label).inc(len(conflicts))
            self._metrics.superseded.labels(label).inc(len(rows.closed))
            self._metrics.batch_seconds.observe(seconds)
