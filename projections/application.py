"""Each partition of the ledger as an application of the `eventsourcing` library, so that its projections run on it.

    runner = ProjectionRunner(
        application_class=application("broker:9092", partition=3),   # its name is "ledger[3]"
        projection_class=Reminders, view_class=RemindersView, env=...)

A record's notification id is its offset + 1, its topic the event's `type`, its originator the resident ("" for a
reference fact). What a projection's `process_event` gets is the ledger's own event, so it dispatches on
`ledger.events.KINDS["complaint.filed"]`. Repeats come as they stand in the log.

What the log cannot offer honestly it refuses: `select_events` by originator would have to read the whole partition,
and there are no versions to detect a conflict by; the ledger drops repeats by (source, id, subject) instead.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import (
    ApplicationRecorder,
    JSONTranscoder,
    Mapper,
    Notification,
    NotSupportedError,
    StoredEvent,
    Subscription,
)
from msgspec import UNSET

from ledger import codec
from ledger.errors import Malformed, Unparsable, UnreadableRecord
from ledger.events import Event
from ledger.kafka import topics
from ledger.kafka.log import KafkaLog
from ledger.kafka.reader import Reader
from ledger.log import Entry, LogRecord, Position
from projections.datastore import application_name

POLL_S = 0.2
READ_TIMEOUT_S = 30


class LogRecorder(ApplicationRecorder):
    """eventsourcing's recorder on one partition of the log. Close it when it was used."""

    def __init__(self, bootstrap: str, topic: str, partition: int) -> None:
        self.bootstrap, self.topic, self.partition = bootstrap, topic, partition
        self._log: KafkaLog | None = None
        self._opening = threading.Lock()

    def close(self) -> None:
        """Closes the connections; a second time does nothing."""
        with self._opening:
            if self._log is not None:
                self._log.close()
                self._log = None

    def entry(self, stored_event: StoredEvent) -> Entry:
        """What is appended for a stored event: its state is a record's bytes already."""
        return Entry(self.partition, str(stored_event.originator_id) or None, stored_event.state)

    def notification(self, record: LogRecord) -> Notification:
        """A record as eventsourcing hands it on."""
        event = _read(record.position, record.value)
        subject = "" if event.subject is UNSET else str(event.subject)
        number = record.position.offset + 1
        return Notification(subject, number, type(event).type, record.value, number)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Appends in order and waits for the broker; returns the notification ids."""
        futures = self._opened().append([self.entry(stored_event) for stored_event in stored_events])
        return [future.result(READ_TIMEOUT_S).offset + 1 for future in futures]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Refuses: a log has no key to read by."""
        raise NotSupportedError("a log cannot be read by originator: ask the timeline view")

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The records with notification ids from `start` to `stop`, those of the topics only, at most `limit`."""
        offset = max(0, (start or 1) - 1)
        if start is not None and not inclusive_of_start:
            offset = start
        found: list[Notification] = []
        log = self._opened()
        if offset > log.head(self.partition):
            return found
        while len(found) < limit:
            records = log.read(self.partition, offset, stop)
            if not records:
                break
            found += self._chosen(records, topics)
            offset = records[-1].position.offset + 1
        return found[:limit]

    def max_notification_id(self) -> int | None:
        """The id of the last record, None when there is none."""
        return self._opened().head(self.partition) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "LogSubscription":
        """Every record with a greater id, and then those to come."""
        return LogSubscription(self, gt, topics)

    def _chosen(self, records: Sequence[LogRecord], topics: Sequence[str]) -> Iterator[Notification]:
        for record in records:
            notification = self.notification(record)
            if not topics or notification.topic in topics:
                yield notification

    def _opened(self) -> KafkaLog:
        with self._opening:
            if self._log is None:
                self._log = KafkaLog(self.bootstrap, self.topic).__enter__()
            return self._log


class LogSubscription(Subscription[LogRecorder]):
    """Follows one partition. `stop` may be called from any thread; the reader is closed by the one that reads."""

    def __init__(self, recorder: LogRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._reader: Reader | None = None
        self._waiting: deque[Notification] = deque()
        self._reading = threading.Lock()

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        super().__exit__(*args, **kwargs)
        self._close()

    def __next__(self) -> Notification:
        while not self._has_been_stopped and not self._waiting:
            self._read()
        if self._has_been_stopped:
            self._close()
            raise StopIteration
        return self._waiting.popleft()

    def _read(self) -> None:
        recorder = self._recorder
        with self._reading:
            if self._reader is None:
                start = {recorder.partition: self._last_notification_id or 0}
                self._reader = Reader(recorder.bootstrap, recorder.topic, start)
            for records in self._reader.poll(POLL_S).values():
                self._waiting.extend(recorder._chosen(records, self._topics))

    def _close(self) -> None:
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None


class LedgerMapper(Mapper[str]):
    """Between the ledger's events and eventsourcing's stored events: a record's bytes are the state."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The stored event of one of the ledger's events; the log has no versions."""
        subject = "" if domain_event.subject is UNSET else domain_event.subject
        return StoredEvent(subject, 0, domain_event.type, codec.encode(domain_event))

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The ledger's event; raises `UnreadableRecord`, which stops the projection there."""
        position = Position(0, stored_event.originator_version - 1)
        return _read(position, stored_event.state)


class LedgerApplication(Application[str]):
    """One partition of the ledger; `application` makes the subclass that says which."""

    bootstrap: ClassVar[str]
    topic: ClassVar[str]
    partition: ClassVar[int]

    def construct_mapper(self) -> Mapper[str]:
        """Records need no transcoding."""
        return LedgerMapper(JSONTranscoder())

    def construct_recorder(self) -> ApplicationRecorder:
        """The partition itself."""
        return LogRecorder(self.bootstrap, self.topic, self.partition)

    def close(self) -> None:
        """Closes the log's connections."""
        assert isinstance(self.recorder, LogRecorder)
        self.recorder.close()
        super().close()


def application(bootstrap: str, partition: int, topic: str = topics.EVENTS) -> type[LedgerApplication]:
    """The application class of one partition; its name is what its position is tracked under."""
    attributes = {"name": application_name(partition), "bootstrap": bootstrap, "topic": topic, "partition": partition}
    return type(f"Ledger{partition}", (LedgerApplication,), attributes)


def _read(position: Position, value: bytes) -> Event:
    try:
        return codec.read(value)
    except (Unparsable, Malformed) as error:
        code = error.code if isinstance(error, Unparsable) else error.problems[0].code
        raise UnreadableRecord(str(position), code) from None
