"""A topic full of records, by the raw producer, and the bare poll loop over it: the limits of writing and of reading.

    filled = fill(bootstrap, topic, workload.records(1_000, 50_000))
    filled.heads, filled.records, filled.seconds

Both use the kafka-python client itself with the ledger's own client settings (ledger.kafka.settings).
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.servers import PARTITIONS
from ledger.garbage import calm_collector
from ledger.kafka import settings

_PENDING = 50_000


class Filled(NamedTuple):
    """A topic with records: the next offset of each partition, how many records, and how long it took to write them."""

    topic: str
    heads: dict[int, int]
    records: int
    seconds: float


def fill(bootstrap: str, topic: str, records: Iterable[tuple[str | None, bytes]]) -> Filled:
    """Appends records by (subject, value), reference facts to every partition; returns when all are acknowledged.

    The partition of a record is the client's own choice by its key, which is the ledger's too.
    """
    producer = KafkaProducer(**settings.producer(bootstrap))
    heads: dict[int, int] = {}
    count = 0
    try:
        started = time.perf_counter()
        pending: list[Any] = []
        for subject, value in records:
            if subject is None:
                pending += [producer.send(topic, value=value, partition=place) for place in range(PARTITIONS)]
            else:
                pending.append(producer.send(topic, key=subject.encode(), value=value))
            if len(pending) >= _PENDING:
                count += _acknowledged(pending, heads)
        count += _acknowledged(pending, heads)
        return Filled(topic, heads, count, time.perf_counter() - started)
    finally:
        producer.close()


def _acknowledged(pending: list[Any], heads: dict[int, int]) -> int:
    for future in pending:
        metadata = future.get(timeout=120)
        heads[metadata.partition] = max(heads.get(metadata.partition, 0), metadata.offset + 1)
    count = len(pending)
    pending.clear()
    return count


def poll_s(bootstrap: str, filled: Filled) -> float:
    """Seconds that a bare poll loop takes for the whole topic: records in memory, nothing done with them."""
    consumer = KafkaConsumer(**settings.reader(bootstrap))
    try:
        _seek_to_start(consumer, filled.topic, filled.heads)
        left = filled.records
        with calm_collector():
            started = time.perf_counter()
            while left > 0:
                left -= sum(len(records) for records in consumer.poll(timeout_ms=500).values())
            return time.perf_counter() - started
    finally:
        consumer.close(autocommit=False)


def _seek_to_start(consumer: Any, topic: str, heads: Mapping[int, int]) -> None:
    places = [TopicPartition(topic, partition) for partition in heads]
    consumer.assign(places)
    consumer.end_offsets(places)  # connected before the clock runs, as a worker's reader is
    for place in places:
        consumer.seek(place, 0)
