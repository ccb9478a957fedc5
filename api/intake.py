"""`record`: takes what services put into their intake topics into the log, by the road that the HTTP door takes.

    intake = ClientIntake(partial(Intake, "broker:9092"), principal, recorder.submit, rejects, metrics, stop)
    intake.run()                             # until `stop`; one thread for each client, one recorder for all

Each batch is examined, recorded, and what is refused is written to `ledger.rejected`; the place in the topic moves only
when the broker has acknowledged both. So a crash repeats a batch at most: its events are known by then, and its
refusals have the same keys. Whatever is away (broker, database, a log that differs) is waited for, with nothing lost:
a client's topic stands still meanwhile, and `doctor` says how much waits there.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from ledger.authority import Principal
from ledger.errors import ConsentLedgerError, GivenAnew, NotYet
from ledger.events import Event
from ledger.kafka.intake import Arrival, Intake
from ledger.log import Entry, Position
from ledger.recording.intake import DELETED_UNREAD, Place, codes, examine, rejection
from ledger.recording.record import Answer, Recorded

_logger = logging.getLogger("consent_ledger.record")
POLL_S = 0.25
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
_LOOK_EVERY_TURNS = 20
Refusal = tuple[Place, tuple[str, ...]]
Submit = Callable[[Sequence[Event | ConsentLedgerError], Principal], "Future[Answer]"]


class Rejects(Protocol):
    """Where refusals go: `ledger.kafka.producer.Producer`."""

    def append(self, entries: Sequence[Entry]) -> list["Future[Position]"]:
        """Hands entries over in order; a future raises `Unavailable` when one was not acknowledged."""


class Metrics:
    """Counters of one process. The clients are those of the settings; no resident, source or id is ever a label."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        by_client = ("client",)
        self.recorded = Counter(
            "consent_ledger_intake_recorded", "Events that were recorded.", by_client, registry=registry
        )
        self.repeats = Counter(
            "consent_ledger_intake_repeats", "Events that the ledger had already.", by_client, registry=registry
        )
        self.rejected = Counter(
            "consent_ledger_intake_rejected", "Records that were refused.", (*by_client, "code"), registry=registry
        )
        self.retries = Counter(
            "consent_ledger_intake_retries", "Times that something was away.", by_client, registry=registry
        )
        self.lag = Gauge("consent_ledger_intake_lag", "Offsets not done with yet.", by_client, registry=registry)


class ClientIntake:
    """One client's topic: `run` follows it until it is stopped. Used by one thread."""

    def __init__(
        self,
        open_intake: Callable[[str], Intake],
        principal: Principal,
        submit: Submit,
        rejects: Rejects,
        metrics: Metrics,
        stop: threading.Event,
    ) -> None:
        self._open, self._principal, self._submit = open_intake, principal, submit
        self._rejects, self._metrics, self._stop = rejects, metrics, stop
        self._client = principal.client_id
        self._turns = 0
        self._said = ""

    def run(self) -> None:
        """Follows the topic; after a fault it begins again where the group has committed."""
        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            try:
                with self._open(self._client) as intake:
                    while not self._stop.is_set():
                        try:
                            self.turn(intake)
                        except GivenAnew:  # leaving for it would have the group give them out anew, to everybody
                            intake.restart()
                        wait_s, self._said = FIRST_WAIT_S, ""
            except ConsentLedgerError as error:
                self._wait(error, wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def turn(self, intake: Intake) -> None:
        """Takes one batch in. Raises what kept it from being done with; nothing is committed then."""
        arrivals = intake.poll(POLL_S)
        if arrivals:
            unread, events, refused = self._examined(intake.topic, arrivals)
            refused += self._recorded(intake, events)
            self._reject(intake, [*unread, *refused])
            intake.commit(arrivals)
            for _, why in (*unread, *refused):
                self._metrics.rejected.labels(self._client, why[0]).inc()
        self._turns += 1
        if arrivals or self._turns % _LOOK_EVERY_TURNS == 1:
            self._metrics.lag.labels(self._client).set(intake.lag())

    def _examined(
        self, topic: str, arrivals: Sequence[Arrival]
    ) -> tuple[list[Refusal], list[tuple[Place, Event]], list[Refusal]]:
        """What cannot be read, what is to be recorded, and what is refused as it is."""
        unread: list[Refusal] = []
        events: list[tuple[Place, Event]] = []
        refused: list[Refusal] = []
        for arrival in arrivals:
            place = Place(topic, arrival.partition, arrival.offset)
            if arrival.code == DELETED_UNREAD:
                place = place._replace(until=arrival.next_offset)
                _logger.error("records %s to %s of %s were deleted before they were recorded", *_range(arrival), topic)
            item = None if arrival.code is not None else examine(arrival.value)
            if arrival.code is not None:
                unread.append((place, (arrival.code,)))
            elif isinstance(item, ConsentLedgerError):
                refused.append((place, codes(item)))
            elif item is not None:
                events.append((place, item))
        return unread, events, refused

    def _recorded(self, intake: Intake, events: Sequence[tuple[Place, Event]]) -> list[Refusal]:
        """Has these recorded, in order, and asks again for what could not be decided; returns what is refused."""
        refused: list[Refusal] = []
        wait_s = FIRST_WAIT_S
        while events:
            undecided: list[tuple[Place, Event]] = []
            problem: ConsentLedgerError | None = None
            for (place, event), result in zip(events, self._ask(intake, [e for _, e in events]), strict=True):
                if isinstance(result, Recorded):
                    (self._metrics.recorded if result.new else self._metrics.repeats).labels(self._client).inc()
                elif codes(result):
                    refused.append((place, codes(result)))
                else:
                    undecided.append((place, event))
                    problem = problem or result
            events = undecided
            if problem is not None:
                if self._stop.is_set():
                    raise NotYet("stopping: what is left is read again")
                self._wait(problem, wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                intake.keep()
        return refused

    def _ask(self, intake: Intake, events: Sequence[Event]) -> Sequence[Recorded | ConsentLedgerError]:
        """What the recorder says of each: one of its errors for all of them when it takes none."""
        try:
            answer = self._submit(events, self._principal)
        except NotYet as error:  # full, starting, or stopping
            return [error] * len(events)
        while True:
            try:
                return answer.result(timeout=1.0).results
            except FutureTimeout:
                intake.keep()

    def _reject(self, intake: Intake, refused: Sequence[Refusal]) -> None:
        """Writes refusals down; returns when the broker has acknowledged each, raises `Unavailable` otherwise."""
        futures = self._rejects.append([rejection(place, why) for place, why in refused])
        for future in futures:
            while True:
                try:
                    future.result(timeout=1.0)
                    break
                except FutureTimeout:
                    intake.keep()

    def _wait(self, error: ConsentLedgerError, wait_s: float) -> None:
        self._metrics.retries.labels(self._client).inc()
        if str(error) != self._said:
            _logger.warning("the intake of %s waits: %s", self._client, error)
            self._said = str(error)
        self._stop.wait(wait_s)


def _range(arrival: Arrival) -> tuple[str, int]:
    """The offsets that are gone: first and last."""
    return str(Position(arrival.partition, arrival.offset)), arrival.next_offset - 1
