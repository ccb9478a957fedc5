"""A partition is written by whoever claimed it last: an older epoch writes nothing, wherever the position stands."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from ledger.errors import StaleWriter
from ledger.kafka.log import KafkaLog
from projections import assignments, rowwise, worker
from projections.assignments import Holder, holders
from projections.datastore import Datastore
from projections.metrics import Metrics
from projections.projector import Projector
from projections.schema import Dsns
from projections.statements import statements
from tests.projected import (
    append,
    check_trees,
    history,
    many,
    new_schema,
    pure_verdicts,
    records,
    rows,
    schema_of,
    verdict_rows,
)

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


@pytest.fixture
def opened(dsns: Dsns) -> Iterator[Callable[[], Datastore]]:
    with ExitStack() as exits:
        yield lambda: exits.enter_context(Datastore(dsns.projector, schema_of(dsns)))


def held(dsns: Dsns) -> dict[int, Holder]:
    with psycopg.connect(dsns.reader) as connection:
        return dict(holders(connection))


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 40) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


def test_an_older_epoch_writes_nothing_even_at_the_very_position(
    log: KafkaLog, dsns: Dsns, opened: Callable[[], Datastore]
) -> None:
    append(log, 0, history(7, 0))
    found = records(log, 0)
    registry = CollectorRegistry()
    first, second = Projector(opened(), 0, Metrics(registry)), Projector(opened(), 0)
    first.open()
    first.project(found[:40])
    judged = first.judge(found[40:])
    assert judged is not None
    second.claim()  # and writes nothing: the position stays where the first one knows it
    before = rows(dsns)
    with pytest.raises(StaleWriter):
        first.write(judged)
    with pytest.raises(StaleWriter):
        first.halt(StaleWriter("x"), 40, "missing-records")  # type: ignore[arg-type]
    first.unhalt()
    assert rows(dsns) == before
    assert registry.get_sample_value("consent_ledger_stale_writes_total", {"partition": "0"}) == 1
    first.forget()
    assert first.open() == 40
    assert first.fenced
    assert registry.get_sample_value("consent_ledger_partition_held", {"partition": "0"}) == 0
    assert second.open() == 40
    second.project(found[40:])
    assert verdict_rows(dsns, 0) == pure_verdicts(found, 0)
    check_trees(dsns, {0: found})


def test_a_claim_ends_the_transaction_of_a_writer_that_is_stopped_in_the_middle(
    log: KafkaLog, dsns: Dsns, opened: Callable[[], Datastore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignments, "PATIENCE_S", 0.2)
    append(log, 0, history(7, 0))
    stopped, second = Projector(opened(), 0), Projector(opened(), 0)
    stopped.open()
    stuck = psycopg.connect(dsns.projector)
    stuck.execute(statements("write")["lock position"], {"name": "ledger[0]", "partition": 0})
    with pytest.raises(psycopg.OperationalError), stuck.cursor().copy(statements("write")["copy withheld"]):
        # A COPY waits for its client without any limit: no timeout of the server ends it.
        second.open()
        assert second.position == 0
    stuck.close()
    second.project(records(log, 0))


def test_of_two_workers_started_for_the_same_partitions_the_later_one_goes_on_and_the_other_waits(
    kafka_address: str, log: KafkaLog, topic: str, dsns: Dsns
) -> None:
    registries = [CollectorRegistry(), CollectorRegistry()]
    progress = [worker.Progress(), worker.Progress()]
    stops = [threading.Event(), threading.Event()]
    settings = worker.Settings(topic=topic, poll_s=0.05, look_every_s=0.2)

    def run(number: int) -> threading.Thread:
        options = {
            "partitions": [0, 1],
            "settings": settings,
            "metrics": Metrics(registries[number]),
            "progress": progress[number],
            "stop": stops[number],
        }
        arguments = (kafka_address, dsns.projector, schema_of(dsns))
        thread = threading.Thread(target=worker.run, args=arguments, kwargs=options, daemon=True)
        thread.start()
        return thread

    def reached() -> bool:
        return all(rowwise.positions(dsns.owner).get(p) == log.head(p) for p in range(PARTITIONS))

    for partition in range(PARTITIONS):
        append(log, partition, many(partition, 0, 3))
    threads = [run(0)]
    wait_for(reached, "the first projects")
    threads.append(run(1))
    wait_for(lambda: progress[0].fenced == {0, 1}, "the first one notices")
    epochs = {p: holder.epoch for p, holder in held(dsns).items()}
    for partition in range(PARTITIONS):
        append(log, partition, many(partition, 3, 3))
    wait_for(reached, "the second projects")
    time.sleep(1.5)  # several looks
    assert {p: holder.epoch for p, holder in held(dsns).items()} == epochs == {0: 2, 1: 2}, "nobody fights back"
    assert progress[0].events and progress[1].events
    assert progress[1].fenced == frozenset()
    stops[1].set()
    threads[1].join(30)
    wait_for(lambda: not progress[0].fenced, "the first one goes on")
    for partition in range(PARTITIONS):
        append(log, partition, many(partition, 6, 3))
    wait_for(reached, "the first projects again")
    assert registries[0].get_sample_value("consent_ledger_partition_epoch", {"partition": "0"}) == 3
    stops[0].set()
    threads[0].join(30)
    assert all(holder.released for holder in held(dsns).values())
    for partition in range(PARTITIONS):
        assert verdict_rows(dsns, partition) == pure_verdicts(records(log, partition), partition)
    check_trees(dsns, {p: records(log, p) for p in range(PARTITIONS)})


def test_who_holds_a_partition_is_seen_with_the_reader_s_role(dsns: Dsns, opened: Callable[[], Datastore]) -> None:
    datastore = opened()
    projector = Projector(datastore, 1)
    projector.open()
    [(partition, holder)] = held(dsns).items()
    assert (partition, holder.epoch, holder.worker) == (1, 1, datastore.worker)
    assert (holder.alive, holder.released, holder.gone) == (True, False, False)
    datastore.close()
    wait_for(lambda: held(dsns)[1].gone, "its connections are gone")
    assert not held(dsns)[1].released
