"""Appends to the log: hands records over at once, and answers each with its position or with `Unavailable`.

    with Producer("broker:9092", "ledger.events") as producer:
        futures = producer.append([Entry(3, "resident-1", b"...")])
        futures[0].result()           # Position(partition=3, offset=1041)

The deadline-and-replace rule. A Kafka client whose own delivery timeout runs out while a broker is frozen never
recovers, so the client waits for ever and the deadline is ours: when a record is not acknowledged `deadline_s` after it
was handed over, or is refused, everything that is pending fails with `Unavailable`, this client is given up by force,
and another takes its place as soon as a broker answers. Whether a record that failed so is in the log is unknown:
its owner sends the same event id again, and duplicates are dropped by id.

INVARIANT: the positions given to the entries of one partition rise in the order in which they were handed over. So
one failure fails all that is pending: a later entry must not overtake an earlier one through the next client.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from ledger.errors import ConsentLedgerError, LogError, TooLarge, Unavailable
from ledger.kafka import settings, topics
from ledger.kafka.errors import translate, translated
from ledger.log import Entry, Outcome, Position

MAX_VALUE_BYTES = settings.MAX_REQUEST_BYTES - settings.RECORD_OVERHEAD_BYTES
MAX_PENDING_BYTES = 64 * 1024 * 1024
WATCH_S = 0.25
FIRST_CONNECT_MS = 10_000
AGAIN_CONNECT_MS = 2_000  # also the longest that closing waits for a broker that is away
UNKNOWN_OUTCOME = "the log has not acknowledged it: whether it is there is unknown, so send it again with the same id"

Done = Callable[[Sequence[Outcome]], None]


class _Handover:
    """The entries of one call: what the client promised for each, until when, and whom to tell.

    The client answers a partition's records in their order, so only the last one of each partition is listened to: a
    callback for each record costs as much as sending it. What is found then is not taken on trust: every promise is
    looked at, and one that is still open, or was refused, is waited for or gives the client up.
    """

    __slots__ = ("answered", "client", "count", "deadline", "done", "lock", "promises", "size", "unheard")

    def __init__(self, client: "_Client", count: int, done: Done, size: int, deadline: float) -> None:
        self.client = client
        self.count = count
        self.done = done
        self.size = size
        self.deadline = deadline
        self.answered = False
        self.promises: list[Any] = []
        self.unheard = 0
        self.lock = threading.Lock()

    def listen(self, entries: Sequence[Entry]) -> None:
        last = {entry.partition: promise for entry, promise in zip(entries, self.promises, strict=True)}
        self._listen_to(list(last.values()))

    def _listen_to(self, promises: Sequence[Any]) -> None:
        self.unheard = len(promises)  # before the first callback, which may come at once
        for promise in promises:
            promise.add_callback(self._acknowledged)
            promise.add_errback(self._refused)

    def _acknowledged(self, _: Any) -> None:
        with self.lock:
            self.unheard -= 1
            if self.unheard:
                return
        for promise in self.promises:
            if not promise.is_done:
                self._listen_to([promise])
                return
            if promise.exception is not None:
                self._refused(promise.exception)
                return
        positions = [_position(promise) for promise in self.promises]
        if any(position.offset < 0 for position in positions):
            # A repeat that the broker no longer knows the place of: in the log, but nobody says where.
            self.client.give_up(Unavailable(UNKNOWN_OUTCOME))
        elif self.client.answered(self):
            self.done(positions)

    def _refused(self, error: BaseException) -> None:
        self.client.give_up(translate(error, "appending"))

    def fail(self, error: Unavailable) -> None:
        """What was acknowledged before keeps its position."""
        promises = list(self.promises)  # its thread may still be handing over
        outcomes: list[Outcome] = [_position(p) if _placed(p) else error for p in promises]
        self.done(outcomes + [error] * (self.count - len(outcomes)))


def _position(promise: Any) -> Position:
    metadata = promise.value
    return Position(metadata.partition, metadata.offset)


def _placed(promise: Any) -> bool:
    return promise.is_done and promise.exception is None and promise.value.offset >= 0


class _Client:
    """One Kafka client with what it has not answered yet. It is given up once, whole, and never used again."""

    def __init__(self, kafka: Any, topic: str) -> None:
        self.kafka = kafka
        self.pending_bytes = 0
        self.broken = threading.Event()
        self._topic = topic
        self._pending: deque[_Handover] = deque()
        self._lock = threading.Lock()
        self._one_sender = threading.Lock()  # the entries of two calls do not mix

    def send(self, entries: Sequence[Entry], done: Done, size: int, deadline: float) -> None:
        handover = _Handover(self, len(entries), done, size, deadline)
        # Not the lock of the answers: the client's thread needs that one while a `send` waits for metadata.
        with self._one_sender:
            with self._lock:
                taken = not self.broken.is_set()
                if taken:
                    self._pending.append(handover)
                    self.pending_bytes += size
            failure = self._hand_over(entries, handover.promises) if taken else None
        if not taken:
            handover.fail(Unavailable(UNKNOWN_OUTCOME))
        elif failure is not None:
            self.give_up(failure)
        else:
            handover.listen(entries)

    def _hand_over(self, entries: Sequence[Entry], promises: list[Any]) -> ConsentLedgerError | None:
        send, topic = self.kafka.send, self._topic
        try:
            for partition, key, value in entries:
                promises.append(send(topic, value, None if key is None else key.encode("utf-8"), None, partition))
        except (KafkaError, ValueError, AssertionError) as error:
            return translate(error, "appending")
        return None

    def answered(self, handover: _Handover) -> bool:
        """Takes a handover off what is pending; False when it has failed before."""
        with self._lock:
            if self.broken.is_set():
                return False
            handover.answered = True
            self.pending_bytes -= handover.size
            while self._pending and self._pending[0].answered:
                self._pending.popleft()
            return True

    def overdue(self) -> bool:
        with self._lock:
            return bool(self._pending) and self._pending[0].deadline < time.monotonic()

    def idle(self) -> bool:
        with self._lock:
            return not self._pending

    def give_up(self, error: ConsentLedgerError) -> None:
        with self._lock:
            if self.broken.is_set():
                return
            self.broken.set()
            pending = [handover for handover in self._pending if not handover.answered]
            self._pending.clear()
            self.pending_bytes = 0
        unknown = error if isinstance(error, Unavailable) else Unavailable(f"{UNKNOWN_OUTCOME} ({error})")
        for handover in pending:
            handover.fail(unknown)

    def abandon(self) -> None:
        """Stops the client's thread without waiting for brokers. What it holds must not arrive later than it must."""
        self.give_up(Unavailable(UNKNOWN_OUTCOME))
        # `close` alone would first flush, which is what hangs; there is no public way to say "now" (3.0.12).
        self.kafka._sender.force_close()
        with contextlib.suppress(KafkaError):
            self.kafka.close(timeout=2)


class Producer:
    """Appends to one topic, from any thread. A context manager: it has a thread that watches the deadline."""

    def __init__(
        self,
        bootstrap: str,
        topic: str = topics.EVENTS,
        *,
        linger_ms: int = 5,
        deadline_s: float = 20,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._settings = settings.producer(bootstrap, linger_ms=linger_ms, security=security)
        self._topic = topic
        self._deadline_s = deadline_s
        self._client: _Client | None = None
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._keep, name=f"append to {topic}", daemon=True)
        self.replaced = 0  # how many clients were given up: for the metrics

    def __enter__(self) -> "Producer":
        self._client = self._connect()
        self._watch.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(self, entries: Sequence[Entry]) -> list["Future[Position]"]:
        """Hands the entries over in order and returns at once. Raises `TooLarge` before handing any over.

        A future raises `Unavailable` when the entry was not acknowledged: it may or may not be in the log.
        """
        futures: list[Future[Position]] = [Future() for _ in entries]

        def done(outcomes: Sequence[Outcome]) -> None:
            for future, outcome in zip(futures, outcomes, strict=True):
                with contextlib.suppress(InvalidStateError):  # its owner has cancelled it
                    if isinstance(outcome, Position):
                        future.set_result(outcome)
                    else:
                        future.set_exception(outcome)

        self.append_group(entries, done)
        return futures

    def append_group(self, entries: Sequence[Entry], done: Done) -> None:
        """As `append`, with one answer for all. See `ledger.log.Log.append_group`."""
        size = sum([len(entry.value) for entry in entries])
        if size > MAX_VALUE_BYTES and any(len(entry.value) > MAX_VALUE_BYTES for entry in entries):
            raise TooLarge(f"a record may have {MAX_VALUE_BYTES} bytes")
        client = self._client
        if client is None or client.broken.is_set():
            done([Unavailable("the log cannot be reached; nothing was appended")] * len(entries))
        elif client.pending_bytes + size > MAX_PENDING_BYTES and not client.idle():
            done([Unavailable("the log is slower than what is sent to it; nothing was appended")] * len(entries))
        elif entries:
            client.send(entries, done, size, time.monotonic() + self._deadline_s)
        else:
            done([])

    def close(self, patience_s: float = 10) -> None:
        """Waits for what is pending, at most `patience_s`; what is left fails. A second time does nothing."""
        deadline = time.monotonic() + patience_s
        client = self._client
        while client is not None and not client.idle() and not client.broken.is_set() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._stopping.set()
        if self._watch.ident is not None:
            self._watch.join()
        client, self._client = self._client, None
        if client is not None:
            client.abandon()

    def _connect(self, timeout_ms: int = FIRST_CONNECT_MS) -> _Client:
        with translated(f"opening {self._topic}"):
            kafka = KafkaProducer(**self._settings | {"bootstrap_timeout_ms": timeout_ms})
            try:
                kafka.partitions_for(self._topic)
            except BaseException as error:
                _Client(kafka, self._topic).abandon()
                if isinstance(error, KafkaError):
                    raise LogError(
                        f"the topic {self._topic} does not answer on this broker ({type(error).__name__}): "
                        "make it, or check the address"
                    ) from error
                raise
        return _Client(kafka, self._topic)

    def _keep(self) -> None:
        """Gives up a client that is overdue or broken, and finds another, until closed."""
        while not self._stopping.wait(WATCH_S):
            client = self._client
            if client is not None:
                if client.overdue():
                    client.give_up(Unavailable(UNKNOWN_OUTCOME))
                if not client.broken.is_set():
                    continue
                self._client = None
                self.replaced += 1
                client.abandon()
            with contextlib.suppress(ConsentLedgerError):  # no broker yet: the next round tries again
                self._client = self._connect(AGAIN_CONNECT_MS)
