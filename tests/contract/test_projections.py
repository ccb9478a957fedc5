"""What the views promise: rows equal the pure judge's, whatever the batches, the order and the repeats."""

import os
import random
from collections.abc import Callable

import psycopg
import pytest

from ledger import codec
from ledger.kafka.log import KafkaLog
from projections import schema
from tests.projected import (
    append,
    counting,
    history,
    new_schema,
    project,
    pure_verdicts,
    records,
    rows,
    schema_of,
    verdict_rows,
)

MakeTopic = Callable[..., str]
MakeLog = Callable[..., KafkaLog]
PARTITIONS = 6
RESIDENTS = 10
HISTORIES = int(os.environ.get("CONSENT_LEDGER_HISTORIES", "300"))


@pytest.fixture
def topic(make_topic: MakeTopic) -> str:
    return make_topic(PARTITIONS)


@pytest.fixture
def log(make_log: MakeLog, topic: str) -> KafkaLog:
    return make_log(topic=topic)


def test_rows_are_the_same_in_batches_of_1_7_and_1000_and_equal_the_pure_judge(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    for partition in range(PARTITIONS):
        append(log, partition, history(partition, partition))
    built = []
    for batch_events, facts_in_memory in ((1, 60), (7, 400_000), (1_000, 60)):
        dsns = new_schema(fresh_database)
        halted = project(kafka_address, topic, dsns, log, batch_events=batch_events, facts_in_memory=facts_in_memory)
        assert halted == {}
        built.append(rows(dsns))
        for partition in range(PARTITIONS):
            assert verdict_rows(dsns, partition) == pure_verdicts(records(log, partition), partition)
    assert built[0] == built[1] == built[2]


@pytest.mark.timeout(7200)
def test_stored_verdicts_equal_the_pure_judge_known_at_random_positions(
    kafka_address: str, fresh_database: str, make_log: MakeLog, make_topic: MakeTopic
) -> None:
    """A history is a resident; `CONSENT_LEDGER_HISTORIES` says how many, as for the two judges."""
    dice = random.Random(7)
    residents = 0
    while residents < HISTORIES:
        topic = make_topic(PARTITIONS)
        log = make_log(topic=topic)
        for partition in range(PARTITIONS):
            append(log, partition, history(1_000 + residents, partition, RESIDENTS))
            residents += RESIDENTS
        dsns = new_schema(fresh_database)
        batch_events, facts_in_memory = dice.choice((23, 100, 1_000)), dice.choice((100, 400_000))
        project(kafka_address, topic, dsns, log, batch_events=batch_events, facts_in_memory=facts_in_memory)
        for partition in range(PARTITIONS):
            found = records(log, partition)
            stored = verdict_rows(dsns, partition)
            assert stored == pure_verdicts(found, partition), "with every span"
            known_at = dice.randrange(len(found))
            then = {
                (offset, *answer)
                for offset, known_from, known_until, *answer in stored
                if known_from <= known_at and (known_until is None or known_at < known_until)
            }
            pure = pure_verdicts(found, partition, known_at)
            assert then == {(offset, *answer) for offset, _, known_until, *answer in pure if known_until is None}
        schema.drop(dsns.owner, schema_of(dsns))
        log.close()


def test_the_timeline_holds_every_record_that_counts_with_its_bytes_and_repeats_apart(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    events = history(1, 0)
    append(log, 0, events)
    append(log, 0, events)  # the whole batch again
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log, batch_events=40)
    found = records(log, 0)
    bodies = {record.position.offset: record.value for record in found}
    with psycopg.connect(dsns.owner) as connection:
        timeline = connection.execute('SELECT "offset", body FROM timeline').fetchall()
        repeats = connection.execute('SELECT "offset", first_offset, conflict, body FROM repeats').fetchall()
    assert {offset: body.encode() for offset, body in timeline} == {o: bodies[o] for o, _ in counting(found)}
    assert {offset for offset, *_ in repeats} == bodies.keys() - {offset for offset, _ in timeline}
    for offset, first_offset, conflict, body in repeats:
        assert body.encode() == bodies[offset]
        same = codec.same_content(codec.read(bodies[offset]), codec.read(bodies[first_offset]))
        assert conflict is not same
    assert verdict_rows(dsns, 0) == pure_verdicts(found, 0)
