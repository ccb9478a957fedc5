"""Reads one partition of the log, up to a fixed offset, into whatever folds it. No database, and nothing is skipped.

    shares = shares_of("broker:9092", "ledger.events", until=[Position(3, 1041)])
    part = read(shares[3], judge.take, progress)       # Part(partition=3, records=1042, reached=1042, halted=None)

A share names all that its reader needs, so it can be read in another process or on another machine, and two readers of
one share read the same records. A record that cannot be read ends its partition before it: `halted` says which.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ledger import codec
from ledger.errors import ConfigurationError, LogError, Malformed, MissingRecords, Unparsable, UnreadableRecord
from ledger.events import Event
from ledger.kafka.reader import Reader
from ledger.kafka.source import PartitionSource, Sources
from ledger.log import LogRecord, Position

Progress = Callable[[int], None]
"""Told how many records have been read so far."""
MISSING = "missing-records"


class Share(NamedTuple):
    """One partition to read: its offsets below `stop`."""

    bootstrap: str
    topic: str
    partition: int
    stop: int


class Halted(NamedTuple):
    """The record at which a partition could not be read on, and why."""

    position: str
    code: str


class Part(NamedTuple):
    """How far a partition was read: `reached` is the offset behind the last record taken in."""

    partition: int
    records: int
    reached: int
    halted: Halted | None

    @property
    def through(self) -> str | None:
        """The position that it is complete through; None: it holds nothing."""
        return str(Position(self.partition, self.reached - 1)) if self.reached else None


def shares_of(bootstrap: str, topic: str, until: Sequence[Position] = ()) -> list[Share]:
    """Every partition, up to where it ends now, or through the record at one of the positions `until`.

    Raises `LogError` when there is no such topic or record, `ConfigurationError` for a partition that is not there.
    """
    with Reader(bootstrap, topic) as reader:
        stops = reader.heads()
    named: dict[int, int] = {}
    for position in until:
        if position.partition not in stops:
            raise ConfigurationError(f"--until: the log has the partitions 0 to {len(stops) - 1}")
        if position.partition in named:
            raise ConfigurationError(f"--until names partition {position.partition} twice: name it once")
        if position.offset >= stops[position.partition]:
            raise LogError(f"partition {position.partition} of the log ends before the position of --until")
        named[position.partition] = position.offset + 1
    return [Share(bootstrap, topic, partition, stop) for partition, stop in sorted({**stops, **named}.items())]


def read(share: Share, take: Callable[[int, Event], object], progress: Progress) -> Part:
    """Reads a share and hands each event over with its offset. Raises `Unavailable` when the broker does not answer."""
    partition, records, reached = share.partition, 0, 0
    try:
        for batch in _batches(share):
            for offset, event in _decoded(batch):
                take(offset, event)
                records, reached = records + 1, offset + 1
            progress(records)
    except UnreadableRecord as error:
        return Part(partition, records, reached, Halted(error.position, error.code))
    except MissingRecords:
        return Part(partition, records, reached, Halted(str(Position(partition, reached)), MISSING))
    return Part(partition, records, share.stop, None)


def _batches(share: Share) -> Iterator[Sequence[LogRecord]]:
    if not share.stop:
        return
    with Sources(share.bootstrap, share.topic) as sources:
        yield from PartitionSource(sources, share.partition, share.stop).batches(0)


def _decoded(records: Iterable[LogRecord]) -> Iterator[tuple[int, Event]]:
    for record in records:
        try:
            event = codec.read(record.value)
        except (Unparsable, Malformed) as error:
            code = error.code if isinstance(error, Unparsable) else error.problems[0].code
            raise UnreadableRecord(str(record.position), code) from None
        yield record.position.offset, event
