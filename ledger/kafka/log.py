"""The port `ledger.log.Log` on Kafka: appends and random reads by position.

    with KafkaLog("broker:9092") as log:
        position = log.append([Entry(log.partition_of("resident-1"), "resident-1", value)])[0].result()
        [record] = log.read(position.partition, position.offset, position.offset + 1)

Usable from any thread. Whoever follows whole partitions (projections, replay) takes a `Reader`: it keeps its place.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache, partial
from typing import Any

from kafka.partitioner.default import murmur2

from ledger.errors import Unavailable
from ledger.kafka import topics
from ledger.kafka.producer import Producer
from ledger.kafka.reader import Reader
from ledger.log import Entry, LogRecord, Outcome, Position

READ_TIMEOUT_S = 10.0


def partition_of(key: str, partitions: int) -> int:
    """Kafka's default partition for a key, the same in every client that has one.

    >>> partition_of("resident-1", 6)
    1
    """
    return int(murmur2(key.encode("utf-8")) & 0x7FFFFFFF) % partitions


_partition_of = lru_cache(maxsize=65_536)(partition_of)
"""The hash is computed in Python, a tenth of what recording an event costs; residents come again."""


class KafkaLog:
    """The log on one topic. A context manager; opening it raises `LogError` or `Unavailable`."""

    def __init__(
        self,
        bootstrap: str,
        topic: str = topics.EVENTS,
        *,
        linger_ms: int = 5,
        deadline_s: float = 20,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._producer = Producer(bootstrap, topic, linger_ms=linger_ms, deadline_s=deadline_s, security=security)
        self._open_reader: Callable[[], Reader] = partial(Reader, bootstrap, topic, security=security)
        self._reader: Reader | None = None
        self._reader_lock = threading.Lock()
        self._reading: int | None = None
        self._partitions = 0
        self._heads: dict[int, int] = {}
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "KafkaLog":
        with contextlib.ExitStack() as opened:
            self._reader = self._open_reader()
            opened.callback(self._reader.close)
            self._partitions = self._reader.partitions
            opened.enter_context(self._producer)
            self._exit = opened.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for what is pending, then closes. A second time does nothing."""
        self._exit.close()

    @property
    def partitions(self) -> int:
        """How many partitions there are: fixed when the log is made."""
        return self._partitions

    @property
    def replaced_clients(self) -> int:
        """How many producing clients were given up since the start: for the metrics."""
        return self._producer.replaced

    def partition_of(self, subject: str) -> int:
        """The partition of a resident: Kafka's own default (murmur2 of the key)."""
        return _partition_of(subject, self._partitions)

    def append(self, entries: Sequence[Entry]) -> list["Future[Position]"]:
        """See `ledger.log.Log.append`."""
        return self._producer.append(entries)

    def append_group(self, entries: Sequence[Entry], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See `ledger.log.Log.append_group`."""
        self._producer.append_group(entries, done)

    def read(self, partition: int, start: int, stop: int | None = None) -> list[LogRecord]:
        """See `ledger.log.Log.read`."""
        if stop is not None and stop <= start:
            return []
        with self._reader_lock:
            reader = self._ready_reader()
            if start >= self._heads.get(partition, 0):
                self._heads |= reader.heads(partition)
            if start == self._heads[partition]:
                return []
            if self._reading != partition or reader.position(partition) != start:
                self._reading = None
                reader.assign({partition: start})
                self._reading = partition
            records = reader.poll(READ_TIMEOUT_S).get(partition)
            if records is None:
                raise Unavailable(f"partition {partition} gave no record within {READ_TIMEOUT_S:.0f} s")
        return records if stop is None else [record for record in records if record.position.offset < stop]

    def head(self, partition: int) -> int:
        """The offset that the next record will get."""
        with self._reader_lock:
            heads = self._ready_reader().heads(partition)
            self._heads |= heads
            return heads[partition]

    def heads(self) -> dict[int, int]:
        """See `ledger.log.Log.heads`."""
        with self._reader_lock:
            self._heads |= self._ready_reader().heads()
            return dict(self._heads)

    def _ready_reader(self) -> Reader:
        assert self._reader is not None, "the log is not open: use it as a context manager"
        return self._reader
