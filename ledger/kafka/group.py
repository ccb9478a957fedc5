"""Hands out a topic's partitions among workers, and does nothing else: a Kafka consumer group without offsets.

Each worker joins; the group gives every partition to exactly one of them, and again when one comes or goes. Where to
read from is in PostgreSQL, and whether a worker may still write is settled there too: between the moment at which a
worker has lost a partition and the moment at which it hears of it, another may have begun.

    with Membership("broker:9092", "ledger.events", "ledger.project.live") as membership:
        while True:
            mine = membership.partitions()     # changes between calls, never during one
            ...
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition

from ledger.errors import LogError
from ledger.kafka import settings, topics
from ledger.kafka.errors import translated


class _Watcher(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Keeps what we are given paused: this consumer never fetches a record."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Nothing to keep: the position is not ours."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for partition in assigned:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)


class Membership:
    """One worker's place in the group. A context manager: leaving it gives the partitions to the others at once.

    A worker that dies without leaving is missed after `session_s`. Used by one thread, which calls `partitions` at
    least every five minutes.
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
            )
        self._topic = topic
        self._group = group
        try:
            with translated(f"joining {group}"):
                if not self._consumer.partitions_for_topic(topic):
                    raise LogError(f"the topic {topic} does not exist on this broker: make it, or check the address")
                self._consumer.subscribe([topic], listener=_Watcher(self._consumer))
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
