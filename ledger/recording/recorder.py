"""The one path into the log: group commit by one thread, for every door.

Handlers hand in calls (one event or a batch); one thread takes what waits, asks views and vault once for the whole
group, decides each event by the rules of `ledger.recording.record`, and hands the new ones to the log without waiting
for each acknowledgement. Groups follow one another while earlier ones are still under way. A call is answered when its
last event is, with one receipt.

    recorder = Recorder(log, index, vault, lock, clock=wall_clock, signer=signer)
    recorder.start()
    answer = recorder.submit([codec.parse(raw)], principal).result()
    answer.results[0].line.position, answer.receipt
    recorder.stop()

Before its first record it asks `check` (projections.start_check) whether the log is what its checkpoints say. When it
is not, nothing is recorded in any partition, for as long as this process lives; `status` names the place.

Two calls with the same event give one record: the second finds the first in the tail, or joins it in flight.
Queues are bounded: `Busy` for a client that alone waits with too much, `Unavailable` when all together do.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import UNSET

from ledger import codec
from ledger.authority import Door, Principal, authorise
from ledger.errors import Conflict, ConsentLedgerError, LogDiffers, LogError, Unavailable
from ledger.events import ConsentGiven, ConsentWithdrawn, DataErased, ErasureRequested, Event
from ledger.log import Log, Position
from ledger.recording import receipts
from ledger.recording.broadcast import Broadcast
from ledger.recording.calls import Call, Inbox, Slot
from ledger.recording.flights import PATIENCE_S, Flight, Flights
from ledger.recording.record import (
    Answer,
    Clock,
    Consent,
    ExclusiveLock,
    Index,
    Key,
    Known,
    Recorded,
    Result,
    check_consent,
    check_time,
    consent_of,
    is_reference,
    repeat_of,
    stamp,
)
from ledger.recording.tail import MAX_TAIL_RECORDS, Tail
from ledger.tree.merkle import leaf_hash
from ledger.tree.note import Signer
from ledger.vault import ResidentKey, Vault, needs_key, seal

Check = Callable[[Callable[[], bool]], Sequence[LogDiffers]]
"""Where the log differs from its checkpoints; told by its argument when to give up. Raises `Unavailable`."""
_logger = logging.getLogger("consent_ledger.recorder")
_STOPPING = "the ledger is stopping: send again"


@dataclass(frozen=True, slots=True)
class Limits:
    """The recorder's bounds. A bigger `group_events` means fewer, larger questions to the views."""

    queue_events: int = 20_000
    client_events: int = 10_000
    group_events: int = 2_000
    in_flight_events: int = 20_000
    tail_records: int = MAX_TAIL_RECORDS
    patience_s: float = PATIENCE_S
    follow_every_s: float = 0.25
    follow_late_s: float = 2.0
    open_again_s: float = 1.0


@dataclass(slots=True)
class _View:
    """What views and vault said about a group."""

    found: dict[Key, list[Known]]
    owners: dict[Consent, str]
    keys: dict[str, ResidentKey | None] = field(default_factory=dict)
    vault_error: ConsentLedgerError | None = None


class _Heads(NamedTuple):
    """Where the log ended at a moment, and how many flights had been boarded by then."""

    asked_s: float
    boarded: int
    heads: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Status:
    """How the recorder is: `problem` is None when events can be recorded.

    `differs`: where the log is not what its checkpoints say, which does not pass.
    """

    problem: str | None
    waiting: int
    in_flight: int
    tail: int
    differs: tuple[str, ...] = ()


class Recorder:
    """Records events: submit from any thread, decided and appended by one."""

    def __init__(
        self,
        log: Log,
        index: Index,
        vault: Vault,
        lock: ExclusiveLock,
        *,
        clock: Clock,
        signer: Signer | None,
        check: Check | None = None,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._index, self._vault = log, index, vault
        self._clock, self._signer, self._monotonic = clock, signer, monotonic
        self._check = check
        self._differs: Sequence[LogDiffers] = ()
        self._limits = limits or Limits()
        self._wake = threading.Event()
        self._inbox = Inbox(self._limits.queue_events, self._limits.client_events)
        self._inbox.refuse("the recorder is starting")
        self._then: Callable[[], None] = lambda: None
        self._open = False
        self._stopping = False
        self._followed_s = float("-inf")
        self._heads: _Heads | None = None
        self._tail = Tail(log, self._limits.tail_records)
        patience_s = self._limits.patience_s
        self._flights: Flights[Slot] = Flights(log, self._tail, self._land, self._wake.set, monotonic, patience_s)
        self._broadcast = Broadcast(log, self._tail, lock, monotonic=monotonic, pause=time.sleep, patience_s=patience_s)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    # --- any thread -------------------------------------------------------------------------------------------

    def start(self, then: Callable[[], None] = lambda: None) -> None:
        """Starts the thread; calls are answered `Unavailable` until views and log were read.

        `then` is called once, by that thread, when this is done: for what must rest on a log that was compared.
        """
        self._then = then
        self._thread.start()

    def stop(self) -> None:
        """Refuses new calls, finishes those that wait, within the deadlines, and ends the thread."""
        self._stopping = True
        self._inbox.refuse(_STOPPING)
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def submit(
        self, items: Sequence[Event | ConsentLedgerError], principal: Principal, door: Door = Door.EVENTS
    ) -> "Future[Answer]":
        """Hands in a call: parsed events, or why one is refused already. Raises `Busy` or `Unavailable` at once."""
        assert items, "a call has at least one event"
        call = self._inbox.put(Call.of(items, principal, door))
        self._wake.set()
        return call.answer

    def status(self) -> Status:
        """How the recorder is, for readiness and metrics."""
        stopped = next(iter(self._tail.stopped.values()), None)
        problem = self._inbox.refusal or (str(stopped) if stopped else None)
        places = tuple(error.position for error in self._differs)
        return Status(problem, len(self._inbox), len(self._flights), len(self._tail), places)

    # --- the recorder's thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping and not self._open:
            if self._differs:
                self._wake.wait()  # for the end: what was found does not pass
                self._wake.clear()
            else:
                self._try_to_open()
        while not (self._stopping and not self._inbox and not self._flights):
            self._wake.wait(self._limits.follow_every_s)
            self._wake.clear()
            self._turn()
        self._inbox.refuse(_STOPPING)
        self._fail(self._inbox.take(self._limits.queue_events, self._limits.queue_events), Unavailable(_STOPPING))

    def _try_to_open(self) -> None:
        try:
            if self._check is not None:
                self._compare(self._check)
                if self._differs:
                    return
            self._tail.open(self._index)
            self._broadcast.complete()
        except ConsentLedgerError as error:
            self._say(str(error))
        except Exception as error:
            _logger.error("the recorder cannot start: %s", type(error).__name__)
            self._say("the recorder cannot start")
        else:
            self._open = True
            self._say(None)
            self._then()
            return
        self._wake.wait(self._limits.open_again_s)
        self._wake.clear()

    def _compare(self, check: Check) -> None:
        """Asks once whether the log is what was signed; again only if that could not be found out."""
        if not self._stopping:
            self._inbox.refuse("the log is being compared with its checkpoints")
        self._differs = check(lambda: self._stopping)
        if self._differs:
            self._say(f"{'; '.join(error.what for error in self._differs)}: {LogDiffers.REMEDY}")
        else:
            self._check = None

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self._inbox.refusal:
            _logger.warning("not recording: %s", problem)
        if not self._stopping:
            self._inbox.refuse(problem)

    def _turn(self) -> None:
        group: list[Call] = []
        try:
            self._flights.settle()
            if self._flights.troubled:
                self._flights.recover()
            room = self._limits.in_flight_events - len(self._flights)
            group = self._inbox.take(self._limits.group_events, room)
            if group:
                self._record(group)
            elif self._monotonic() - self._followed_s > self._limits.open_again_s:
                self._follow()
                self._prune()
            if self._flights.acknowledged or (self._inbox and len(self._flights) < self._limits.in_flight_events):
                self._wake.set()
        except ConsentLedgerError as error:
            _logger.warning("not recording: %s", error)
            self._fail(group, error)
        except Exception as error:  # our own bug: the callers are told, the thread goes on, nothing hides it
            _logger.error("the recorder failed: %s", type(error).__name__, exc_info=error)
            self._fail(group, LogError("the recorder failed"))

    def _fail(self, group: Sequence[Call], error: ConsentLedgerError) -> None:
        for call in group:
            for index, result in enumerate(call.results):
                if result is None and not self._flies(call, index):
                    self._finish(call, index, error)

    def _flies(self, call: Call, index: int) -> bool:
        return self._flights.carries(lambda slot: slot.call is call and slot.index == index)

    def _follow(self) -> None:
        """Reads what others have appended, every so often: it takes the heads, waits until our own appends of before
        have ended, within bounds, and reads to those heads what is then still unknown. So our own records are hardly
        ever read again."""
        now_s = self._monotonic()
        if self._heads is None and now_s - self._followed_s > self._limits.follow_every_s:
            self._heads = _Heads(now_s, self._flights.boarded, self._log.heads())
        asked = self._heads
        if asked is not None and (
            self._flights.ended(asked.boarded) or now_s - asked.asked_s > self._limits.follow_late_s
        ):
            self._heads, self._followed_s = None, now_s
            self._tail.follow(asked.heads)

    def _prune(self) -> None:
        projected = self._index.projected()
        if not self._flights.sent_again:
            self._tail.prune(projected)

    def _record(self, group: Sequence[Call]) -> None:
        slots = self._authorised(group)
        if not slots:
            return
        if self._tail.full:
            self._prune()
            if self._tail.full:
                raise Unavailable("the projected views are too far behind the log: send again", 5)
        view = self._look(slots)
        now_us = self._clock()
        ready: list[Flight[Slot]] = []
        try:
            for slot in slots:
                try:
                    if is_reference(slot.event):
                        self._flights.launch(ready)
                        ready = []
                        self._finish(slot.call, slot.index, self._to_everyone(slot, view, now_us))
                    else:
                        flight = self._decide(slot, view, now_us)
                        if flight is not None:
                            ready.append(flight)
                except ConsentLedgerError as error:
                    self._finish(slot.call, slot.index, error)
        finally:
            self._flights.launch(ready)

    def _authorised(self, group: Sequence[Call]) -> list[Slot]:
        slots = []
        for call in group:
            allowed: set[tuple[type[Event], str, bool]] = set()
            for index, item in enumerate(call.items):
                try:
                    if isinstance(item, ConsentLedgerError):
                        raise item
                    # All that decides it at this door; a batch has few of them.
                    sort = (type(item), item.source, item.subject is UNSET)
                    if sort not in allowed:
                        authorise(item, call.principal, call.door)
                        if call.door is Door.EVENTS:
                            allowed.add(sort)
                    slots.append(Slot(call, index, item))
                except ConsentLedgerError as error:
                    self._finish(call, index, error)
        return slots

    def _look(self, slots: Sequence[Slot]) -> _View:
        """Asks views and vault about the whole group. The views' positions are read before the views are asked:
        what the tail lets go of is then surely in them."""
        # Another process may have begun the same erasure just before it died: that is not to be said twice.
        if self._flights.lost or any(isinstance(s.event.data, ErasureRequested | DataErased) for s in slots):
            self._tail.follow()
            self._flights.lost = False
        self._follow()
        self._prune()
        found = self._index.find(list(dict.fromkeys([(s.event.source, s.event.id) for s in slots])))
        consents = [c for s in slots if (c := consent_of(s.event)) is not None]
        owners = self._index.consent_owners(list(dict.fromkeys(consents))) if consents else {}
        view = _View(found, owners)
        subjects = list(dict.fromkeys(str(s.event.subject) for s in slots if needs_key(s.event)))
        if subjects:
            try:
                view.keys = self._vault.keys_for(subjects)
            except ConsentLedgerError as error:
                _logger.warning("nothing can be sealed: %s", error)
                view.vault_error = error
        return view

    def _decide(self, slot: Slot, view: _View, now_us: int) -> Flight[Slot] | None:
        """A new flight for a new event; None when the slot was answered or waits for another's flight."""
        event = slot.event
        subject = str(event.subject)
        if needs_key(event):
            if view.vault_error is not None:
                raise view.vault_error
            event = seal(event, view.keys.get(subject))
        partition = self._log.partition_of(subject)
        if partition in self._tail.stopped:
            raise Unavailable(str(self._tail.stopped[partition]), 30)
        key = (event.source, event.id)
        in_views, in_tail = view.found.get(key, ()), self._tail.find(key)
        if in_views or in_tail:
            repeat = repeat_of(event, [*in_views, *in_tail])
            if repeat is not None:
                self._finish(slot.call, slot.index, repeat)
                return None
        other = self._flights.find(key)
        if other is not None:
            other.join(slot, codec.same_content(event, other.event))
            return None
        check_time(event, now_us)
        if isinstance(event.data, ConsentGiven | ConsentWithdrawn):
            check_consent(event, self._owners(event, view))
        stamped = stamp(event, now_us, slot.call.principal.client_id)
        flight = Flight(slot, key, partition, stamped, codec.encode(stamped))
        self._flights.board(flight)
        return flight

    def _owners(self, event: Event, view: _View) -> dict[Consent, str]:
        consent = consent_of(event)
        if consent is None:
            return {}
        owner = view.owners.get(consent) or self._tail.consent_owner(consent) or self._flights.consent_owner(consent)
        return {} if owner is None else {consent: owner}

    def _to_everyone(self, slot: Slot, view: _View, now_us: int) -> Recorded:
        """A reference fact, to every partition. Nothing else is under way meanwhile."""
        while self._flights:
            self._wake.wait(self._limits.follow_every_s)
            self._wake.clear()
            self._flights.settle()
            if self._flights.troubled:
                self._flights.recover()
        found = view.found.get((slot.event.source, slot.event.id), [])
        return self._broadcast.send(slot.event, found, now_us, slot.call.principal.client_id)

    # --- answers ----------------------------------------------------------------------------------------------

    def _land(self, flight: Flight[Slot], outcome: Position | ConsentLedgerError) -> None:
        first = flight.owner
        if isinstance(outcome, ConsentLedgerError):
            for slot in flight.owners:
                self._finish(slot.call, slot.index, outcome)
            return
        line = receipts.Line(outcome, leaf_hash(flight.value), str(flight.event.recordedtime))
        self._finish(first.call, first.index, Recorded(line, new=True))
        for slot in flight.joined or ():
            self._finish(slot.call, slot.index, Recorded(line, new=False))
        for slot in flight.rivals or ():
            self._finish(slot.call, slot.index, Conflict(str(outcome)))

    def _finish(self, call: Call, index: int, result: Result) -> None:
        call.finish(index, result, self._signer)
