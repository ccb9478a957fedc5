"""Two batches at a time: while one is written, the next is judged, of another partition where there is one.

    pipeline.put(3, records)          # what was polled, in order
    pipeline.step()                   # judges the next batch, and leaves its writing to a thread
    pipeline.settle()                 # waits until what is being written is in the tables; raises what went wrong

PostgreSQL works while Python does. Of one partition two batches are never under way: to judge the second takes what the
first has written, so at most its records are decoded meanwhile. Batches of a partition keep their order.
"""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from ledger.log import LogRecord
from projections.projector import Judged, Projector

MAX_WAITING = 4
"""How many polled batches wait in memory at most."""


class _Writing(NamedTuple):
    projector: Projector
    judged: Judged
    done: "Future[None]"


class Pipeline:
    """The batches of one worker between poll and table. Used by one thread; has one more of its own.

    `records` counts those that are in the tables.
    """

    def __init__(self, projectors: Mapping[int, Projector]) -> None:
        self.records = 0
        self._projectors = projectors
        self._waiting: deque[tuple[int, list[LogRecord]]] = deque()
        self._writing: _Writing | None = None
        self._writer = ThreadPoolExecutor(1, "write")

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do but to poll."""
        return not self._waiting and self._writing is None

    @property
    def full(self) -> bool:
        """Whether enough batches wait."""
        return len(self._waiting) >= MAX_WAITING

    def put(self, partition: int, records: list[LogRecord]) -> None:
        """Takes in a polled batch."""
        self._waiting.append((partition, records))

    def step(self) -> None:
        """Judges the next batch and begins to write it, when there is one; else settles."""
        if not self._waiting:
            self.settle()
            return
        partition, records = self._next()
        projector = self._projectors[partition]
        same = self._writing is not None and self._writing.projector is projector
        before: Callable[[], None] = self.settle if same else _nothing
        judged = projector.judge(records, before)
        self.settle()
        if judged is not None:
            self._writing = _Writing(projector, judged, self._writer.submit(projector.write, judged))

    def settle(self) -> None:
        """Waits for the batch that is being written; raises what kept it from being written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.done.result()
            writing.projector.settle(writing.judged)
            batch = writing.judged.rows.batch
            self.records += len(batch.items) + len(batch.repeats)

    def clear(self) -> None:
        """Forgets what waits, and how the batch that is being written ends."""
        self._waiting.clear()
        if self._writing is not None:
            with suppress(Exception):  # whoever clears begins again from what PostgreSQL has
                self._writing.done.result()
            self._writing = None

    def close(self) -> None:
        """Ends the thread, after the batch that it writes."""
        self.clear()
        self._writer.shutdown()

    def _next(self) -> tuple[int, list[LogRecord]]:
        """The first batch of a partition that is not being written, else the first batch."""
        busy = None if self._writing is None else self._writing.projector.partition
        for i, (partition, _) in enumerate(self._waiting):
            if partition != busy:
                found = self._waiting[i]
                del self._waiting[i]
                return found
        return self._waiting.popleft()


def _nothing() -> None:
    pass
