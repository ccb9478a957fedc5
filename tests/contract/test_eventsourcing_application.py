"""Each partition as an eventsourcing application: the library's own test cases where they apply, and its stock runner.

What does not apply, and why:
- `AggregateRecorderTestCase`, the `select_events` half of `test_insert_select`: a log cannot be read by originator, so
  the recorder refuses (test_reading_by_originator_is_refused); a wrong answer would be worse.
- `IntegrityError` for the same event twice: a log has no key that refuses; the ledger drops repeats by (source, id,
  subject) when it projects, which test_projections.py holds.
- `AggregateEventCountersProjectionTestCase`: its application saves aggregates of Python classes named by module path;
  the ledger's records are CloudEvents and nothing else. The stock runner is tested with the ledger's own events below.
- `TrackingRecorderTestCase` applies to views, and holds for `RemindersView` (test_eventsourcing_follow.py).
"""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Notification, NotSupportedError, StoredEvent, Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from ledger.errors import UnreadableRecord
from ledger.events import KINDS
from ledger.kafka.log import KafkaLog
from ledger.log import Entry, LogRecord
from projections.application import LogRecorder, application
from tests.eventsourcing_cases import ApplicationRecorderTestCase
from tests.projected import append, history, many

PARTITION = 1


class AnyEventRecorder(LogRecorder):
    """The recorder under test, for the stock cases' events: they are no CloudEvents, so they carry their own fields."""

    def entry(self, stored_event: StoredEvent) -> Entry:
        fields = [str(stored_event.originator_id), stored_event.originator_version, stored_event.topic]
        value = json.dumps([*fields, stored_event.state.decode()]).encode()
        return Entry(self.partition, fields[0], value)  # type: ignore[arg-type]

    def notification(self, record: LogRecord) -> Notification:
        originator_id, version, topic, state = json.loads(record.value)
        return Notification(UUID(originator_id), version, topic, state.encode(), record.position.offset + 1)


class TestStockCases(ApplicationRecorderTestCase[AnyEventRecorder]):
    """eventsourcing's own contract for a recorder, on a real broker."""

    recorders: list[AnyEventRecorder]

    @pytest.fixture(autouse=True)
    def _on_a_real_broker(self, kafka_address: str, make_topic: Callable[..., str]) -> Iterator[None]:
        self.address, self.make_topic, self.recorders = kafka_address, make_topic, []
        yield
        for recorder in self.recorders:
            recorder.close()

    def create_recorder(self) -> AnyEventRecorder:
        recorder = AnyEventRecorder(self.address, self.make_topic(PARTITION + 1), PARTITION)
        self.recorders.append(recorder)
        return recorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()

    def test_insert_select(self) -> None:
        """The stock case without its two parts that a log cannot offer (see above): the same events and questions."""
        recorder = self.create_recorder()
        assert recorder.select_notifications(start=None, limit=3) == []
        assert recorder.select_notifications(start=None, limit=3, topics=["topic1"]) == []
        assert recorder.max_notification_id() is None
        one, two = self.new_originator_id(), self.new_originator_id()
        stored = [
            StoredEvent(one, self.INITIAL_VERSION, "topic1", b"state1"),
            StoredEvent(one, self.INITIAL_VERSION + 1, "topic2", b"state2"),
            StoredEvent(two, self.INITIAL_VERSION, "topic3", b"state3"),
        ]
        assert recorder.insert_events(stored[:2]) == [1, 2]
        assert recorder.insert_events(stored[2:]) == [3]
        assert recorder.max_notification_id() == 3
        wanted = [
            Notification(s.originator_id, s.originator_version, s.topic, s.state, i + 1) for i, s in enumerate(stored)
        ]
        asked: list[tuple[dict[str, Any], list[int]]] = [
            ({"start": None, "limit": 10}, [1, 2, 3]),
            ({"start": 1, "limit": 10}, [1, 2, 3]),
            ({"start": None, "stop": 2, "limit": 10}, [1, 2]),
            ({"start": 1, "limit": 10, "inclusive_of_start": False}, [2, 3]),
            ({"start": 2, "limit": 10, "inclusive_of_start": False}, [3]),
            ({"start": None, "limit": 10, "topics": ["topic1", "topic2", "topic3"]}, [1, 2, 3]),
            ({"start": 1, "limit": 10, "topics": ["topic1"]}, [1]),
            ({"start": 1, "limit": 3, "topics": ["topic2"]}, [2]),
            ({"start": 1, "limit": 3, "topics": ["topic3"]}, [3]),
            ({"start": 1, "limit": 3, "topics": ["topic1", "topic3"]}, [1, 3]),
            ({"start": None, "limit": 1}, [1]),
            ({"start": 2, "limit": 1}, [2]),
            ({"start": 1, "limit": 1, "inclusive_of_start": False}, [2]),
            ({"start": 2, "limit": 2}, [2, 3]),
            ({"start": 3, "limit": 1}, [3]),
            ({"start": 3, "limit": 1, "inclusive_of_start": False}, []),
            ({"start": 2, "limit": 10, "stop": 2}, [2]),
            ({"start": 1, "limit": 10, "stop": 2}, [1, 2]),
            ({"start": 1, "limit": 10, "stop": 2, "inclusive_of_start": False}, [2]),
        ]
        for question, ids in asked:
            assert recorder.select_notifications(**question) == [wanted[i - 1] for i in ids], question


del ApplicationRecorderTestCase  # else it would be collected as a case of its own


def test_reading_by_originator_is_refused(kafka_address: str, make_topic: Callable[..., str]) -> None:
    recorder = LogRecorder(kafka_address, make_topic(1), 0)
    with pytest.raises(NotSupportedError, match="timeline"):
        recorder.select_events("res_7f2c")
    recorder.close()


class Seen(POPOTrackingRecorder):
    """A view that keeps what it was given, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, str, str]] = []
        self.consents: list[str] = []

    def see(self, tracking: Tracking, kind: str, event_id: str) -> None:
        self.insert_tracking(tracking)
        self.seen.append((tracking.notification_id, kind, event_id))


class Seeing(Projection[Seen]):
    """Dispatches on the ledger's own events."""

    name = "seeing"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.see(tracking, domain_event.kind, domain_event.id)

    @process_event.register(KINDS["consent.given"])
    def _(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.consents.append(domain_event.data.consent_id)
        self.view.see(tracking, domain_event.kind, domain_event.id)


def test_the_stock_projection_runner_follows_a_partition(
    kafka_address: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITION + 1)
    log = make_log(topic=topic)
    first, later = history(11, PARTITION), many(PARTITION, 12, 1)
    append(log, PARTITION, first)
    append(log, 0, history(13, 0))  # another partition's records are another application's
    with ProjectionRunner(
        application_class=application(kafka_address, PARTITION, topic), projection_class=Seeing, view_class=Seen
    ) as runner:
        assert runner.app_name == "ledger[1]"
        runner.wait(len(first), timeout=20)
        append(log, PARTITION, later)
        runner.wait(len(first) + len(later), timeout=20)
        seen, consents = runner.view.seen, runner.view.consents
    expected = [*first, *later]
    assert seen == [(i + 1, event.kind, event.id) for i, event in enumerate(expected)]
    assert consents == [event.data.consent_id for event in expected if event.kind == "consent.given"]


def test_the_application_appends_the_ledgers_events_and_gives_them_back(
    kafka_address: str, make_topic: Callable[..., str]
) -> None:
    ledger = application(kafka_address, 0, make_topic(1))()
    events = history(14, 0)[:20]
    recordings = ledger.events.put(events)  # type: ignore[arg-type]
    assert [recording.notification.id for recording in recordings] == list(range(1, 21))
    found = ledger.recorder.select_notifications(start=None, limit=100)
    given_back: list[Any] = [ledger.mapper.to_domain_event(notification) for notification in found]
    assert given_back == events
    ledger.close()


def test_a_record_that_cannot_be_read_stops_the_runner_and_is_named(
    kafka_address: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITION + 1)
    log = make_log(topic=topic)
    append(log, PARTITION, history(15, PARTITION)[:5])
    log.append([Entry(PARTITION, None, b"{}")])[0].result(10)
    runner = ProjectionRunner(
        application_class=application(kafka_address, PARTITION, topic), projection_class=Seeing, view_class=Seen
    )
    with pytest.raises(UnreadableRecord, match="1-5"), runner:
        runner.run_forever(timeout=20)
    assert len(runner.view.seen) == 0, "a subscription hands on nothing of a poll that it cannot read"
