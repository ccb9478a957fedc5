"""What a rebuild promises: the log alone makes the same rows, whatever the machine; and a changed row is found."""

import re
from collections.abc import Callable

import psycopg
import pytest

from ledger.errors import ConfigurationError, LogError
from ledger.kafka.log import KafkaLog
from projections import schema
from replay.compare import compare
from replay.rebuild import rebuild
from tests.projected import append, following, history, many, new_schema, project, rows, schema_of
from tests.worker_process import started

PARTITIONS = 3


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(PARTITIONS)


@pytest.fixture
def log(make_log: Callable[..., KafkaLog], topic: str) -> KafkaLog:
    opened = make_log(topic=topic)
    for partition in range(PARTITIONS):
        append(opened, partition, history(300 + partition, partition))
    return opened


def test_a_rebuild_beside_the_live_schema_has_the_same_rows(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log, batch_events=30)
    rebuilt = rebuild(kafka_address, dsns.owner, dsns.projector, topic=topic)
    assert rebuilt.events == sum(log.head(p) for p in range(PARTITIONS))
    assert rebuilt.halted == {}
    beside = schema.Dsns(*(schema.at_schema(dsn, rebuilt.schema) for dsn in dsns))
    assert rows(beside) == rows(dsns)
    with pytest.raises(ConfigurationError, match="there already"):
        rebuild(kafka_address, dsns.owner, dsns.projector, topic=topic, schema=rebuilt.schema)
    with pytest.raises(LogError, match="ends before"):
        rebuild(kafka_address, dsns.owner, dsns.projector, topic=topic, until={0: 1_000_000})


def test_compare_finds_no_difference_while_the_live_views_move_on(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    dsns = new_schema(fresh_database)
    with following(kafka_address, topic, dsns, batch_events=20) as progress:
        assert progress.caught_up.wait(30)
        for partition in range(PARTITIONS):
            append(log, partition, many(partition, 400, 3))
        found = compare(kafka_address, dsns.owner, dsns.projector, live=schema_of(dsns), topic=topic)
    assert found.equal
    assert found.complete
    assert {view.name: view.live_rows for view in found.views} == {v.name: v.rebuilt_rows for v in found.views}
    assert not schema.exists(dsns.owner, found.schema), "the rebuilt schema is dropped"


PUT_IN = (
    'INSERT INTO consents (subject, consent_id, "partition", state, since, since_offset)'
    " VALUES ('nobody', 'c9', 0, 'given', now(), 1)"
)


@pytest.mark.parametrize(
    ("view", "tamper", "named"),
    [
        ("verdicts", "UPDATE verdicts SET outcome = 'consistent' WHERE outcome = 'inconsistent'", "[0-2]-[0-9]+"),
        ("timeline", 'DELETE FROM timeline WHERE "offset" = 3', "0-3"),
        ("consents", PUT_IN, "0-1"),
    ],
)
def test_compare_names_the_first_row_that_was_changed_lost_or_put_in(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str, view: str, tamper: str, named: str
) -> None:
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log)
    with psycopg.connect(dsns.owner) as connection:
        changed = connection.execute(tamper.encode()).rowcount
    assert changed > 0
    found = compare(kafka_address, dsns.owner, dsns.projector, live=schema_of(dsns), topic=topic)
    assert not found.equal
    assert [(v.name, v.different) for v in found.views if v.different] == [(view, changed)]
    [first] = [v.first for v in found.views if v.first is not None]
    assert first.live != first.rebuilt
    assert first.records is not None
    assert re.fullmatch(named, first.records)


def test_rows_are_the_same_under_any_hash_seed(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    until = {p: log.head(p) for p in range(PARTITIONS)}
    built = []
    for hash_seed in (0, 1, 4_294_967_295):
        dsns = new_schema(fresh_database)
        with started(
            kafka_address, topic, dsns.projector, schema_of(dsns), until=until, hash_seed=hash_seed
        ) as process:
            assert process.wait(60) == 0
        built.append(rows(dsns))
    assert built[0] == built[1] == built[2]
