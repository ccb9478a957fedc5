"""Reads the log in batches from given offsets: `assign` and `seek`, no consumer group, nothing skipped.

    with Reader("broker:9092", "ledger.events", {0: 0, 3: 1041}) as reader:
        for partition, records in reader.poll(timeout_s=1).items():
            ...                       # at most 10,000 records a poll, in offset order
        reader.seek(3, 1041)          # read again

A reader is used by one thread at a time. Records that the log should hold and does not raise `MissingRecords`;
a record whose sum is wrong, or that has no value, raises `UnreadableRecord` and the partition stays where it is.
"""

from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError

from ledger.errors import ConsentLedgerError, LogError, MissingRecords, Unavailable, UnreadableRecord
from ledger.kafka import settings, topics
from ledger.kafka.errors import translated
from ledger.log import LogRecord, Position

ASK_AGAIN_MS = 2_000


class Reader:
    """Follows some partitions of a topic. `starts` gives the next offset of each.

    `damaged`: hands out records whose sum is wrong too, for whoever wants to see which of them was changed.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str = topics.EVENTS,
        starts: Mapping[int, int] | None = None,
        *,
        damaged: bool = False,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._topic = topic
        chosen = settings.reader(bootstrap, security=security)
        with translated(f"opening {topic}"):
            self._consumer = KafkaConsumer(**chosen | {"check_crcs": not damaged})
        try:
            self.partitions = self._count_partitions()
            self.assign(starts or {})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; a second time does nothing."""
        self._consumer.close(autocommit=False)

    def assign(self, starts: Mapping[int, int]) -> None:
        """Reads these partitions from these offsets on, and no others. Raises `MissingRecords` for one not there."""
        unknown = sorted(partition for partition in starts if not 0 <= partition < self.partitions)
        if unknown:
            raise LogError(f"{self._topic} has no partition {unknown[0]}: it has {self.partitions}")
        heads = self.heads(*starts)
        for partition, start in starts.items():
            self._check_start(partition, start, heads[partition])
        with translated(f"reading {self._topic}"):
            self._consumer.assign([self._at(partition) for partition in starts])
        for partition, start in starts.items():
            self.seek(partition, start)

    def seek(self, partition: int, offset: int) -> None:
        """The next poll reads `partition` from `offset` on."""
        with translated(f"reading {self._topic}"):
            self._consumer.seek(self._at(partition), offset)

    def position(self, partition: int) -> int:
        """The offset that the next poll of `partition` reads from."""
        with translated(f"reading {self._topic}"):
            return int(self._consumer.position(self._at(partition)))

    def poll(self, timeout_s: float = 0.5, limit: int = settings.RECORDS_A_POLL) -> dict[int, list[LogRecord]]:
        """The next records of each partition, at most `limit` in all; empty when none came within `timeout_s`.

        Most polls drain one partition: the client takes its fetches one after the other.
        """
        with translated(f"reading {self._topic}"):
            try:
                polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=limit)
            except CorruptRecordError as error:
                raise self._unreadable(error) from error
        return {tp.partition: self._records(tp.partition, found) for tp, found in polled.items()}

    def heads(self, *partitions: int) -> dict[int, int]:
        """The offset that the next record of each partition will get (default: of all partitions)."""
        asked = [self._at(partition) for partition in partitions or range(self.partitions)]
        with translated(f"reading {self._topic}"):
            return {tp.partition: int(offset) for tp, offset in self._consumer.end_offsets(asked).items()}

    def oldest(self, *partitions: int) -> dict[int, int]:
        """The first offset that each partition still holds: 0, unless somebody has deleted records."""
        asked = [self._at(partition) for partition in partitions or range(self.partitions)]
        with translated(f"reading {self._topic}"):
            return {tp.partition: int(offset) for tp, offset in self._consumer.beginning_offsets(asked).items()}

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    def _count_partitions(self) -> int:
        with translated(f"opening {self._topic}"):
            known = self._consumer.partitions_for_topic(self._topic)
        if not known:
            raise LogError(f"the topic {self._topic} does not exist on this broker: make it, or check the address")
        return len(known)

    def _check_start(self, partition: int, start: int, head: int) -> None:
        if start > head:
            raise MissingRecords(
                f"{self._topic} partition {partition} ends at offset {head}, before {start}: the log has become "
                "shorter, or this is another log"
            )
        oldest = self.oldest(partition)[partition]
        if start < oldest:
            raise MissingRecords(
                f"{self._topic} partition {partition} begins at offset {oldest}, after {start}: records were deleted"
            )

    def _unreadable(self, error: CorruptRecordError) -> ConsentLedgerError:
        """Names the record: its partition is the one whose next record cannot be had."""
        places = {tp.partition: self.position(tp.partition) for tp in sorted(self._consumer.assignment())}
        said = [partition for partition in places if f"partition={partition})" in str(error)]
        if not said:  # of a batch that is whole and makes no sense the client does not say where
            said = list(places) if len(places) == 1 else [p for p, at in places.items() if self._is_stuck(p, at)]
        self._place(places)
        if not said:
            return Unavailable(f"a batch of {self._topic} arrived damaged, and not when it was asked for again")
        return UnreadableRecord(str(Position(said[0], places[said[0]])), "checksum")

    def _is_stuck(self, partition: int, offset: int) -> bool:
        """Whether the record at this offset cannot be had."""
        self._place({partition: offset})
        try:
            self._consumer.poll(timeout_ms=ASK_AGAIN_MS, max_records=1)
        except CorruptRecordError:
            return True
        return False

    def _place(self, offsets: Mapping[int, int]) -> None:
        """Reads on from these offsets, with nothing left of what was fetched before.

        After a damaged batch the client (3.0.12) would go round for ever over what is left of it: it lets go only of
        partitions that it does not read.
        """
        self._consumer.assign([])
        self._consumer.poll(timeout_ms=0)
        self._consumer.assign([self._at(partition) for partition in offsets])
        for partition, offset in offsets.items():
            self._consumer.seek(self._at(partition), offset)

    def _records(self, partition: int, found: list[Any]) -> list[LogRecord]:
        records: list[LogRecord] = []
        for record in found:
            if record.value is None:
                self.seek(partition, record.offset)
                if records:
                    break  # what came before it is handed out first; the next poll names it
                raise UnreadableRecord(str(Position(partition, record.offset)), "no value")
            records.append(LogRecord(Position(partition, record.offset), record.value, record.timestamp))
        return records
