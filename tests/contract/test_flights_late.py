"""An append that arrives late, beside what was sent again for it: the first record in log order is the one named."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ledger import codec
from ledger.errors import ConsentLedgerError, Unavailable
from ledger.events import KINDS, AnonymityChosen
from ledger.kafka.log import KafkaLog
from ledger.log import Entry, Outcome, Position
from ledger.recording.flights import Flight, Flights
from ledger.recording.record import Consent, Key, Known
from ledger.recording.tail import Tail

PARTITION = 1


class NothingProjected:
    """Views that have read nothing yet."""

    def projected(self) -> dict[int, int]:
        return {}

    def find(self, keys: Sequence[Key]) -> dict[Key, list[Known]]:
        return {}

    def consent_owners(self, consents: Sequence[Consent]) -> dict[Consent, str]:
        return {}

    def reference_facts(self) -> list[Known]:
        return []


@dataclass
class LateArrivals:
    """A real log behind a broker that keeps each first append back, and takes it in just before the next."""

    log: KafkaLog
    kept: list[Entry]

    def append_group(self, entries: Sequence[Entry], done: Callable[[Sequence[Outcome]], None]) -> None:
        if self.kept:
            late, self.kept = self.kept, []
            for future in self.log.append(late):
                future.result(30)
            self.log.append_group(entries, done)
        else:
            self.kept = list(entries)
            done([Unavailable("not acknowledged in time")] * len(entries))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


def flight(event_id: str) -> Flight[str]:
    event = KINDS["anonymity.chosen"](
        id=event_id,
        source="/my",
        subject="res_1",
        time="2026-03-03T12:00:00Z",
        data=AnonymityChosen(),
        recordedtime="2026-03-03T12:00:01Z",
        recordedby="web",
    )
    return Flight(event_id, ("/my", event_id), PARTITION, event, codec.encode(event))


class Way:
    """Flights on such a log, with what they were answered."""

    def __init__(self, log: KafkaLog, patience_s: float) -> None:
        self.landed: dict[str, Position | ConsentLedgerError] = {}
        late: Any = LateArrivals(log, [])
        tail = Tail(late)
        tail.open(NothingProjected())
        self.flights: Flights[str] = Flights(late, tail, self._land, lambda: None, time.monotonic, patience_s)

    def _land(self, flight: Flight[str], outcome: Position | ConsentLedgerError) -> None:
        self.landed[flight.owner] = outcome

    def send(self, *event_ids: str) -> None:
        flights = [flight(event_id) for event_id in event_ids]
        for one in flights:
            self.flights.board(one)
        self.flights.launch(flights)

    def wait(self) -> None:
        deadline_s = time.monotonic() + 30
        while len(self.flights):
            self.flights.settle()
            if self.flights.troubled:
                self.flights.recover()
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


@pytest.fixture
def log(make_log: Callable[..., KafkaLog]) -> KafkaLog:
    return make_log(partitions=2)


def test_what_arrives_late_counts_before_what_was_sent_again_for_it(log: KafkaLog) -> None:
    way = Way(log, patience_s=10)
    way.send("e1", "e2")
    way.wait()
    assert log.head(PARTITION) == 4
    assert way.landed == {"e1": Position(PARTITION, 0), "e2": Position(PARTITION, 1)}
    assert way.flights.sent_again == 0


def test_what_was_given_up_and_arrives_late_counts_before_what_its_emitter_sends_again(log: KafkaLog) -> None:
    way = Way(log, patience_s=-1)
    way.send("e1")
    way.wait()
    assert isinstance(way.landed["e1"], Unavailable)
    way.send("e1")
    way.wait()
    assert log.head(PARTITION) == 2
    assert way.landed == {"e1": Position(PARTITION, 0)}
    assert way.flights.sent_again == 0
