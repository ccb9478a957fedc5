"""What a rebuild promises: the same rows whatever memory it has and whoever does it; it goes on; it touches no more."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing

import orjson
import psycopg
import pytest

from ledger.errors import ConfigurationError, LogError, Unavailable
from ledger.kafka.log import KafkaLog
from ledger.log import Entry
from projections import schema
from projections.building import Building
from projections.reach import Reach
from projections.rebuilds import REPLAY, Purpose, rebuilds, unfinished
from projections.schema import Dsns
from replay.build import Order
from replay.processes import Processes
from replay.rebuild import Rebuilt, rebuild
from tests.contract.test_projections_schema import catalogue
from tests.projected import (
    append,
    check_trees,
    history,
    many,
    new_schema,
    project,
    pure_verdicts,
    records,
    rows,
    verdict_rows,
)
from tests.replaying import beside, replayed

PARTITIONS = 3


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(PARTITIONS)


@pytest.fixture
def log(make_log: Callable[..., KafkaLog], topic: str) -> KafkaLog:
    """Histories with late facts, repeats and rules in the middle, and residents that come back again and again."""
    opened = make_log(topic=topic)
    for partition in range(PARTITIONS):
        for seed in range(4):
            append(opened, partition, history(700 + 10 * partition + seed, partition))
        append(opened, partition, many(partition, 0, 4))
    return opened


@pytest.fixture
def live(kafka_address: str, fresh_database: str, log: KafkaLog, topic: str) -> Dsns:
    dsns = new_schema(fresh_database, "live")
    assert project(kafka_address, topic, dsns, log, batch_events=60) == {}
    return dsns


def heads(log: KafkaLog) -> dict[int, int]:
    return {p: log.head(p) for p in range(PARTITIONS)}


@pytest.mark.parametrize(
    ("places_bytes", "facts_in_memory", "batch_events"),
    [(80_000_000, 200_000, 40), (80_000_000, 1, 7), (60_000, 20, 25), (0, 200_000, 50)],
    ids=["all in memory", "facts loaded again and again", "memory given up in the middle", "by index from the start"],
)
def test_rows_are_those_of_the_live_views_and_of_the_pure_fold_whatever_memory_there_is(
    kafka_address: str,
    live: Dsns,
    log: KafkaLog,
    topic: str,
    places_bytes: int,
    facts_in_memory: int,
    batch_events: int,
) -> None:
    rebuilt = rebuild(
        kafka_address,
        live.owner,
        live.projector,
        topic=topic,
        places_bytes=places_bytes,
        facts_in_memory=facts_in_memory,
        batch_events=batch_events,
    )
    made = beside(live, rebuilt.schema)
    assert rebuilt.complete
    assert rows(made) == rows(live)
    logged = {p: records(log, p) for p in range(PARTITIONS)}
    for partition, found in logged.items():
        assert verdict_rows(made, partition) == pure_verdicts(found, partition)
    check_trees(made, logged)
    for one, other in zip(catalogue(live), catalogue(made), strict=True):
        assert one == other, "a finished rebuild has the tables, indexes, policies and grants of a live schema"


@pytest.mark.timeout(400)
def test_rows_are_the_same_under_any_hash_seed_with_one_or_two_workers(
    kafka_address: str, live: Dsns, log: KafkaLog, topic: str
) -> None:
    for hash_seed, workers in ((0, 2), (1, 1), (4_294_967_295, 2)):
        done = replayed(kafka_address, topic, live.owner, "--workers", workers, "--json", hash_seed=hash_seed)
        assert (done.returncode, done.stderr) == (0, b"")
        said = orjson.loads(done.stdout)
        assert (said["events"], said["complete"]) == (sum(heads(log).values()), True)
        assert rows(beside(live, said["schema"])) == rows(live)


def test_until_ends_just_behind_a_record_and_the_others_go_to_their_end(
    kafka_address: str, live: Dsns, log: KafkaLog, topic: str
) -> None:
    done = replayed(kafka_address, topic, live.owner, "--until", "1-20", "--until", "2-0", "--json", "--workers", 1)
    assert done.returncode == 0
    said = orjson.loads(done.stdout)
    assert said["through"] == {"0": log.head(0), "1": 21, "2": 1}
    made = beside(live, said["schema"])
    assert verdict_rows(made, 1) == pure_verdicts(records(log, 1), 1, known_at=20)
    with psycopg.connect(made.owner) as connection:
        assert connection.execute('SELECT max("offset") FROM timeline WHERE "partition" = 1').fetchone() == (20,)


def test_a_rebuild_that_was_stopped_goes_on_where_it_was(
    kafka_address: str, live: Dsns, log: KafkaLog, topic: str
) -> None:
    stopped = _stopped(kafka_address, live, topic, after=40)
    assert not stopped.complete
    assert 40 <= stopped.events < sum(heads(log).values())
    purpose = Purpose(topic, None, REPLAY)
    assert unfinished(live.owner, purpose) == stopped.schema
    assert unfinished(live.owner, Purpose(topic, {0: 5}, REPLAY)) is None
    with closing(Reach(schema.at_schema(live.owner, stopped.schema))) as reach:
        assert reach.records() == stopped.events
    ended = rebuild(kafka_address, live.owner, live.projector, topic=topic, schema=stopped.schema, workers=2)
    assert ended.complete
    assert ended.events == sum(heads(log).values())
    assert rows(beside(live, ended.schema)) == rows(live)
    assert unfinished(live.owner, purpose) is None


@pytest.mark.timeout(400)
def test_a_rebuild_whose_connections_are_all_cut_goes_on_by_itself(
    kafka_address: str, fresh_database: str, live: Dsns, log: KafkaLog, topic: str
) -> None:
    found: list[Rebuilt] = []

    def work() -> None:
        options = {"topic": topic, "schema": "cut", "batch_events": 20}
        found.append(rebuild(kafka_address, live.owner, live.projector, **options))  # type: ignore[arg-type]

    thread = threading.Thread(target=work)
    thread.start()
    for after in (20, 200):
        _wait_for_records(live, "cut", after)
        with psycopg.connect(fresh_database, autocommit=True) as superuser:
            superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    thread.join(300)
    assert [rebuilt.complete for rebuilt in found] == [True]
    assert rows(beside(live, "cut")) == rows(live)


def _stopped(address: str, live: Dsns, topic: str, after: int) -> Rebuilt:
    """A rebuild by this process that is stopped behind a batch."""
    stop = threading.Event()
    found: list[Rebuilt] = []

    def work() -> None:
        options = {"topic": topic, "schema": "begun", "batch_events": 5, "stop": stop}
        found.append(rebuild(address, live.owner, live.projector, **options))  # type: ignore[arg-type]

    thread = threading.Thread(target=work)
    thread.start()
    _wait_for_records(live, "begun", after)
    stop.set()
    thread.join(30)
    return found[0]


def _wait_for_records(live: Dsns, name: str, count: int) -> None:
    deadline_s = time.monotonic() + 60
    with psycopg.connect(live.owner, autocommit=True) as connection:
        while True:
            assert time.monotonic() < deadline_s, "the rebuild gets somewhere"
            if connection.execute("SELECT to_regclass(%s)", (f"{name}.trees",)).fetchone() != (None,):
                statement = psycopg.sql.SQL("SELECT coalesce(sum(size), 0) FROM {}.trees")
                row = connection.execute(statement.format(psycopg.sql.Identifier(name))).fetchone()
                if row is not None and row[0] >= count:
                    return
            time.sleep(0.005)


def test_a_process_that_is_killed_is_noticed_and_the_next_run_goes_on(
    kafka_address: str, live: Dsns, log: KafkaLog, topic: str
) -> None:
    building = Building(live.owner, "killed")
    building.create(Purpose(topic, None, REPLAY))
    order = Order(kafka_address, topic, live.owner, live.projector, "killed", heads(log), 2, batch_events=3)
    with pytest.raises(Unavailable, match="signal 9"), Processes(order, 2) as processes:
        _wait_for_records(live, "killed", 10)
        os.kill(processes.pids[0], signal.SIGKILL)
        while processes.running():
            time.sleep(0.01)
    ended = rebuild(kafka_address, live.owner, live.projector, topic=topic, schema="killed")
    assert ended.complete
    assert rows(beside(live, "killed")) == rows(live)


def test_one_replay_at_a_time_works_on_a_schema(kafka_address: str, live: Dsns, topic: str) -> None:
    building = Building(live.owner, "busy")
    with building.alone():
        building.create(Purpose(topic, None, REPLAY))
        with pytest.raises(Unavailable, match="another replay is at work"):
            rebuild(kafka_address, live.owner, live.projector, topic=topic, schema="busy")
    assert rebuild(kafka_address, live.owner, live.projector, topic=topic, schema="busy").complete


def test_what_cannot_be_rebuilt_is_refused(kafka_address: str, live: Dsns, log: KafkaLog, topic: str) -> None:
    def begin(name: str, until: dict[int, int] | None = None) -> Rebuilt:
        return rebuild(kafka_address, live.owner, live.projector, topic=topic, schema=name, until=until)

    with pytest.raises(ConfigurationError, match="no partition 7"):
        begin("refused", {7: 1})
    with pytest.raises(LogError, match="ends before"):
        begin("refused", {0: log.head(0) + 1})
    with pytest.raises(ConfigurationError, match="no rebuild"):
        begin("live")
    Building(live.owner, "other").create(Purpose("another.topic", None, REPLAY))
    with pytest.raises(ConfigurationError, match="other records"):
        begin("other")
    Building(live.owner, "ended").create(Purpose(topic, {0: 3}, REPLAY))
    with pytest.raises(ConfigurationError, match="other records"):
        begin("ended")
    assert not schema.exists(live.owner, "refused")


def test_a_record_that_cannot_be_read_halts_the_rebuild_and_not_the_live_views(
    kafka_address: str, live: Dsns, log: KafkaLog, topic: str
) -> None:
    bad = log.append([Entry(1, None, b"{")])[0].result(timeout=30)
    before, end = rows(live), heads(log)
    for workers in (1, 2):
        halted = rebuild(kafka_address, live.owner, live.projector, topic=topic, workers=workers)
        assert not halted.complete
        assert [(p, str(bad) in str(error)) for p, error in halted.halted.items()] == [(1, True)]
        assert not rebuilds(live.owner)[halted.schema].complete
    assert rows(live) == before
    assert heads(log) == end, "nothing is appended"
    with psycopg.connect(live.owner) as connection:
        assert connection.execute("SELECT count(*) FROM halted").fetchone() == (0,)
