"""Hands out a topic's partitions among workers, and does nothing else: a Kafka consumer group without offsets.

Each worker joins; the group gives every partition to exactly one of them, and again when one comes or goes. Where to
read from is in PostgreSQL, and whether a worker may still write is settled there too: between the moment at which a
worker has lost a partition and the moment at which it hears of it, another may have begun.

    with Membership("broker:9092", "ledger.events", "ledger.project.live") as membership:
        while True:
            mine = membership.partitions()     # changes between calls, never during one
            membership.generation              # rises whenever they were given anew, be they the same
            ...

`committed` and `commit` keep a number beside each partition, with the group: the intake's reader (ledger.kafka.intake)
has its place there. A member that has lost the partition cannot commit.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError

from ledger.errors import GivenAnew, LogError
from ledger.kafka import settings, topics
from ledger.kafka.errors import translated

JOIN_LIMIT_S = 60.0
_ANSWER_MS = 10_000
_LOST = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class _Watcher(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Keeps what we are given paused: this consumer never fetches a record."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.generation = 0
        self.moving = True

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.moving = True

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.generation += 1
        self.moving = False
        for partition in assigned:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)


class Membership:
    """One worker's place in the group. A context manager: leaving it gives the partitions to the others at once.

    A worker that dies without leaving is missed after `session_s`; one that dies just when it joins, after
    `JOIN_LIMIT_S`, for so long the group waits for it. Used by one thread, which calls `partitions` more often.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str = topics.EVENTS,
        group: str = "ledger.project",
        *,
        session_s: float = 10,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        with translated(f"joining {group}"):
            self._consumer = KafkaConsumer(
                **settings.reader(bootstrap, security=security),
                group_id=group,
                session_timeout_ms=int(session_s * 1000),
                heartbeat_interval_ms=int(session_s * 1000 / 4),
                max_poll_interval_ms=int(JOIN_LIMIT_S * 1000),
            )
        self._topic = topic
        self._group = group
        self._watcher = _Watcher(self._consumer)
        try:
            with translated(f"joining {group}"):
                if not self._consumer.partitions_for_topic(topic):
                    raise LogError(f"the topic {topic} does not exist on this broker: make it, or check the address")
                self._consumer.subscribe([topic], listener=self._watcher)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Membership":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the group; a second time does nothing."""
        self._consumer.close(autocommit=False)

    def partitions(self, wait_s: float = 0) -> frozenset[int]:
        """The partitions that are ours now, waiting up to `wait_s` for a change that is under way."""
        with translated(f"being in {self._group}"):
            self._consumer.poll(timeout_ms=int(wait_s * 1000))
            return frozenset(partition.partition for partition in self._consumer.assignment())

    @property
    def generation(self) -> int:
        """How many times we were given partitions."""
        return self._watcher.generation

    @property
    def at_rest(self) -> bool:
        """Whether what `partitions` said last holds: the group is not giving them out just now.

        It takes calls of `partitions` that wait to come to rest: while it joins, the client sends no heartbeats, and
        its answer is taken in by such a call alone (3.0.12). Who never waits is missed, and joins for ever.
        """
        return not self._watcher.moving

    def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        """What the group last committed of each of these partitions; nothing for one of which it never did."""
        with translated(f"asking what {self._group} has committed"):
            places = [TopicPartition(self._topic, p) for p in partitions]
            found = {at.partition: self._consumer.committed(at, timeout_ms=_ANSWER_MS) for at in places}
        return {p: int(offset) for p, offset in found.items() if offset is not None and offset >= 0}

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Keeps these offsets with the group. Raises `GivenAnew` when we are no longer given all of them."""
        said = {TopicPartition(self._topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
        try:
            with translated(f"committing to {self._group}"):
                self._consumer.commit(said, timeout_ms=_ANSWER_MS)
        except LogError as error:
            if isinstance(error.__cause__, _LOST):
                raise GivenAnew(f"{self._group} has given the partitions out anew") from None
            raise
