"""Reference facts, to every partition: partition 0 first, then the same bytes to the others in its order.

One writer at a time holds a lock. A broadcast that a crash cut short leaves partitions without a fact that partition
0 has; it is completed when a recorder starts, and before the next broadcast, so every partition has them in the same
order. The position that callers get is partition 0's.

    broadcast = Broadcast(log, tail, lock, monotonic=time.monotonic, pause=time.sleep)
    broadcast.complete()                              # at start
    broadcast.send(event, found, now_us, "office")    # Recorded(line, new=True)
"""

from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout

from ledger import codec
from ledger.errors import ConsentLedgerError, LogError, Unavailable
from ledger.events import Event
from ledger.log import Entry, Log, Position
from ledger.recording.flights import PATIENCE_S, RETRY_EVERY_S
from ledger.recording.record import ExclusiveLock, Known, Recorded, check_policy, check_time, recorded, repeat_of, stamp
from ledger.recording.tail import Tail

_ACK_GUARD_S = 120.0
"""Longer than any log adapter's own deadline: a future without an answer by then is a fault."""


class Broadcast:
    """Sends reference facts. Belongs to the recorder's thread."""

    def __init__(
        self,
        log: Log,
        tail: Tail,
        lock: ExclusiveLock,
        *,
        monotonic: Callable[[], float],
        pause: Callable[[float], object],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._log = log
        self._tail = tail
        self._lock = lock
        self._monotonic = monotonic
        self._pause = pause
        self._patience_s = patience_s
        self._began = False

    def complete(self) -> None:
        """Completes broadcasts that were cut short; takes the lock only when there are any."""
        if next(self._tail.missing_references(), None) is not None:
            with self._lock.hold():
                self._complete()

    def send(self, event: Event, found: Sequence[Known], now_us: int, client_id: str) -> Recorded:
        """Records a reference fact everywhere; `found` is what the views know under its (`source`, `id`).

        Raises `Conflict`, `Malformed`, or `Unavailable` when the broker or the lock is away: sending the same event
        again then completes what was begun.
        """
        stamped = stamp(event, now_us, client_id)
        value = codec.encode(stamped)
        give_up_s: float | None = None
        self._began = False
        while True:
            try:
                with self._lock.hold():
                    return self._send(event, stamped, value, found, now_us)
            except Unavailable:
                give_up_s = give_up_s or self._monotonic() + self._patience_s
                if self._tail.stopped or self._monotonic() >= give_up_s:
                    raise
            self._pause(RETRY_EVERY_S)

    def _send(self, event: Event, stamped: Event, value: bytes, found: Sequence[Known], now_us: int) -> Recorded:
        self._complete()
        key = (event.source, event.id)
        known = [*found, *self._tail.find(key)]
        repeat = repeat_of(event, known)
        if repeat is not None:
            # Our own bytes from an attempt whose acknowledgement did not come: this call put them there.
            mine = self._began and any(k.value == value and k.position == repeat.line.position for k in known)
            return repeat._replace(new=mine)
        check_time(event, now_us)
        check_policy(event, now_us, self._tail.policy_ids())
        self._began = True
        first = self._append([0], value, stamped)[0]
        self._append(range(1, self._log.partitions), value, stamped)
        return recorded(Known(first, value), new=True)

    def _complete(self) -> None:
        self._tail.follow()
        if self._tail.stopped:
            stopped = min(self._tail.stopped)
            raise Unavailable(str(self._tail.stopped[stopped]), 30)
        for partition, value, _ in list(self._tail.missing_references()):
            self._append([partition], value, codec.read(value))

    def _append(self, partitions: Sequence[int], value: bytes, event: Event) -> list[Position]:
        """Appends the same bytes to these partitions and waits for every acknowledgement."""
        positions: list[Position] = []
        try:
            futures = self._log.append([Entry(p, None, value) for p in partitions])
            # One at a time, so that those before a failure count.
            positions.extend(future.result(_ACK_GUARD_S) for future in futures)
        except FutureTimeout:
            raise LogError("the log neither acknowledges nor refuses a record") from None
        except ConsentLedgerError:
            raise
        except Exception as error:
            raise LogError(f"the log refused a record ({type(error).__name__})") from None
        finally:
            for position in positions:
                self._tail.add(position, value, event)
        return positions
