"""The port to the log: append, read, head; and positions.

The log is P partitions of records that never change. A record is addressed by its *position*
`P-O`: partition and offset. Offsets rise within a partition and may have gaps.

>>> Position.parse("3-1041")
Position(partition=3, offset=1041)
>>> str(Position(3, 1041))
'3-1041'

`ledger.kafka` is the adapter that speaks to a real broker.
"""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from ledger.errors import ConsentLedgerError, Malformed, Problem

_POSITION = re.compile(r"(0|[1-9][0-9]{0,4})-(0|[1-9][0-9]{0,18})", re.ASCII)
MAX_OFFSET = 2**63 - 1


class Position(NamedTuple):
    """Where a record stands: `partition`, and `offset` within it. Written `P-O`, one spelling only."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Reads `P-O`; raises `Malformed` for any other spelling (`03-1`, `+3-1`, `3-1 `)."""
        match = _POSITION.fullmatch(text)
        if match is None or int(match[2]) > MAX_OFFSET:
            raise Malformed([Problem("/position", "position")], "a position is written P-O, such as 3-1041")
        return cls(int(match[1]), int(match[2]))


class LogRecord(NamedTuple):
    """One record as the log holds it: its position, its bytes, and when the broker appended it."""

    position: Position
    value: bytes
    timestamp_ms: int


class Entry(NamedTuple):
    """What is to be appended: `key` is the resident (None for a reference fact)."""

    partition: int
    key: str | None
    value: bytes


Outcome = Position | ConsentLedgerError
"""What became of an entry: its position, or why it is not known to be in the log."""


class Log(Protocol):
    """The log as the core sees it."""

    @property
    def partitions(self) -> int:
        """How many partitions there are: fixed when the log is made."""

    def partition_of(self, subject: str) -> int:
        """The partition of a resident: Kafka's own default (murmur2 of the key)."""

    def append(self, entries: Sequence[Entry]) -> list["Future[Position]"]:
        """Hands the entries over in order and returns at once; each future gives the position once the broker
        has acknowledged with all replicas, or raises `Unavailable`. Entries of one partition keep their order."""

    def append_group(self, entries: Sequence[Entry], done: Callable[[Sequence[Outcome]], None]) -> None:
        """As `append`, with one answer for all: a future for each of many records is dearer than appending them.
        `done` is called once, with an outcome for each entry in its order, by any thread, perhaps before this
        returns; it must neither block nor raise."""

    def read(self, partition: int, start: int, stop: int | None = None) -> list[LogRecord]:
        """The next records from offset `start` (at most one poll's worth, before `stop`); empty at the head.
        Raises `MissingRecords` when `start` is no longer, or not yet, in the log."""

    def head(self, partition: int) -> int:
        """The offset that the next record will get."""

    def heads(self) -> dict[int, int]:
        """For each partition the offset that its next record will get, asked for at once."""
