"""What the stored trees promise: they are the trees of the log's records, and every proof made from them verifies."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import psycopg
import pytest
from kafka import KafkaProducer

from ledger import codec
from ledger.errors import ProjectionError, TreeMismatch, UnreadableRecord
from ledger.kafka.log import KafkaLog
from ledger.log import Entry, LogRecord, Position
from ledger.tree.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.tree.proving import prove_consistency, prove_inclusions
from ledger.tree.tiles import TileTree
from projections import worker
from projections.datastore import Datastore
from projections.projector import Projector
from projections.rowwise import VIEWS, Snapshot, positions
from projections.schema import Dsns
from projections.tlog import Trees
from replay.compare import compare_view
from tests.projected import (
    append,
    check_tree,
    check_trees,
    following,
    history,
    many,
    new_schema,
    project,
    records,
    rows,
    schema_of,
)
from tests.reference.tree import Tree

PARTITIONS = 2
TABLES = ("trees", "leaf_runs", "tiles")


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(PARTITIONS)


@pytest.fixture
def log(make_log: Callable[..., KafkaLog], topic: str) -> KafkaLog:
    return make_log(topic=topic)


@pytest.fixture
def dsns(fresh_database: str) -> Dsns:
    return new_schema(fresh_database)


def fill(log: KafkaLog) -> dict[int, list[LogRecord]]:
    """Several hundred records a partition, with repeats, so that trees have full and partial tiles."""
    for partition in range(PARTITIONS):
        events = many(partition, 0, 10 if partition else 6)
        append(log, partition, events)
        append(log, partition, events[3:200:7])
    return {p: records(log, p) for p in range(PARTITIONS)}


def project_in(dice: random.Random, dsns: Dsns, found: Sequence[LogRecord], longest: int) -> list[int]:
    """Projects partition 0 in random batches by two workers in turn that often forget; returns the sizes in between."""
    name, sizes = schema_of(dsns), [0]
    with Datastore(dsns.projector, name) as one, Datastore(dsns.projector, name) as two:
        workers = [Projector(one, 0), Projector(two, 0)]
        at = 0
        while sizes[-1] < len(found):
            if dice.random() < 0.2:
                at = 1 - at
                workers[at].forget()
                workers[at].claim()
            workers[at].open()
            start = sizes[-1]
            sizes.append(min(len(found), start + dice.randint(1, longest)))
            workers[at].project(found[start : sizes[-1]])
    return sizes


def test_the_trees_are_those_of_the_records_whatever_the_batches(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    found = fill(log)
    built = []
    for batch_events in (17, 100, 10_000):
        dsns = new_schema(fresh_database)
        for partitions in ((0,), None) if batch_events == 100 else (None,):
            settings = worker.Settings(topic=topic, batch_events=batch_events, poll_s=0.05)
            until = {p: log.head(p) for p in range(PARTITIONS)}
            halted = worker.run(
                kafka_address, dsns.projector, schema_of(dsns), partitions=partitions, until=until, settings=settings
            )
            assert halted == {}
        check_trees(dsns, found)
        built.append({table: rows(dsns)[table] for table in TABLES})
    assert built[0] == built[1] == built[2], "byte for byte"
    dsns = new_schema(fresh_database)
    project_in(random.Random(1), dsns, found[0], 40)
    assert len(rows(dsns)["repeats"]) > 20, "repeats are leaves too"
    beside = {table: [row for row in built[0][table] if row.startswith("(0,")] for table in TABLES}
    assert {table: rows(dsns)[table] for table in TABLES} == beside


def test_every_leaf_and_every_two_sizes_have_a_proof_that_verifies(log: KafkaLog, dsns: Dsns) -> None:
    found = fill(log)[0]
    sizes = project_in(random.Random(2), dsns, found, 90)
    reference = Tree([record.value for record in found])
    with contextlib.closing(Trees(dsns.reader)) as trees, trees.snapshot() as snapshot:
        check_tree(snapshot, 0, found, len(found))
        for size in sizes[1:]:
            nodes = TileTree(size, snapshot.tiles(0)).nodes  # as it was then, from the tiles as they are now
            for index, proof in enumerate(prove_inclusions(range(size), size, nodes)):
                verify_inclusion(index, size, leaf_hash(found[index].value), proof, reference.root(size))
        nodes = TileTree(len(found), snapshot.tiles(0)).nodes
        for old, new in combinations(sizes[1:], 2):
            proof = prove_consistency(old, new, nodes)
            assert proof == reference.proof(old, new)
            verify_consistency(old, new, reference.root(old), reference.root(new), proof)


def test_leaf_indexes_have_no_gaps_where_offsets_have(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    """Kafka's own markers take offsets: two transactions that count and one that does not."""
    events = history(3, 0)
    producer = KafkaProducer(bootstrap_servers=kafka_address, transactional_id=topic, acks="all")
    try:
        producer.init_transactions()
        for start, counts in ((0, True), (10, False), (20, True)):
            producer.begin_transaction()
            for event in events[start : start + 10]:
                producer.send(topic, key=b"somebody", value=codec.encode(event), partition=0).get(timeout=60)
            if counts:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
    finally:
        producer.close()
    deadline_s = time.monotonic() + 60
    while log.head(0) < 33:  # the broker writes the last marker after it has answered
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    append(log, 0, events[30:])
    found = records(log, 0)
    offsets = [record.position.offset for record in found]
    assert [codec.read(record.value).id for record in found] == [e.id for e in [*events[:10], *events[20:]]]
    assert offsets[:20] == [*range(10), *range(22, 32)]
    assert offsets[20] == 33
    built = []
    for batch_events in (1, 7, 1_000):
        dsns = new_schema(fresh_database)
        settings = worker.Settings(topic=topic, batch_events=batch_events, poll_s=0.05)
        worker.run(kafka_address, dsns.projector, schema_of(dsns), until={0: offsets[-1] + 1}, settings=settings)
        with contextlib.closing(Trees(dsns.reader)) as trees, trees.snapshot() as snapshot:
            check_tree(snapshot, 0, found, len(found))
            gap = [*range(10, 22), 32, offsets[-1] + 1]
            assert [snapshot.leaf_index(Position(0, offset)) for offset in gap] == [None] * len(gap)
        built.append({table: rows(dsns)[table] for table in TABLES})
        assert built[-1]["leaf_runs"] == ["(0,0,0)", "(0,22,10)", "(0,33,20)"]
    assert built[0] == built[1] == built[2]


def test_an_unreadable_record_is_no_leaf_and_all_before_it_are(
    kafka_address: str, log: KafkaLog, topic: str, dsns: Dsns
) -> None:
    append(log, 0, history(1, 0)[:20])
    log.append([Entry(0, None, b'{"type":"org.consent-ledger.from.the.future.v9"}')])[0].result(10)
    append(log, 0, history(2, 0))
    found = records(log, 0)
    halted = project(kafka_address, topic, dsns, log, batch_events=1_000)
    assert isinstance(halted[0], UnreadableRecord)
    check_trees(dsns, {0: found[:20], 1: []})


ALTERED_AND_SEEN_AT_THE_NEXT_BATCH = (
    "UPDATE trees SET next_offset = next_offset + 1",
    "UPDATE trees SET size = size - 1",
    "UPDATE trees SET frontier = set_byte(frontier, 40, get_byte(frontier, 40) # 1)",
    "DELETE FROM trees",
    "UPDATE tracking SET notification_id = notification_id - 1 WHERE application_name = 'ledger[0]'",
    "UPDATE tracking SET notification_id = 0 WHERE application_name = 'ledger[0]'",
    "DELETE FROM tiles WHERE level = 0 AND index = 1",
    "UPDATE tiles SET hashes = substring(hashes FOR 32) WHERE level = 0 AND index = 1",
    """INSERT INTO tiles ("partition", level, index, hashes) VALUES (0, 0, 2, '\\x00')""",
)
ALTERED_AND_SEEN_AT_THE_NEXT_START = (
    "DELETE FROM leaf_runs",
    "UPDATE leaf_runs SET first_index = 1",
    "UPDATE tiles SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1) WHERE level = 0 AND index = 1",
    """INSERT INTO tiles ("partition", level, index, hashes) VALUES (0, 0, 9, '\\x00')""",
)


@contextlib.contextmanager
def altered(dsns: Dsns, statement: str) -> Iterator[None]:
    """Alters a row for the while, as its owner."""
    tables = [psycopg.sql.Identifier(table) for table in (*VIEWS, "tracking", "halted")]
    with psycopg.connect(dsns.owner, autocommit=True) as connection:
        for table in tables:
            connection.execute(psycopg.sql.SQL("CREATE TEMP TABLE {0} AS TABLE {0}").format(table))
        connection.execute(psycopg.sql.SQL("SET search_path = {}, pg_temp").format(schema_of(dsns)))
        assert connection.execute(statement.encode()).rowcount == 1, statement
        yield
        for table in tables:
            connection.execute(psycopg.sql.SQL("DELETE FROM {}").format(table))
            connection.execute(psycopg.sql.SQL("INSERT INTO {0} SELECT * FROM pg_temp.{0}").format(table))


def test_a_tree_that_was_altered_stops_its_partition(log: KafkaLog, dsns: Dsns) -> None:
    append(log, 0, many(0, 0, 20)[:600])
    found = records(log, 0)
    with Datastore(dsns.projector, schema_of(dsns)) as datastore, psycopg.connect(dsns.owner) as connection:
        running = Projector(datastore, 0)
        running.open()
        running.project(found[:290])
        for statement in ALTERED_AND_SEEN_AT_THE_NEXT_BATCH + ALTERED_AND_SEEN_AT_THE_NEXT_START:
            with altered(dsns, statement):
                before = rows(dsns)
                if statement in ALTERED_AND_SEEN_AT_THE_NEXT_BATCH:
                    with pytest.raises(ProjectionError):
                        running.project(found[290:])
                starting = Projector(datastore, 0)
                position = starting.open()
                assert isinstance(starting.halted, TreeMismatch), statement
                assert f"the stored tree of partition 0 does not fit the position 0-{position}:" in str(starting.halted)
                assert starting.project(found[position:]) == position
                assert rows(dsns) == before, "nothing was written"
                said = connection.execute('SELECT "partition", "offset", code FROM halted').fetchall()
                connection.rollback()
                assert said == [(0, position, "tree-mismatch")]
            running.forget()
            running.claim()
            assert running.open() == 290
            assert running.halted is None
        running.project(found[290:])
    check_trees(dsns, {0: found})


def test_a_worker_goes_on_with_the_other_partitions(kafka_address: str, log: KafkaLog, topic: str, dsns: Dsns) -> None:
    found = fill(log)
    more = [history(11, p) for p in range(PARTITIONS)]
    with following(kafka_address, topic, dsns) as progress, psycopg.connect(dsns.owner, autocommit=True) as connection:
        assert progress.caught_up.wait(60)
        connection.execute('UPDATE trees SET size = size - 1 WHERE "partition" = 0')
        for partition in range(PARTITIONS):
            append(log, partition, more[partition])
        deadline_s = time.monotonic() + 60
        while positions(dsns.owner)[1] < log.head(1) or not connection.execute("SELECT FROM halted").fetchall():
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert progress.retries >= 1
    check_trees(dsns, {1: records(log, 1)})
    assert positions(dsns.owner)[0] == len(found[0])
    halted = project(kafka_address, topic, dsns, log)
    assert list(halted) == [0], "and at the next start"
    assert isinstance(halted[0], TreeMismatch)


def flip(number: int) -> str:
    """SQL that changes one bit of the given byte of a tile."""
    return f"hashes = set_byte(hashes, {number}, get_byte(hashes, {number}) # 1)"


def test_compare_names_the_record_or_the_tile_that_was_altered(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    found = fill(log)
    live, built = new_schema(fresh_database), new_schema(fresh_database)
    for dsns in (live, built):
        project(kafka_address, topic, dsns, log)
    last = str(found[1][-1].position)
    for view, change, records_named, tile in (
        ("tiles", f'SET {flip(32 * 7 + 5)} WHERE "partition" = 1 AND level = 0 AND index = 1', "1-263", "tile/0/001"),
        ("tiles", f'SET {flip(32)} WHERE "partition" = 1 AND level = 1', "1-256 to 1-511", "tile/1/000.p/2"),
        ("tiles", "SET hashes = '' WHERE \"partition\" = 0 AND level = 0 AND index = 0", "0-0", "tile/0/000"),
        ("tiles", 'SET index = 9 WHERE "partition" = 1 AND level = 0 AND index = 1', "1-256", "tile/0/001"),
        ("trees", 'SET frontier = set_byte(frontier, 0, get_byte(frontier, 0) # 1) WHERE "partition" = 1', last, None),
        ("leaf_runs", 'SET first_index = 2 WHERE "partition" = 1', "1-0", None),
    ):
        with altered(live, f"UPDATE {view} {change}"), Snapshot(live.owner) as ours, Snapshot(built.owner) as theirs:
            views = [compare_view(name, ours, theirs) for name in VIEWS]
        [different] = [found for found in views if found.different]
        assert (different.name, different.different) == (view, 2 if "index = 9" in change else 1)
        assert different.first is not None
        assert different.first.records == records_named
        assert different.first.tile == (None if tile is None else f"{tile} of partition {records_named[0]}")
        assert different.first.live != different.first.rebuilt
    with Snapshot(live.owner) as ours, Snapshot(built.owner) as theirs:
        assert not any(compare_view(name, ours, theirs).different for name in VIEWS)
