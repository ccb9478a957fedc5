"""Peer (a): eventsourcing's stock `ProjectionRunner`, one event a transaction, writing the very rows that we write.

    seconds = project_s(stage.here, filled)

The projection hands each event to the ledger's own judge and writes its rows, tree and position as a batch of one, in
the library's own transaction with its own tracking. So what differs is what is measured: one event at a time, instead
of batches. As `project --projection` does it, each partition has a runner of its own, all in one process.
"""

import time
from contextlib import ExitStack
from typing import Any

import psycopg
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from msgspec import UNSET
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from benchmarks.servers import PARTITIONS, Servers
from benchmarks.topic import Filled
from ledger import codec
from ledger.garbage import calm_collector
from ledger.history import PartitionHistory
from ledger.tree.merkle import leaf_hash
from projections import load
from projections.application import application
from projections.batch import Item, sift
from projections.datastore import TRACKING_TABLE
from projections.follow import environment
from projections.judged import judge_batch
from projections.keys import key_hash
from projections.projector import FACTS_IN_MEMORY
from projections.schema import LIVE, Dsns
from projections.statements import statements
from projections.tree import empty_tree, plan
from projections.write import write

_DONE_WITHIN_S = 3_600.0
_WORKER_PLANS = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")


class OneAtATime(PostgresTrackingRecorder):
    """All views of one partition, with the library's tracking."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs | {"tracking_table_name": TRACKING_TABLE})
        self._partition: _Partition | None = None

    def take(self, event: Any, tracking: Tracking) -> None:
        """Judges one event and writes what it changes, in one transaction."""
        held = self._partition or self._opened(tracking.application_name)
        offset, body = tracking.notification_id - 1, codec.encode(event)
        subject = None if event.subject is UNSET else event.subject
        key = (event.source, event.id, subject)
        items = [Item(offset, event, body, key, key_hash(event.source, event.id))]
        with self.datastore.get_connection() as connection:
            batch = sift(held.number, held.position, items, held.residents.lookup.first_records(connection, items))
            rows = judge_batch(connection, held.history, held.residents, batch)
        tree = plan(held.tree, [offset], [leaf_hash(body)])
        write(self, rows, tree, held.position, held.epoch)
        held.residents.lookup.wrote(batch)
        held.position, held.tree = batch.end, tree.after
        held.residents.settle(rows.touched)

    def _opened(self, name: str) -> "_Partition":
        self._partition = _Partition(int(name.removeprefix("ledger[").removesuffix("]")))
        claim = {"partition": self._partition.number, "worker": "peer"}
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(statements("load")["seed position"], {"name": name})
            row = cursor.execute(statements("assignments")["claim"], claim).fetchone()
        assert row is not None, "an upsert returns its row"
        self._partition.epoch = int(row["epoch"])
        return self._partition


class _Partition:
    """What a projector keeps of its partition between two events."""

    def __init__(self, number: int) -> None:
        self.number, self.position, self.tree = number, 0, empty_tree(number)
        self.epoch = 0
        self.history = PartitionHistory(number)
        self.residents = load.Residents(self.history, FACTS_IN_MEMORY // PARTITIONS)


class OneByOne(Projection[OneAtATime]):
    """Every event, one after the other."""

    name = "onebyone"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """One event in one transaction."""
        self.view.take(domain_event, tracking)


def project_s(here: Servers, filled: Filled, dsns: Dsns) -> float:
    """Seconds from the first runner's start to the last partition's end."""
    _find_the_schema(here, dsns)
    env = environment(OneByOne.name, dsns.projector, LIVE) | {"ONEBYONE_CREATE_TABLE": "no"}
    with ExitStack() as running, calm_collector():
        started = time.perf_counter()
        runners = {
            partition: running.enter_context(
                ProjectionRunner(
                    application_class=application(here.bootstrap, partition, filled.topic),
                    projection_class=OneByOne,
                    view_class=OneAtATime,
                    env=env,
                )
            )
            for partition in filled.heads
        }
        for partition, runner in runners.items():
            runner.wait(filled.heads[partition], timeout=_DONE_WITHIN_S)
        return time.perf_counter() - started


def _find_the_schema(here: Servers, dsns: Dsns) -> None:
    """The library's connections take no options, so the role's own settings in this database say the same."""
    with psycopg.connect(here.superuser_of(dsns.owner), autocommit=True) as connection:
        named = sql.Identifier(str(conninfo_to_dict(dsns.owner)["dbname"]))
        alter = sql.SQL("ALTER ROLE ledger_projector IN DATABASE {} SET ").format(named)
        connection.execute(alter + sql.SQL("search_path = {}").format(sql.Identifier(LIVE)))
        connection.execute(alter + sql.SQL("timezone = 'UTC'"))
        for setting in _WORKER_PLANS:
            connection.execute(alter + sql.SQL("{} = off").format(sql.Identifier(setting)))
