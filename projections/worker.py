"""`project`: follows the log and keeps the views in PostgreSQL until it is told to stop.

    run("broker:9092", dsns.projector)                          # until SIGTERM or Ctrl-C, between batches
    run("broker:9092", dsns.projector, "rebuild", until={0: 1041, 1: 977})

One process follows all partitions, or those that are named. When Kafka or PostgreSQL is away it waits, a little longer
each time, and goes on from the position in PostgreSQL. A record that cannot be read, or one that is gone, stops its
partition and is named in the table `halted`; the other partitions go on. So does a partition that is not what its last
checkpoint says (`Settings.check`), before anything of it is written.

It claims each of its partitions (projections.assignments). One that another worker has claimed since is left alone, and
looked at every `look_every_s`: it is taken on again when that worker is gone.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import psycopg
from eventsourcing.persistence import PersistenceError

from ledger.errors import LogDiffers, LogError, MissingRecords, NotYet, ProjectionError, StaleWriter, UnreadableRecord
from ledger.garbage import calm_collector
from ledger.kafka import topics
from ledger.kafka.reader import Reader
from ledger.log import LogRecord, Position
from projections.assignments import holders, release
from projections.datastore import Datastore
from projections.metrics import Metrics
from projections.pipeline import Pipeline
from projections.projector import FACTS_IN_MEMORY, Projector
from projections.stopping import stopped_by_signals

_logger = logging.getLogger("consent_ledger.project")
FAULTS = (PersistenceError, psycopg.Error, NotYet, ProjectionError)
"""What passes: begin again from PostgreSQL's position. (`Unavailable` is a `NotYet`.)"""
Check = Callable[[Sequence[int], Callable[[], bool]], Mapping[int, LogDiffers]]
"""Which of these partitions differ from their checkpoints, and where; told by the second argument when to give up."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker works. `durable=False` is for rebuilds, which may be begun again from nothing."""

    topic: str = topics.EVENTS
    batch_events: int = 10_000
    facts_in_memory: int = FACTS_IN_MEMORY
    poll_s: float = 0.2
    look_every_s: float = 2.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    durable: bool = True
    check: Check | None = None


@dataclass
class Progress:
    """What a caller may watch from another thread; the numbers only rise.

    `total`: how many records there will be. `fenced`: partitions that another worker has.
    """

    events: int = 0
    total: int = 0
    phase: str = ""
    retries: int = 0
    fenced: frozenset[int] = frozenset()
    caught_up: threading.Event = field(default_factory=threading.Event)


def run(
    bootstrap: str,
    dsn: str,
    schema: str = "live",
    *,
    partitions: Sequence[int] | None = None,
    until: Mapping[int, int] | None = None,
    settings: Settings | None = None,
    metrics: Metrics | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> dict[int, LogError]:
    """Follows the log until it is stopped, or until each partition has reached its offset in `until`.

    Returns the partitions that stand still, with the reason. Without `stop`, SIGTERM and SIGINT stop it between
    batches. Raises `LogError` when the topic is not there.
    """
    settings = settings or Settings()
    with (
        stopped_by_signals(stop) as stopping,
        Datastore(dsn, schema, pool_size=2) as datastore,
        closing(_Follower(bootstrap, datastore, settings, metrics, progress or Progress(), stopping)) as follower,
        calm_collector(),
    ):
        wait_s = settings.first_wait_s
        while not stopping.is_set() and not follower.finished(until):
            try:
                follower.turn(partitions, until)
                wait_s = settings.first_wait_s
            except FAULTS as error:
                follower.begin_again(error)
                stopping.wait(wait_s)
                wait_s = min(2 * wait_s, settings.longest_wait_s)
        return follower.halted()


class _Follower:
    """The reader, the projectors and the pipeline of one run."""

    def __init__(
        self,
        bootstrap: str,
        datastore: Datastore,
        settings: Settings,
        metrics: Metrics | None,
        progress: Progress,
        stopping: threading.Event,
    ) -> None:
        self._bootstrap, self._datastore, self._stopping = bootstrap, datastore, stopping
        self._settings, self._metrics, self._progress = settings, metrics, progress
        self._reader: Reader | None = None
        self._projectors: dict[int, Projector] = {}
        self._pipeline = Pipeline(self._projectors)
        self._assigned: tuple[int, ...] | None = None
        self._heads_at_start: dict[int, int] = {}
        self._looked_s = float("-inf")
        self._gone: set[int] = set()

    def close(self) -> None:
        """Closes the reader, and lets the partitions go; a batch that is being written is finished."""
        self._pipeline.close()
        release(self._datastore, (projector.assignment for projector in self._projectors.values()))
        if self._reader is not None:
            self._reader.close()

    def halted(self) -> dict[int, LogError]:
        """The partitions that stand still."""
        return {p: projector.halted for p, projector in self._projectors.items() if projector.halted is not None}

    def finished(self, until: Mapping[int, int] | None) -> bool:
        """Whether every partition is where it is to stop, or stands still."""
        return (
            until is not None
            and bool(self._projectors)
            and all(
                (projector.position or 0) >= until.get(p, 0)
                for p, projector in self._projectors.items()
                if projector.halted is None
            )
        )

    def turn(self, partitions: Sequence[int] | None, until: Mapping[int, int] | None) -> None:
        """Opens what is not open, reads once, and takes one batch further. Raises one of `FAULTS`."""
        reader = self._ready_reader()
        if not self._projectors:
            self._make_projectors(reader, partitions)
        for projector in self._projectors.values():
            if projector.halted is None and not projector.fenced:
                projector.open()
        running = self._running()
        if not running:
            self._pipeline.settle()
            self._look(reader, running)
            self._stopping.wait(self._settings.poll_s)  # everything stands still, or is another's
            return
        if running != self._assigned:
            self._assign(reader, running)
            return
        if not self._pipeline.full:
            for partition, records in self._poll(reader).items():
                self._put(partition, records, until)
        self._pipeline.step()
        self._progress.events = self._pipeline.records
        if all((self._projectors[p].position or 0) >= self._heads_at_start[p] for p in running):
            self._progress.caught_up.set()
        self._look(reader, running)

    def begin_again(self, error: Exception) -> None:
        """After a fault: forgets what is in memory. PostgreSQL's own words may quote a row: its kind is logged."""
        reason = str(error) if isinstance(error, NotYet | ProjectionError) else type(error).__name__
        _logger.warning("projecting begins again: %s", reason)
        self._progress.retries += 1
        if self._metrics is not None:
            self._metrics.retries.inc()
        self._pipeline.clear()
        for projector in self._projectors.values():
            projector.forget()
        self._assigned = None

    def _ready_reader(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._bootstrap, self._settings.topic)
        return self._reader

    def _make_projectors(self, reader: Reader, partitions: Sequence[int] | None) -> None:
        chosen = range(reader.partitions) if partitions is None else partitions
        self._heads_at_start = reader.heads(*chosen)
        made = {
            p: Projector(
                self._datastore,
                p,
                self._metrics,
                facts_in_memory=self._settings.facts_in_memory // len(chosen),
                durable=self._settings.durable,
            )
            for p in chosen
        }
        check = self._settings.check
        differs = {} if check is None else check(chosen, self._stopping.is_set)
        for p, projector in made.items():
            projector.claim()
            if p in differs:
                projector.halt(differs[p], Position.parse(differs[p].position).offset, differs[p].code)
            else:
                projector.unhalt()
        self._projectors.update(made)

    def _running(self) -> tuple[int, ...]:
        if any(isinstance(projector.halted, LogDiffers) for projector in self._projectors.values()):
            return ()  # a log that is not the signed one stops everything
        return tuple(
            p for p, projector in self._projectors.items() if projector.halted is None and not projector.fenced
        )

    def _assign(self, reader: Reader, running: tuple[int, ...]) -> None:
        """Reads on from the projectors' positions; a partition that lacks its next record is halted."""
        self._drain()
        for p in running:
            projector = self._projectors[p]
            try:
                reader.assign({p: projector.open()})
            except MissingRecords as error:
                projector.halt(error, projector.open(), "missing-records")
        running = tuple(p for p in running if p not in self.halted())
        reader.assign({p: self._projectors[p].open() for p in running})
        self._assigned = running

    def _poll(self, reader: Reader) -> dict[int, list[LogRecord]]:
        try:
            wait_s = self._settings.poll_s if self._pipeline.idle else 0
            return reader.poll(wait_s, self._settings.batch_events)
        except UnreadableRecord as error:
            self._assigned = None
            self._drain()
            position = Position.parse(error.position)
            self._projectors[position.partition].halt(error, position.offset, error.code)
        except MissingRecords:
            self._assigned = None  # assigning anew finds out whose records are missing
        return {}

    def _drain(self) -> None:
        """Takes everything that was read to its end."""
        while not self._pipeline.idle:
            self._pipeline.step()

    def _put(self, partition: int, records: list[LogRecord], until: Mapping[int, int] | None) -> None:
        if until is not None:
            records = [record for record in records if record.position.offset < until.get(partition, 0)]
        if records:
            self._pipeline.put(partition, records)

    def _look(self, reader: Reader, running: Sequence[int]) -> None:
        """Now and then: whose the partitions are, and lag for the metrics. After a batch: a stale one is told so."""
        now_s = time.monotonic()
        if now_s - self._looked_s < self._settings.look_every_s:
            return
        self._looked_s = now_s
        self._look_at_holders(running)
        if self._metrics is not None and running:
            for p, head in reader.heads(*running).items():
                self._metrics.lag.labels(str(p)).set(head - (self._projectors[p].position or 0))

    def _look_at_holders(self, running: Sequence[int]) -> None:
        """Takes on what waits for a holder that is gone (seen twice); raises `StaleWriter` if one of ours is taken."""
        with self._datastore.get_connection() as connection:
            found = holders(connection)
        taken = [p for p in running if p not in found or found[p].epoch != self._projectors[p].assignment.epoch]
        for p in taken:
            self._projectors[p].fence()
        waiting = {p for p, projector in self._projectors.items() if projector.fenced and projector.halted is None}
        gone = {p for p in waiting if p not in found or found[p].gone}
        for p in gone & self._gone:
            self._projectors[p].claim_from(found.get(p))
        self._gone = gone
        self._progress.fenced = frozenset(p for p in waiting if self._projectors[p].fenced)
        if taken:
            raise StaleWriter(f"another worker has taken partitions {taken} over")
