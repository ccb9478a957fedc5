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
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from ledger.errors import ConsentLedgerError, LogError, TooLarge, Unavailable
from ledger.kafka import settings, topics
from ledger.kafka.errors import translate, translated
from ledger.log import Entry, Position

MAX_VALUE_BYTES = settings.MAX_REQUEST_BYTES - settings.RECORD_OVERHEAD_BYTES
MAX_PENDING_BYTES = 64 * 1024 * 1024
WATCH_S = 0.25
FIRST_CONNECT_MS = 10_000
AGAIN_CONNECT_MS = 2_000  # also the longest that closing waits for a broker that is away
UNKNOWN_OUTCOME = "the log has not acknowledged it: whether it is there is unknown, so send it again with the same id"


class _Handover:
    """The entries of one `append`: how many are still unanswered, and until when they may be."""

    __slots__ = ("client", "deadline", "futures", "remaining", "size")

    def __init__(self, client: "_Client", futures: list["Future[Position]"], size: int, deadline: float) -> None:
        self.client = client
        self.futures = futures
        self.remaining = len(futures)
        self.size = size
        self.deadline = deadline


class _Answer:
    """What the client calls when one record is acknowledged or refused."""

    __slots__ = ("future", "handover")

    def __init__(self, handover: _Handover, future: "Future[Position]") -> None:
        self.handover = handover
        self.future = future

    def acknowledged(self, metadata: Any) -> None:
        # One that failed at the deadline, or that its owner has cancelled, keeps that answer.
        with contextlib.suppress(InvalidStateError):
            self.future.set_result(Position(metadata.partition, metadata.offset))
        self.handover.client.answered(self.handover)

    def refused(self, error: BaseException) -> None:
        self.handover.client.give_up(translate(error, "appending"))


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

    def send(self, entries: Sequence[Entry], futures: list["Future[Position]"], size: int, deadline: float) -> None:
        handover = _Handover(self, futures, size, deadline)
        # Not the lock of the answers: the client's thread needs that one while a `send` waits for metadata.
        with self._one_sender:
            with self._lock:
                if not self.broken.is_set():
                    self._pending.append(handover)
                    self.pending_bytes += size
            if self.broken.is_set():
                _fail(futures, Unavailable(UNKNOWN_OUTCOME))
                return
            failure: ConsentLedgerError | None = None
            try:
                sent = [
                    self.kafka.send(
                        self._topic,
                        value=entry.value,
                        key=None if entry.key is None else entry.key.encode("utf-8"),
                        partition=entry.partition,
                    )
                    for entry in entries
                ]
            except (KafkaError, ValueError, AssertionError) as error:
                failure = translate(error, "appending")
        if failure is not None:
            self.give_up(failure)
            return
        for future, promise in zip(futures, sent, strict=True):
            answer = _Answer(handover, future)
            promise.add_callback(answer.acknowledged)
            promise.add_errback(answer.refused)

    def answered(self, handover: _Handover) -> None:
        with self._lock:
            handover.remaining -= 1
            if handover.remaining == 0:
                self.pending_bytes -= handover.size
                while self._pending and self._pending[0].remaining == 0:
                    self._pending.popleft()

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
            pending = list(self._pending)
            self._pending.clear()
            self.pending_bytes = 0
        unknown = error if isinstance(error, Unavailable) else Unavailable(f"{UNKNOWN_OUTCOME} ({error})")
        for handover in pending:
            _fail(handover.futures, unknown)

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
        size = 0
        for entry in entries:
            if len(entry.value) > MAX_VALUE_BYTES:
                raise TooLarge(f"a record may have {MAX_VALUE_BYTES} bytes")
            size += len(entry.value)
        futures: list[Future[Position]] = [Future() for _ in entries]
        client = self._client
        if not entries:
            return futures
        if client is None or client.broken.is_set():
            _fail(futures, Unavailable("the log cannot be reached; nothing was appended"))
        elif client.pending_bytes + size > MAX_PENDING_BYTES and not client.idle():
            _fail(futures, Unavailable("the log is slower than what is sent to it; nothing was appended"))
        else:
            client.send(entries, futures, size, time.monotonic() + self._deadline_s)
        return futures

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


def _fail(futures: Sequence["Future[Position]"], error: Unavailable) -> None:
    for future in futures:
        with contextlib.suppress(InvalidStateError):
            future.set_exception(error)
