"""What a group of appends is answered, in whatever order the Kafka client answers: its own futures, no broker."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from kafka.errors import InvalidTopicError, KafkaError
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata
from kafka.structs import TopicPartition

from ledger.errors import Unavailable
from ledger.kafka.producer import _Client
from ledger.log import Entry, Outcome, Position

ENTRIES = [Entry(partition, None, b"x") for partition in (0, 0, 1, 0, 1)]


class Promises:
    """Stands for the library's sending thread: it promises by the library's futures, and answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[FutureProduceResult] = []

    def send(self, topic: str, value: bytes, key: Any, headers: Any, partition: int) -> FutureRecordMetadata:
        """Each record is a batch of its own."""
        batch = FutureProduceResult(TopicPartition(topic, partition))
        self.batches.append(batch)
        return FutureRecordMetadata(batch, 0, None, None, -1, len(value), -1)

    def acknowledge(self, index: int, offset: int) -> None:
        self.batches[index].success((offset, -1, None))

    def refuse(self, index: int, error: KafkaError) -> None:
        self.batches[index].success((-1, -1, lambda _: error))


@pytest.fixture
def promises() -> Promises:
    return Promises()


@pytest.fixture
def client(promises: Promises) -> _Client:
    return _Client(promises, "t")


def handed_over(client: _Client) -> list[Sequence[Outcome]]:
    answers: list[Sequence[Outcome]] = []
    client.send(ENTRIES, answers.append, len(ENTRIES), time.monotonic() + 60)
    return answers


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (3, 4, 0, 1, 2), (3, 0, 4, 2, 1)])
def test_a_group_is_answered_once_when_all_its_records_are_whatever_their_order(
    client: _Client, promises: Promises, order: Sequence[int]
) -> None:
    answers = handed_over(client)
    for index in order:
        assert (answers, client.idle()) == ([], False)
        promises.acknowledge(index, 10 + index)
    assert answers == [[Position(entry.partition, 10 + index) for index, entry in enumerate(ENTRIES)]]
    assert (client.idle(), client.pending_bytes, client.broken.is_set()) == (True, 0, False)


def test_a_record_refused_before_the_last_of_its_partition_gives_the_client_up(
    client: _Client, promises: Promises
) -> None:
    answers, others = handed_over(client), handed_over(client)
    promises.refuse(1, InvalidTopicError())
    for index in (0, 2, 3, 4):
        promises.acknowledge(index, 10 + index)
    [outcomes], [unknown] = answers, others
    assert [outcome for outcome in outcomes if isinstance(outcome, Position)] == [
        Position(0, 10),
        Position(1, 12),
        Position(0, 13),
        Position(1, 14),
    ]
    assert isinstance(outcomes[1], Unavailable)
    assert [type(outcome) for outcome in unknown] == [Unavailable] * len(ENTRIES)
    assert client.broken.is_set()


def test_what_comes_after_the_client_was_given_up_changes_no_answer(client: _Client, promises: Promises) -> None:
    answers = handed_over(client)
    promises.acknowledge(0, 10)
    client.give_up(Unavailable("late"))
    for index in range(1, len(ENTRIES)):
        promises.acknowledge(index, 10 + index)
    [outcomes] = answers
    assert outcomes[0] == Position(0, 10)
    assert [type(outcome) for outcome in outcomes[1:]] == [Unavailable] * 4


def test_a_record_whose_place_the_broker_does_not_know_is_not_given_one(client: _Client, promises: Promises) -> None:
    answers = handed_over(client)
    for index in range(len(ENTRIES)):
        promises.acknowledge(index, -1 if index == 2 else 10 + index)
    [outcomes] = answers
    assert isinstance(outcomes[2], Unavailable)
    assert [outcome for outcome in outcomes if isinstance(outcome, Position) and outcome.offset < 0] == []
