"""The log as `ledger.tree.continuity` reads it: one partition after the other, from an offset to where it ends.

    with Sources("broker:9092", "ledger.events") as sources:
        for records in sources.of(3).batches(0):
            ...

One connection for all partitions, so of two readings that are under way at once the older one is at its end.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ledger.errors import Unavailable
from ledger.kafka import topics
from ledger.kafka.reader import Reader
from ledger.log import LogRecord

READ_TIMEOUT_S = 20.0


class Sources:
    """Reads whole partitions of a topic. A context manager; opening it raises `LogError` or `Unavailable`."""

    def __init__(
        self, bootstrap: str, topic: str = topics.EVENTS, *, security: Mapping[str, Any] | None = None
    ) -> None:
        self._open = partial(Reader, bootstrap, topic, security=security)
        self._readers: dict[bool, Reader] = {}
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "Sources":
        self.reader()
        return self

    def __exit__(self, *exception: object) -> None:
        self._exit.close()
        self._readers.clear()

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return self.reader().partitions

    def of(self, partition: int) -> "PartitionSource":
        """One partition, up to where it ends now."""
        return PartitionSource(self, partition, self.reader().heads(partition)[partition])

    def reader(self, *, damaged: bool = False) -> Reader:
        """The reader, or that for damaged records; opened when it is first asked for."""
        if damaged not in self._readers:
            self._readers[damaged] = self._open(damaged=damaged)
            self._exit.callback(self._readers[damaged].close)
        return self._readers[damaged]


class PartitionSource:
    """One partition up to `head`, the offset behind its last record. A `ledger.tree.continuity.Source`."""

    def __init__(self, sources: Sources, partition: int, head: int) -> None:
        self._sources, self._partition = sources, partition
        self.head = head

    def batches(self, start: int, *, damaged: bool = False) -> Iterator[Sequence[LogRecord]]:
        """See `ledger.tree.continuity.Source.batches`."""
        reader, partition = self._sources.reader(damaged=damaged), self._partition
        reader.assign({partition: start})
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while reader.position(partition) < self.head:
            records = [r for r in reader.poll().get(partition, []) if r.position.offset < self.head]
            if records:
                yield records
                deadline_s = time.monotonic() + READ_TIMEOUT_S
            elif time.monotonic() > deadline_s:
                raise Unavailable(f"partition {partition} gave no record within {READ_TIMEOUT_S:.0f} s")
