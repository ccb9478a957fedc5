"""The worker when servers go away, when another worker is ahead, and when a record cannot be read."""

import signal
import time
from collections.abc import Callable

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from ledger.errors import StaleWriter, UnreadableRecord
from ledger.kafka.log import KafkaLog
from ledger.log import Entry
from projections import rowwise, worker
from projections.datastore import Datastore
from projections.metrics import Metrics
from projections.projector import Projector
from projections.schema import Dsns
from tests.projected import (
    append,
    check_trees,
    following,
    history,
    many,
    new_schema,
    project,
    pure_verdicts,
    records,
    rows,
    schema_of,
    verdict_rows,
)
from tests.worker_process import started

PARTITIONS = 2


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(PARTITIONS)


@pytest.fixture
def log(make_log: Callable[..., KafkaLog], topic: str) -> KafkaLog:
    return make_log(topic=topic)


@pytest.fixture
def dsns(fresh_database: str) -> Dsns:
    return new_schema(fresh_database)


def test_a_record_that_cannot_be_read_stops_its_partition_and_no_other(
    kafka_address: str, log: KafkaLog, topic: str, dsns: Dsns
) -> None:
    before, after, other = history(1, 0)[:10], history(2, 0), history(3, 1)
    append(log, 0, before)
    log.append([Entry(0, None, b'{"type":"org.consent-ledger.from.the.future.v9"}')])[0].result(10)
    append(log, 0, after)
    append(log, 1, other)
    registry = CollectorRegistry()
    halted = worker.run(
        kafka_address,
        dsns.projector,
        schema_of(dsns),
        until={0: log.head(0), 1: log.head(1)},
        settings=worker.Settings(topic=topic),
        metrics=Metrics(registry),
    )
    assert list(halted) == [0]
    assert isinstance(halted[0], UnreadableRecord)
    assert halted[0].position == "0-10"
    assert rowwise.positions(dsns.owner) == {0: 10, 1: len(other)}
    with psycopg.connect(dsns.reader) as connection:
        [found] = connection.execute('SELECT "partition", "offset", code FROM halted').fetchall()
    assert found == (0, 10, halted[0].code)
    assert registry.get_sample_value("consent_ledger_projection_halted", {"partition": "0"}) == 1
    assert registry.get_sample_value("consent_ledger_projection_halted", {"partition": "1"}) == 0
    assert registry.get_sample_value("consent_ledger_projected_events_total", {"partition": "0"}) == 10
    assert verdict_rows(dsns, 1) == pure_verdicts(records(log, 1), 1)


def test_a_log_that_has_become_shorter_stops_its_partition(
    kafka_address: str,
    log: KafkaLog,
    topic: str,
    dsns: Dsns,
    make_topic: Callable[..., str],
    make_log: Callable[..., KafkaLog],
) -> None:
    append(log, 0, history(4, 0))
    append(log, 1, history(5, 1))
    project(kafka_address, topic, dsns, log)
    shorter_topic = make_topic(PARTITIONS)
    shorter = make_log(topic=shorter_topic)
    append(shorter, 0, history(4, 0)[:-1])
    append(shorter, 1, [*history(5, 1), *many(1, 6, 1)])
    halted = worker.run(
        kafka_address,
        dsns.projector,
        schema_of(dsns),
        until={0: log.head(0), 1: shorter.head(1)},
        settings=worker.Settings(topic=shorter_topic),
    )
    assert list(halted) == [0]
    assert rowwise.positions(dsns.owner)[1] == shorter.head(1)
    with psycopg.connect(dsns.reader) as connection:
        assert connection.execute("SELECT code FROM halted").fetchall() == [("missing-records",)]


def test_a_batch_that_does_not_begin_at_the_position_is_refused(log: KafkaLog, topic: str, dsns: Dsns) -> None:
    append(log, 0, history(7, 0))
    found = records(log, 0)
    with Datastore(dsns.projector, schema_of(dsns)) as datastore, psycopg.connect(dsns.owner) as connection:
        projector = Projector(datastore, 0)
        projector.open()
        projector.project(found[:40])
        judged = projector.judge(found[40:60])
        assert judged is not None
        connection.execute("UPDATE tracking SET notification_id = 41 WHERE application_name = 'ledger[0]'")
        connection.commit()
        with pytest.raises(StaleWriter):
            projector.write(judged)
        connection.execute("UPDATE tracking SET notification_id = 40 WHERE application_name = 'ledger[0]'")
        connection.commit()
        projector.forget()
        assert (projector.open(), projector.fenced) == (40, False)
        projector.project(found[40:])
    check_trees(dsns, {0: found})


def test_connections_cut_at_any_moment_lose_and_double_nothing(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str, dsns: Dsns
) -> None:
    for partition in range(PARTITIONS):
        append(log, partition, many(partition, 0, 12))
    heads = sum(log.head(p) for p in range(PARTITIONS))
    cut = 0
    with (
        following(kafka_address, topic, dsns, batch_events=40, first_wait_s=0.01, longest_wait_s=0.1) as progress,
        psycopg.connect(fresh_database, autocommit=True) as administrator,
    ):
        deadline_s = time.monotonic() + 90
        pause_s, before = 0.13, -1
        while (reached := sum(rowwise.positions(dsns.owner).values())) < heads:
            assert time.monotonic() < deadline_s
            if reached == before:  # a slow machine opens in more than that: it gets a little longer each time
                pause_s *= 1.1
            before = reached
            ended = administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'ledger_projector' AND datname = current_database()"
            ).fetchall()
            cut += len(ended)
            time.sleep(pause_s)
    assert cut > 3
    assert progress.retries > 0
    for partition in range(PARTITIONS):
        assert verdict_rows(dsns, partition) == pure_verdicts(records(log, partition), partition)
    check_trees(dsns, {p: records(log, p) for p in range(PARTITIONS)})


def test_sigterm_stops_the_worker_between_batches_and_it_goes_on_where_it_was(
    kafka_address: str, log: KafkaLog, topic: str, dsns: Dsns
) -> None:
    append(log, 0, many(0, 0, 20))
    with started(kafka_address, topic, dsns.projector, schema_of(dsns), batch_events=20) as process:
        deadline_s = time.monotonic() + 30
        while not rowwise.positions(dsns.owner).get(0):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert 0 < rowwise.positions(dsns.owner)[0] < log.head(0)
    project(kafka_address, topic, dsns, log)
    assert verdict_rows(dsns, 0) == pure_verdicts(records(log, 0), 0)


def test_what_was_projected_once_is_not_projected_again(
    kafka_address: str, log: KafkaLog, topic: str, dsns: Dsns
) -> None:
    append(log, 0, history(8, 0))
    project(kafka_address, topic, dsns, log)
    before = rows(dsns)
    for _ in range(2):
        with following(kafka_address, topic, dsns) as progress:
            assert progress.caught_up.wait(20)
        assert progress.events == 0
    assert rows(dsns) == before
