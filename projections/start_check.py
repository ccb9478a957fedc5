"""Before anything is written: is the log still the one that the last checkpoint signed?

    check = StartCheck("broker:9092", verifiers, dsns.projector)
    check(range(6))          # {}: every partition is; {3: LogDiffers("record 3-1041 is not the one …")}: it is not

Recorder and projection workers ask it when they start (docs/decisions/0009-start-check.md). The last checkpoint is the
greater of the topic's and the signer's own, each only if a trusted key signed it. What was found of a partition is kept
for as long as this object lives: a difference does not pass by itself.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

from ledger.errors import InvalidNote, LogDiffers, LogError, TwoRoots, Unavailable, UnreadableRecord
from ledger.kafka import topics
from ledger.kafka.checkpoints import every, latest
from ledger.kafka.source import PartitionSource, Sources
from ledger.log import LogRecord, Position
from ledger.tree.checkpoint import Checkpoint, open_checkpoint
from ledger.tree.continuity import Divergence, Mark, Source, compare, tail_holds, tail_start
from ledger.tree.merkle import InvalidProof
from ledger.tree.note import Verifier
from projections.tlog import Snapshot, Trees

_logger = logging.getLogger("consent_ledger.start")
_SAY_EVERY_S = 10.0
TWO_ROOTS = "two-roots"
Stopping = Callable[[], bool]


class StartCheck:
    """Compares partitions with their last checkpoint. Used from any thread, by one at a time.

    `dsn` leads to the trees, for any role that may read them. `tail`: only the last tiles are compared, unless they
    differ.
    """

    def __init__(
        self,
        bootstrap: str,
        verifiers: Sequence[Verifier],
        dsn: str,
        *,
        topic: str = topics.EVENTS,
        checkpoints: str = topics.CHECKPOINTS,
        tail: bool = False,
    ) -> None:
        self._bootstrap, self._verifiers, self._dsn = bootstrap, verifiers, dsn
        self._topic, self._checkpoints, self._tail = topic, checkpoints, tail
        self._lock = threading.Lock()
        self._found: dict[int, LogDiffers | None] = {}

    def __call__(self, partitions: Iterable[int], stopping: Stopping = lambda: False) -> dict[int, LogDiffers]:
        """Those of the partitions that differ, with the place. Raises `Unavailable` when not all can be looked at."""
        asked = list(partitions)
        with self._lock:
            due = [p for p in asked if p not in self._found]
            if due:
                try:
                    self._look(due, stopping)
                except UnreadableRecord as error:  # of the checkpoints: the log's own are differences
                    raise LogError(f"{self._checkpoints} is damaged: {error}") from error
            return {p: found for p in asked if (found := self._found[p]) is not None}

    def _look(self, due: Sequence[int], stopping: Stopping) -> None:
        with closing(Trees(self._dsn, pool_size=1)) as trees:
            last = self._last(due, trees)
            self._found |= {p: None for p, checkpoint in last.items() if checkpoint is None}
            signed = [checkpoint for checkpoint in last.values() if checkpoint is not None]
            if not signed:
                return
            with Sources(self._bootstrap, self._topic) as sources:
                for checkpoint in signed:
                    source = _Watched(sources.of(checkpoint.partition), checkpoint, stopping)
                    difference = self._difference(checkpoint, source, trees)
                    self._found[checkpoint.partition] = None if difference is None else difference.error()

    def _last(self, due: Sequence[int], trees: Trees) -> dict[int, Checkpoint | None]:
        """Of each partition the last checkpoint; without those that have two roots, which is a difference itself."""
        found: dict[int, Checkpoint | None] = dict.fromkeys(due)
        with trees.snapshot() as snapshot:
            for partition in due:
                found[partition] = self._signers_own(partition, snapshot)
        while found:
            try:
                for partition, published in latest(self._bootstrap, self._verifiers, found, self._checkpoints).items():
                    found[partition] = _greater(found[partition], published.checkpoint)
                return found
            except TwoRoots as error:
                del found[error.partition]
                place = Position(error.partition, error.size - 1)
                self._found[error.partition] = LogDiffers(str(place), TWO_ROOTS, str(error))
        return found

    def _signers_own(self, partition: int, snapshot: Snapshot) -> Checkpoint | None:
        signed = snapshot.checkpoint(partition)
        try:
            return None if signed is None else open_checkpoint(signed.note, self._verifiers, partition)
        except InvalidNote:
            _logger.warning("the signer's checkpoint of partition %s is not one that a known key signed", partition)
            return None

    def _difference(self, checkpoint: Checkpoint, source: Source, trees: Trees) -> Divergence | None:
        """None when the log is what was signed. A difference is looked at a second time, with all there is."""
        partition, size, root = checkpoint.partition, checkpoint.size, checkpoint.root
        if self._tail and self._tail_holds(checkpoint, source, trees):
            return None
        if compare(partition, source, {size: root}) is None:
            return None
        with trees.snapshot() as snapshot:
            return compare(partition, source, {**self._roots(partition), size: root}, snapshot.tiles(partition))

    def _tail_holds(self, checkpoint: Checkpoint, source: Source, trees: Trees) -> bool:
        partition, size, root = checkpoint.partition, checkpoint.size, checkpoint.root
        first = tail_start(size)
        with trees.snapshot() as snapshot:
            try:
                start = Mark(first, snapshot.position(partition, first).offset)
            except InvalidProof:
                return False
            return tail_holds(source, snapshot.tiles(partition), size, root, start)

    def _roots(self, partition: int) -> dict[int, bytes]:
        """Every signed root of the partition, as far as they do not contradict each other."""
        found = {}
        try:
            for published in every(self._bootstrap, self._verifiers, self._checkpoints):
                checkpoint = published.checkpoint
                if checkpoint.partition == partition:
                    found[checkpoint.size] = checkpoint.root
        except TwoRoots:
            _logger.warning("two roots for one size among older checkpoints: `consent-ledger verify-log` names them")
        return found


class _Watched:
    """A source that says how far it is, and ends when it is told to."""

    def __init__(self, source: PartitionSource, checkpoint: Checkpoint, stopping: Stopping) -> None:
        self._source, self._checkpoint, self._stopping = source, checkpoint, stopping

    def batches(self, start: int, *, damaged: bool = False) -> Iterator[Sequence[LogRecord]]:
        """See `ledger.tree.continuity.Source.batches`."""
        done, said_s = 0, time.monotonic()
        for records in self._source.batches(start, damaged=damaged):
            if self._stopping():
                raise Unavailable("the comparison with the last checkpoint was stopped")
            done += len(records)
            if time.monotonic() - said_s > _SAY_EVERY_S:
                said_s = time.monotonic()
                partition, size = self._checkpoint.partition, self._checkpoint.size
                _logger.info("compared %d of %d records of partition %d with its checkpoint", done, size, partition)
            yield records


def _greater(one: Checkpoint | None, other: Checkpoint) -> Checkpoint:
    """The greater one; raises `TwoRoots` when they contradict each other."""
    if one is not None and one.size == other.size and one.root != other.root:
        raise TwoRoots(one.partition, one.size)
    return other if one is None or other.size > one.size else one
