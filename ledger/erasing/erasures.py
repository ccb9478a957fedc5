"""Who was erased, by the log's word: what the vault is held against, at every start and at every key it gives out.

    in_log = ErasuresInLog(log, index)
    in_log.erased(["res_7f2c", "res_91aa"])      # {"res_7f2c"}: everything of theirs is erased, or is to be
    in_log.all()                                 # every erasure in the log, and why some could not be found
    in_log.verified(logged)                      # the erasure as the records themselves tell it

The projected views are asked in one snapshot, which says how far they reach; what the log holds beyond that is read, to
its head, and remembered until the views have it. So an erasure counts from the moment its `erasure.requested` is
acknowledged, and no lag, restart or restored backup hides it. Usable from any thread.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from ledger import codec
from ledger.authority import LEDGER_SOURCE
from ledger.erasing.erasure import Erasure, ErasureIndex, Logged, categories_of, from_records
from ledger.errors import ConsentLedgerError, MissingRecords, Unavailable
from ledger.events import DataErased, ErasureRequested, Event
from ledger.log import Log, Position
from ledger.recording.tail import MAX_TAIL_RECORDS

_MARKS = (b"org.consent-ledger.erasure.requested.", b"org.consent-ledger.data.erased.")
"""A record of an erasure has one of these in its bytes: the ledger writes types as they are, without escapes."""


@dataclass(slots=True)
class _Beyond:
    """What was read of one partition beyond the views: offsets `start` to `stop`, and the erasures there."""

    start: int
    stop: int
    found: list[tuple[Position, Event]] = field(default_factory=list)


class ErasuresInLog:
    """Every erasure in the log, by views and log together."""

    def __init__(self, log: Log, index: ErasureIndex, max_records: int = MAX_TAIL_RECORDS) -> None:
        self._log, self._index, self._max_records = log, index, max_records
        self._guard = threading.Lock()
        self._beyond: dict[int, _Beyond] = {}
        self.came_back: Callable[[], None] = _nobody
        """Who is told that the vault holds something of somebody erased: the eraser."""

    def erased(self, subjects: Collection[str]) -> set[str]:
        """Those of these residents whose erasure, of everything, is in the log now. Raises `Unavailable`."""
        wanted = sorted(set(subjects))
        return {logged.subject for logged in self._look(wanted) if self._everything(logged)}

    def find(self, erasure: Erasure) -> Logged | None:
        """Where this erasure stands in the log now; None when nothing of it does."""
        here = [logged for logged in self._look([erasure.subject]) if logged.erasure_id == erasure.erasure_id]
        return here[0] if here else None

    def all(self) -> tuple[list[Logged], list[ConsentLedgerError]]:
        """Every erasure in the log, a row each, by position; and why partitions could not be read, if so."""
        problems: list[ConsentLedgerError] = []
        found = self._look(None, problems)
        found.sort(key=lambda logged: logged.requested or logged.erased or Position(0, 0))
        return found, problems

    def _look(self, subjects: Sequence[str] | None, problems: list[ConsentLedgerError] | None = None) -> list[Logged]:
        """With `problems`, a partition that cannot be read says so there, and the others are looked at."""
        reached, seen = self._index.erasures(subjects)
        found = {(logged.erasure_id, logged.subject): logged for logged in seen}
        every = range(self._log.partitions)
        partitions = every if subjects is None else sorted({self._log.partition_of(s) for s in subjects})
        wanted = None if subjects is None else set(subjects)
        for partition in partitions:
            try:
                beyond = self._follow(partition, reached.get(partition, 0))
            except ConsentLedgerError as error:
                if problems is None:
                    raise
                problems.append(error)
                continue
            for position, event in beyond:
                if wanted is None or event.subject in wanted:
                    key = (event.data.erasure_id, str(event.subject))
                    before = found.get(key) or Logged(*key, categories_of(event.data), None, None)
                    if isinstance(event.data, ErasureRequested):
                        before = before._replace(requested=before.requested or position)
                    else:
                        before = before._replace(erased=before.erased or position)
                    found[key] = before
        return list(found.values())

    def verified(self, logged: Logged) -> Erasure | None:
        """The erasure as its own records tell it; None when they do not: the views are wrong."""
        requested = self._record(logged, logged.requested, ErasureRequested)
        erased = self._record(logged, logged.erased, DataErased)
        if (logged.requested is not None and requested is None) or not (requested or erased):
            return None
        return from_records(requested, erased)

    def sealing_key(self, subject: str) -> str | None:
        """The id of the key that this resident's latest sealed record names."""
        return self._index.sealing_key(subject)

    def _everything(self, logged: Logged) -> bool:
        if logged.categories is not None:
            return False
        if logged.requested is not None:
            return True
        # The views keep the categories of requests alone.
        erasure = self.verified(logged)
        return erasure is None or erasure.everything

    def _record(
        self, logged: Logged, at: Position | None, kind: type[ErasureRequested] | type[DataErased]
    ) -> tuple[Position, Event] | None:
        if at is None:
            return None
        for record in self._log.read(at.partition, at.offset, at.offset + 1):
            event = _erasure_in(record.value)
            if event is not None and isinstance(event.data, kind):
                names = (event.data.erasure_id, event.subject)
                return (at, event) if names == (logged.erasure_id, logged.subject) else None
        return None

    def _follow(self, partition: int, reached: int) -> Sequence[tuple[Position, Event]]:
        """The erasures of a partition from offset `reached` to the head."""
        with self._guard:
            beyond = self._beyond.get(partition)
            if beyond is None or not beyond.start <= reached <= beyond.stop:
                beyond = self._beyond[partition] = _Beyond(reached, reached)
            beyond.start = reached
            beyond.found = [(position, event) for position, event in beyond.found if position.offset >= reached]
            head = self._log.head(partition)
            if head < reached:
                raise MissingRecords(f"partition {partition} of the log ends before what the views hold of it")
            if head - beyond.stop > self._max_records:
                raise Unavailable("the projected views are too far behind the log: start a projection worker", 10)
            while beyond.stop < head:
                self._read_on(partition, beyond, head)
            return list(beyond.found)

    def _read_on(self, partition: int, beyond: _Beyond, head: int) -> None:
        records = self._log.read(partition, beyond.stop, head)
        if not records:
            raise Unavailable("the log cannot be read to its head")
        for record in records:
            event = _erasure_in(record.value)
            if event is not None:
                beyond.found.append((record.position, event))
        beyond.stop = records[-1].position.offset + 1


def _erasure_in(value: bytes) -> Event | None:
    """The event, when the record is the ledger's own word of an erasure."""
    if not any(mark in value for mark in _MARKS):
        return None
    try:
        event = codec.read(value)
    except ConsentLedgerError:
        return None  # it has stopped its partition everywhere else, and says nothing of anybody
    return event if event.source == LEDGER_SOURCE and isinstance(event.data, ErasureRequested | DataErased) else None


def _nobody() -> None:
    pass
