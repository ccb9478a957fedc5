"""Reads the whole log and holds it against everything that was signed: names the first record that differs.

    with Trees(dsn) as trees:
        report = verify_log("broker:9092", [Verifier.parse(vkey)], trees=trees)
    report.clean, [(finding.position, finding.what) for finding in report.findings]

Every tree is computed anew from the records and compared at the size of every checkpoint in `ledger.checkpoints`, with
the checkpoint that the signer keeps, and with the stored trees and tiles. Partitions one after another; what is kept in
memory is a frontier, and the size and root of each checkpoint.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ledger import codec
from ledger.errors import (
    ConfigurationError,
    Malformed,
    MissingRecords,
    Unavailable,
    Unparsable,
    UnreadableRecord,
)
from ledger.kafka import topics
from ledger.kafka.source import PartitionSource, Sources
from ledger.log import LogRecord, Position
from ledger.tree.continuity import CHECKSUM, MISSING, Divergence, Walk, locate
from ledger.tree.note import Verifier
from projections.tlog import Trees
from replay.signed_roots import PUBLISHED_WITHIN_S, SignedRoots, of_partition
from replay.stored_tree import Finding, StoredTreeCheck

Progress = Callable[[int, int, int], None]
"""Told partition, records read, and the offset at which the partition ends."""


@dataclass
class PartitionReport:
    """One partition: `covered` is the size of the greatest checkpoint that holds, `checkpoints` how many were compared.

    `tree`: how many leaves of a stored tree were compared, None without one.
    """

    partition: int
    records: int = 0
    covered: int = 0
    checkpoints: int = 0
    tree: int | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def not_covered(self) -> int:
        """Records that no checkpoint covers yet."""
        return max(0, self.records - self.covered)


@dataclass
class Report:
    """All partitions that were read; `signed`: findings about the checkpoints themselves."""

    partitions: list[PartitionReport]
    signed: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        """Everything that differs."""
        return [*self.signed, *(finding for partition in self.partitions for finding in partition.findings)]

    @property
    def records(self) -> int:
        """How many records were read."""
        return sum(partition.records for partition in self.partitions)

    @property
    def checkpoints(self) -> int:
        """How many checkpoints were compared."""
        return sum(partition.checkpoints for partition in self.partitions)

    @property
    def clean(self) -> bool:
        """Whether something was compared, and nothing differs."""
        return not self.findings and self.records > 0 and self.checkpoints > 0


def verify_log(
    bootstrap: str,
    verifiers: Sequence[Verifier],
    *,
    trees: Trees | None = None,
    tiles: bool = True,
    topic: str = topics.EVENTS,
    checkpoints: str = topics.CHECKPOINTS,
    partitions: Iterable[int] | None = None,
    published_within_s: float = PUBLISHED_WITHIN_S,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Compares log, checkpoints and stored trees; `tiles=False` leaves the stored trees out.

    Raises `Unavailable` when a part cannot be reached, or when `stop` is set; `LogError` when a topic is not there.
    """
    with Sources(bootstrap, topic) as sources:
        chosen = sorted(set(range(sources.partitions) if partitions is None else partitions))
        if not chosen or chosen[0] < 0 or chosen[-1] >= sources.partitions:
            raise ConfigurationError(f"the log has the partitions 0 to {sources.partitions - 1}")
        signed = SignedRoots(bootstrap, verifiers, checkpoints, chosen, trees, published_within_s)
        reports = []
        for partition in chosen:
            source = sources.of(partition)
            stored = StoredTreeCheck(trees, partition) if trees is not None and tiles else None
            read = _Read(partition, signed.roots.get(partition, {}), source, stored, trees if tiles else None)
            reports.append(read.report(progress or (lambda *_: None), stop or threading.Event()))
        beyond = [partition for partition in signed.roots if partition >= sources.partitions]
    absent = [of_partition(p, MISSING, "a checkpoint covers it, and the log has no such partition") for p in beyond]
    return Report(reports, signed.findings + absent)


class _Read:
    """One partition, read to its end."""

    def __init__(
        self,
        partition: int,
        roots: dict[int, bytes],
        source: PartitionSource,
        stored: StoredTreeCheck | None,
        trees: Trees | None,
    ) -> None:
        self._source, self._stored, self._trees = source, stored, trees
        self._walk = Walk(partition, roots, () if stored is None else (stored.size,))
        self._report = PartitionReport(partition)
        self._unreadable: UnreadableRecord | None = None

    def report(self, progress: Progress, stop: threading.Event) -> PartitionReport:
        """Reads and compares."""
        report, walk = self._report, self._walk
        try:
            for records in self._source.batches(0):
                if stop.is_set():
                    raise Unavailable("stopped before the end of the log")
                steps = list(walk.take(records))
                if self._stored is not None:
                    self._stored.take(steps)
                self._decode(records)
                progress(report.partition, walk.tree.size, self._source.head)
        except UnreadableRecord as error:
            self._unreadable = error
        except MissingRecords:
            if not walk.here.size:
                what = f"the log does not begin with record {Position(report.partition, 0)}: its beginning is gone"
                report.findings.append(Finding(str(Position(report.partition, 0)), None, MISSING, what))
        report.records, report.checkpoints, report.covered = walk.tree.size, walk.checked, walk.held.size
        self._conclude()
        return report

    def _conclude(self) -> None:
        report, walk = self._report, self._walk
        if not walk.holds:
            difference = _finding(self._located())
            # What cannot be read any more may be what was altered: it is said once.
            others = [finding for finding in report.findings if finding.position != difference.position]
            report.findings = [difference, *others]
        elif self._unreadable is not None:
            place, code = self._unreadable.position, self._unreadable.code
            report.findings.append(Finding(place, None, CHECKSUM, f"record {place} is damaged: {code}"))
        elif self._stored is not None:  # where the log itself is another one, that is all that is said
            report.findings += self._stored.findings(walk.tree.size)
        if self._stored is not None:
            report.tree = min(self._stored.size, walk.tree.size)

    def _located(self) -> Divergence:
        if self._trees is None:
            return locate(self._walk, self._source, None, self._unreadable)
        with self._trees.snapshot() as snapshot:
            return locate(self._walk, self._source, snapshot.tiles(self._walk.partition), self._unreadable)

    def _decode(self, records: Sequence[LogRecord]) -> None:
        """The first record that this version cannot read, if there is one."""
        for record in records:
            try:
                codec.read(record.value)
            except (Unparsable, Malformed) as error:
                code = error.code if isinstance(error, Unparsable) else error.problems[0].code
                if not any(finding.code == "unreadable" for finding in self._report.findings):
                    what = f"record {record.position} cannot be read ({code})"
                    self._report.findings.append(Finding(str(record.position), None, "unreadable", what))


def _finding(difference: Divergence) -> Finding:
    until = None if difference.last is None else str(difference.last)
    what = f"{difference.what} (the checkpoint of size {difference.size} does not hold)"
    return Finding(str(difference.first), until, difference.code, what)
