"""`project --projection`: any eventsourcing projection follows the ledger; reminders are one, and come exactly once."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment

from ledger import events as e
from ledger.errors import ConfigurationError
from ledger.kafka.log import KafkaLog
from projections import follow as follow_module
from projections.follow import environment, follow, resolve
from projections.reminders import Reminders, RemindersView
from projections.schema import Dsns
from tests.eventsourcing_cases import TrackingRecorderTestCase
from tests.projected import append, history, new_schema

PARTITIONS = 2
BASE = datetime(2026, 3, 1, 12, tzinfo=UTC)
_NUMBERS = iter(range(1_000_000))


def event(kind: str, subject: str, day: float, data: e.Data) -> e.Event:
    time = (BASE + timedelta(days=day)).isoformat().replace("+00:00", "Z")
    return e.KINDS[kind](id=f"r{next(_NUMBERS)}", source="/my", subject=subject, time=time, data=data)


def complaint(subject: str, complaint_id: str, day: float, kind: Any = "complaint") -> e.Event:
    return event("complaint.filed", subject, day, e.ComplaintFiled(complaint_id=complaint_id, kind=kind, text="t"))


def answer(subject: str, complaint_id: str, day: float) -> e.Event:
    data = e.ComplaintResolved(complaint_id=complaint_id, outcome="settled", answer="a")
    return event("complaint.resolved", subject, day, data)


def contest(subject: str, contest_id: str, day: float) -> e.Event:
    return event(
        "data.contested", subject, day, e.DataContested(contest_id=contest_id, categories=("email",), claim="c")
    )


@contextmanager
def followed(address: str, topic: str, dsns: Dsns) -> Iterator[None]:
    """Follows with the reminders, for the while."""
    stop = threading.Event()
    options = {"topic": topic, "stop": stop}
    thread = threading.Thread(
        target=follow, args=("projections.reminders:Reminders", address, dsns.projector), kwargs=options, daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def reminders_view(dsns: Dsns) -> Iterator[RemindersView]:
    settings = Environment("reminders", environment("reminders", dsns.projector))
    with InfrastructureFactory[RemindersView].construct(settings) as factory:
        yield factory.tracking_recorder(RemindersView)


def wait_until(dsns: Dsns, log: KafkaLog, partition: int) -> None:
    """Until the last record of a partition, which must be one that reminders look at, is taken in."""
    with reminders_view(dsns) as view:
        view.wait(f"ledger[{partition}]", log.head(partition), timeout=30)


def test_each_unanswered_complaint_and_contest_is_reminded_of_once(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITIONS)
    log = make_log(topic=topic)
    dsns = new_schema(fresh_database)
    waiting, answered = complaint("r1", "k1", 0), complaint("r1", "k2", 0)
    append(log, 0, [waiting, answered, complaint("r1", "k3", 0, "question"), *history(21, 0), waiting])
    append(log, 0, [answer("r1", "k2", 1), answer("r1", "k4", 2), complaint("r1", "k4", 1), contest("r1", "c9", 3)])
    with followed(kafka_address, topic, dsns):
        wait_until(dsns, log, 0)
    append(log, 0, [waiting, contest("r2", "c9", 20)])  # again, to another run: it begins where the first stopped
    append(log, 1, [complaint("r3", "k1", 2)])
    with followed(kafka_address, topic, dsns):
        wait_until(dsns, log, 0)
        wait_until(dsns, log, 1)
    with reminders_view(dsns) as view:
        due = view.unanswered(BASE + timedelta(days=18), days=14)
        mine = [(r.kind, r.case_id, r.subject) for r in due if not r.subject.startswith("p0")]
        assert mine == [("complaint", "k1", "r1"), ("complaint", "k1", "r3"), ("contest", "c9", "r1")]
        assert due[0].position == "0-0"
        assert all(r.due == r.opened + timedelta(days=14) for r in due)
        assert view.unanswered(BASE - timedelta(days=90), days=14) == []


def test_starts_and_stops_at_any_moment_count_nothing_twice(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITIONS)
    log = make_log(topic=topic)
    dsns = new_schema(fresh_database)
    cases = 400
    for partition in range(PARTITIONS):
        append(log, partition, [complaint(f"p{partition}", f"k{i}", i / 1000) for i in range(cases)])
    for pause_s in (0.3, 0.1, 0.5, 0.2):
        with followed(kafka_address, topic, dsns):
            time.sleep(pause_s)
    with followed(kafka_address, topic, dsns):
        wait_until(dsns, log, 0)
        wait_until(dsns, log, 1)
    with reminders_view(dsns) as view:
        due = view.unanswered(BASE + timedelta(days=100))
    assert sorted(r.case_id for r in due) == sorted([f"k{i}" for i in range(cases)] * PARTITIONS)
    assert sorted(r.position for r in due) == sorted(f"{p}-{i}" for i in range(cases) for p in range(PARTITIONS))


def test_a_projection_is_named_module_class_and_says_its_view() -> None:
    assert resolve("projections.reminders:Reminders") is Reminders
    assert follow_module.view_class(Reminders) is RemindersView
    for wrong in (
        "projections.reminders",
        "nowhere:Reminders",
        "projections.reminders:Nothing",
        "projections.keys:key_hash",
    ):
        with pytest.raises(ConfigurationError):
            resolve(wrong)


class TestRemindersTracking(TrackingRecorderTestCase):
    """eventsourcing's own contract for a view's tracking."""

    @pytest.fixture(autouse=True)
    def _on_a_real_database(self, fresh_database: str) -> Iterator[None]:
        with reminders_view(new_schema(fresh_database)) as self.view:
            yield

    def create_recorder(self) -> RemindersView:
        return self.view


del TrackingRecorderTestCase  # else it would be collected as a case of its own
