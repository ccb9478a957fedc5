"""Appends under way: from handing an event to the log until its position is known, whatever the broker does.

An append that fails may have landed all the same: its acknowledgement did not come in time, so the log's adapter gave
up its client and took another. Then the log is read to its head, what landed is settled by what was read, and what did
not is sent again, the very same bytes. When the broker stays away the callers are told so (`Unavailable`); the reading
that comes before the next decision finds late arrivals, and an emitter's later retry gets their position.

    flights = Flights(log, tail, land=..., wake=..., monotonic=time.monotonic)
    flights.launch([Flight(...), ...])   # boarded before, in order
    flights.settle()                     # whenever acknowledgements wait
    flights.recover()                    # when `troubled`
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ledger.errors import ConsentLedgerError, Unavailable
from ledger.events import ConsentGiven, Event
from ledger.log import Entry, Log, Outcome, Position
from ledger.recording.record import Consent, Key, consent_of
from ledger.recording.tail import Tail

PATIENCE_S = 10.0
RETRY_EVERY_S = 0.5
MAX_GIVEN_UP = 100_000
_AWAY = "the log does not acknowledge: send the same event again later"
Owner = TypeVar("Owner")


@dataclass(slots=True)
class Flight(Generic[Owner]):
    """One event on its way into the log; `owner` waits for it, `joined` sent the same, `rivals` other content."""

    owner: Owner
    key: Key
    partition: int
    event: Event
    value: bytes
    consent: Consent | None = None
    """The consent that the event gives."""
    joined: list[Owner] | None = None
    rivals: list[Owner] | None = None
    give_up_s: float | None = None
    """When to stop trying, once it failed (None: it never did)."""
    failed: bool = False
    attempt: int = 0
    number: int = 0
    """Its place among all that were boarded."""

    @property
    def owners(self) -> list[Owner]:
        """Everybody who waits for it."""
        return [self.owner, *(self.joined or ()), *(self.rivals or ())]

    def join(self, owner: Owner, same: bool) -> None:
        """One more who waits: with the same content, or a rival's."""
        if same:
            self.joined = self.joined or []
            self.joined.append(owner)
        else:
            self.rivals = self.rivals or []
            self.rivals.append(owner)


Landing = Callable[[Flight[Owner], Position | ConsentLedgerError], None]


class Flights(Generic[Owner]):
    """Every append under way, in launch order. Belongs to one thread but for `_acknowledge`."""

    def __init__(
        self,
        log: Log,
        tail: Tail,
        land: Landing[Owner],
        wake: Callable[[], None],
        monotonic: Callable[[], float],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._log = log
        self._tail = tail
        self._land = land
        self._wake = wake
        self._monotonic = monotonic
        self._patience_s = patience_s
        self._flying: dict[Key, Flight[Owner]] = {}
        self._consents: dict[Consent, Flight[Owner]] = {}
        self._acknowledged: deque[tuple[Sequence[Flight[Owner]], Sequence[Outcome]]] = deque()
        self._retry_s: float | None = None
        self.boarded = 0
        """How many flights there were."""
        self.sent_again = 0
        """How many are under way that were sent more than once: until they land the tail must let go of nothing."""
        self._given_up: dict[Key, None] = {}
        """What was given up last, oldest first: it may land yet, before what its emitter sends again."""
        self.lost = False
        """Whether flights were given up that may still land: read to the head before deciding anything."""

    def __len__(self) -> int:
        return len(self._flying)

    def find(self, key: Key) -> Flight[Owner] | None:
        """The flight under this (`source`, `id`)."""
        return self._flying.get(key)

    def ended(self, boarded: int) -> bool:
        """Whether the first so many flights have all ended."""
        first = next(iter(self._flying.values()), None)  # in the order in which they were boarded
        return first is None or first.number >= boarded

    def carries(self, wanted: Callable[[Owner], bool]) -> bool:
        """Whether some flight will answer such an owner."""
        return any(wanted(owner) for flight in self._flying.values() for owner in flight.owners)

    def consent_owner(self, consent: Consent) -> str | None:
        """The source of a consent that is on its way into the log."""
        flight = self._consents.get(consent)
        return None if flight is None else flight.event.source

    def board(self, flight: Flight[Owner]) -> None:
        """Registers a flight, so that repeats find it, before it is launched with its group."""
        self._flying[flight.key] = flight
        if self._given_up and flight.key in self._given_up:
            del self._given_up[flight.key]
            flight.attempt = 1  # the one that was given up
        flight.number = self.boarded
        self.boarded += 1
        if isinstance(flight.event.data, ConsentGiven):
            flight.consent = consent_of(flight.event)
            if flight.consent is not None:
                self._consents.setdefault(flight.consent, flight)

    def launch(self, flights: Sequence[Flight[Owner]]) -> None:
        """Hands boarded flights to the log, in order, without waiting."""
        if not flights:
            return
        for flight in flights:
            flight.failed = False
            flight.attempt += 1
            self.sent_again += flight.attempt == 2

        def acknowledge(outcomes: Sequence[Outcome]) -> None:
            self._acknowledged.append((flights, outcomes))
            self._wake()

        entries = [Entry(f.partition, str(f.event.subject), f.value) for f in flights]
        try:
            self._log.append_group(entries, acknowledge)
        except ConsentLedgerError as error:  # refused as a whole: nothing was handed over
            for flight in flights:
                self._end(flight, error)

    @property
    def acknowledged(self) -> bool:
        """Whether acknowledgements wait to be settled."""
        return bool(self._acknowledged)

    def settle(self) -> None:
        """Lands what was acknowledged since the last call; what failed waits for `recover`."""
        again: list[tuple[Flight[Owner], Position]] = []
        while self._acknowledged:
            for flight, outcome in zip(*self._acknowledged.popleft(), strict=True):
                if not isinstance(outcome, Position):
                    if self._flying.get(flight.key) is flight:
                        self._failed(flight, outcome)
                elif flight.attempt > 1:
                    again.append((flight, outcome))
                else:
                    self._landed(flight, outcome)
        if again:
            self._land_again(again)

    def _land_again(self, landed: Sequence[tuple[Flight[Owner], Position]]) -> None:
        """Lands what was sent more than once. An earlier attempt may have arrived unheard, and before: what the first
        record in log order is, is known only when all before these positions was read."""
        heads: dict[int, int] = {}
        for _, (partition, offset) in landed:
            heads[partition] = max(heads.get(partition, 0), offset + 1)
        try:
            self._tail.follow(heads)
        except ConsentLedgerError as error:
            for flight, _ in landed:
                self._failed(flight, error)
            return
        for flight, position in landed:
            self._landed(flight, min([position, *self._positions(flight)]))

    def _positions(self, flight: Flight[Owner]) -> list[Position]:
        """Where the flight's bytes stand, as far as the tail has read."""
        return [known.position for known in self._tail.find(flight.key) if known.value == flight.value]

    def _failed(self, flight: Flight[Owner], error: ConsentLedgerError) -> None:
        if not isinstance(error, Unavailable):
            self._end(flight, error)
            return
        now_s = self._monotonic()
        flight.failed = True
        if flight.give_up_s is None:
            flight.give_up_s = now_s + self._patience_s
        if self._retry_s is None:
            # At once the first time; then not faster than brokers come back.
            self._retry_s = now_s + (RETRY_EVERY_S if flight.attempt > 1 else 0)

    @property
    def troubled(self) -> bool:
        """Whether appends failed, so that `recover` is due."""
        return self._retry_s is not None and self._retry_s <= self._monotonic()

    def recover(self) -> None:
        """Reads what landed after all, sends the rest again, or tells the callers to come back."""
        self._retry_s = None
        failed = [flight for flight in self._flying.values() if flight.failed]
        try:
            self._tail.follow()
        except ConsentLedgerError:
            self.abandon(Unavailable(_AWAY, 5), failed)
            return
        again = []
        for flight in failed:
            landed = self._positions(flight)
            if landed:
                self._landed(flight, min(landed))
            elif flight.give_up_s is not None and flight.give_up_s <= self._monotonic():
                self.abandon(Unavailable(_AWAY, 5), [flight])
            else:
                again.append(flight)
        self.launch(again)

    def abandon(self, error: ConsentLedgerError, flights: Sequence[Flight[Owner]]) -> None:
        """Ends these flights with this error; what lands of them later is found by reading."""
        for flight in flights:
            self._end(flight, error)
            self._given_up[flight.key] = None
        while len(self._given_up) > MAX_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]
        self.lost = self.lost or bool(flights)

    def _landed(self, flight: Flight[Owner], position: Position) -> None:
        self._tail.add(position, flight.value, flight.event)
        if self._flying.get(flight.key) is flight:
            self._end(flight, position)

    def _end(self, flight: Flight[Owner], outcome: Position | ConsentLedgerError) -> None:
        del self._flying[flight.key]
        self.sent_again -= flight.attempt > 1
        if flight.consent is not None and self._consents.get(flight.consent) is flight:
            del self._consents[flight.consent]
        self._land(flight, outcome)
