"""One process's part of a rebuild: its partitions, one or two at a time, each from where it stands to its end.

    halted = build(order, stop, progress)

Memory holds the places of the partitions at work (projections.places), not of the whole log. Which partition is whose
is decided by locks in PostgreSQL: a process takes the next one that nobody has, so any number of them share the work,
and what a killed one leaves is taken up by another. With two lanes one batch is written while another is judged; where
no more is left than there are processes, each takes one at a time, so that all end together.
"""

import logging
import threading
from contextlib import closing
from dataclasses import dataclass

import msgspec

from ledger.errors import LogError, MissingRecords, NotYet, ProjectionError, UnreadableRecord
from ledger.garbage import calm_collector
from ledger.kafka.reader import Reader
from ledger.log import LogRecord, Position
from projections.building import Building
from projections.datastore import Datastore
from projections.pipeline import Pipeline
from projections.places import LIMIT_BYTES, Places
from projections.projector import Projector
from projections.reach import Claims
from projections.worker import FAULTS, Progress

_logger = logging.getLogger("consent_ledger.replay")
LANES = 2
FACTS_IN_MEMORY = 100_000
"""How many residents' facts each partition at work keeps: some 25 MB."""
_POLL_S = 0.2
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


class Order(msgspec.Struct, frozen=True):
    """What is to be rebuilt: up to which offset of each partition, by how many processes, and how."""

    bootstrap: str
    topic: str
    owner_dsn: str
    projector_dsn: str
    schema: str
    until: dict[int, int]
    processes: int = 1
    batch_events: int = 10_000
    facts_in_memory: int = FACTS_IN_MEMORY
    places_bytes: int = LIMIT_BYTES


@dataclass
class _Lane:
    """A partition at work: `read` is the offset that is read next."""

    projector: Projector
    read: int
    until: int

    @property
    def ended(self) -> bool:
        """Whether nothing more of it is to be read."""
        return self.read >= self.until or self.projector.halted is not None


def build(order: Order, stop: threading.Event, progress: Progress) -> dict[int, LogError]:
    """Rebuilds until no partition is free, or until stopped; returns those of its own that stand still.

    Waits while Kafka or PostgreSQL is away. Raises `LogError` when the topic is not there.
    """
    with (
        Datastore(order.projector_dsn, order.schema, pool_size=2) as datastore,
        closing(_Builder(order, datastore, stop, progress)) as builder,
        calm_collector(),
    ):
        wait_s = _FIRST_WAIT_S
        while not stop.is_set():
            try:
                if builder.turn():
                    break
                wait_s = _FIRST_WAIT_S
            except FAULTS as error:
                builder.begin_again(error)
                stop.wait(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        return builder.halted


class _Builder:
    def __init__(self, order: Order, datastore: Datastore, stop: threading.Event, progress: Progress) -> None:
        self.halted: dict[int, LogError] = {}
        self._order, self._datastore, self._stop, self._progress = order, datastore, stop, progress
        self._building = Building(order.owner_dsn, order.schema)
        self._claims = Claims(self._building.owner_dsn, order.schema)
        self._reader: Reader | None = None
        self._lanes: dict[int, _Lane] = {}
        self._projectors: dict[int, Projector] = {}
        self._pipeline = Pipeline(self._projectors)
        self._left = set(order.until)

    def close(self) -> None:
        """Finishes the batch that is being written, and gives the partitions up."""
        self._pipeline.close()
        self._claims.close()
        if self._reader is not None:
            self._reader.close()

    def turn(self) -> bool:
        """Reads once and takes one batch further; True when nothing is left to take. Raises one of `FAULTS`."""
        reader = self._ready_reader()
        self._take_lanes(reader)
        if not self._lanes:
            return True
        if not self._pipeline.full:
            self._poll(reader)
        self._pipeline.step()
        self._progress.events = self._pipeline.records
        if any(lane.ended for lane in self._lanes.values()):
            self._end_lanes(reader)
        return False

    def begin_again(self, error: Exception) -> None:
        """After a fault: forgets what is in memory, gives up what was taken, and takes it again."""
        reason = str(error) if isinstance(error, NotYet | ProjectionError) else type(error).__name__
        _logger.warning("the rebuild begins again from its tables: %s", reason)
        self._progress.retries += 1
        self._pipeline.clear()
        self._lanes.clear()
        self._projectors.clear()
        self._claims.close()

    # --- lanes ----------------------------------------------------------------------------------------------------

    def _take_lanes(self, reader: Reader) -> None:
        """Takes partitions that nobody has, as many as there are lanes."""
        if len(self._lanes) >= LANES or self._left == self._lanes.keys():
            return
        reached = self._claims.reached()
        self._left = {p for p in self._left if reached.get(p, 0) < self._order.until[p]}
        waiting = sorted(self._left - self._lanes.keys(), key=lambda p: (-self._order.until[p], p))
        changed = False
        for partition in waiting:
            enough = 1 if self._order.processes > 1 and len(waiting) <= self._order.processes else LANES
            if len(self._lanes) >= enough:
                break
            if self._claims.take(partition):
                changed |= self._open(reader, partition)
        if changed:
            reader.assign({p: lane.read for p, lane in self._lanes.items()})

    def _open(self, reader: Reader, partition: int) -> bool:
        """Whether there is something to read of a partition that is this process's now."""
        projector = Projector(
            self._datastore,
            partition,
            facts_in_memory=self._order.facts_in_memory,
            durable=False,
            lookup=lambda p: Places(p, self._building.make_lookups, self._order.places_bytes),
        )
        projector.unhalt()
        position = projector.open()
        until = self._order.until[partition]
        if projector.halted is None and position < until:
            try:
                reader.assign({partition: position})
            except MissingRecords as error:
                projector.halt(error, position, "missing-records")
        if projector.halted is not None:
            self.halted[partition] = projector.halted
        if projector.halted is not None or position >= until:
            self._left.discard(partition)
            return bool(self._lanes)  # they have to be read on
        self._lanes[partition] = _Lane(projector, position, until)
        self._projectors[partition] = projector
        return True

    def _end_lanes(self, reader: Reader) -> None:
        """Takes lanes that have been read to their end out, once all of it is in the tables."""
        self._drain()
        for partition, lane in list(self._lanes.items()):
            if lane.ended:
                self._end(partition)
        if self._lanes:
            reader.assign({p: lane.read for p, lane in self._lanes.items()})

    def _end(self, partition: int) -> None:
        lane = self._lanes.pop(partition)
        del self._projectors[partition]
        self._left.discard(partition)
        if lane.projector.halted is not None:
            self.halted[partition] = lane.projector.halted

    # --- reading --------------------------------------------------------------------------------------------------

    def _ready_reader(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._order.bootstrap, self._order.topic)
        return self._reader

    def _poll(self, reader: Reader) -> None:
        try:
            polled = reader.poll(_POLL_S if self._pipeline.idle else 0, self._order.batch_events)
        except UnreadableRecord as error:
            self._stand_still(error, Position.parse(error.position), error.code)
            return
        except MissingRecords as error:
            self._find_missing(reader, error)
            return
        for partition, records in polled.items():
            self._put(self._lanes[partition], records)
        for partition, lane in self._lanes.items():
            lane.read = max(lane.read, reader.position(partition))  # past offsets that hold no record

    def _put(self, lane: _Lane, records: list[LogRecord]) -> None:
        wanted = [record for record in records if lane.read <= record.position.offset < lane.until]
        if wanted:
            self._pipeline.put(lane.projector.partition, wanted)
        if records:
            lane.read = records[-1].position.offset + 1

    def _stand_still(self, error: LogError, position: Position, code: str) -> None:
        """The partition ends here, behind what was read before."""
        self._drain()
        projector = self._lanes[position.partition].projector
        if projector.halted is None:
            projector.halt(error, position.offset, code)
        self._lanes[position.partition].read = self._lanes[position.partition].until

    def _find_missing(self, reader: Reader, error: MissingRecords) -> None:
        """Asks each partition alone whether its next record is there."""
        for partition, lane in self._lanes.items():
            try:
                reader.assign({partition: lane.read})
            except MissingRecords:
                self._stand_still(error, Position(partition, lane.read), "missing-records")
        reader.assign({p: lane.read for p, lane in self._lanes.items()})

    def _drain(self) -> None:
        while not self._pipeline.idle:
            self._pipeline.step()
