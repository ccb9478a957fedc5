"""SIGKILL of the projection worker at random moments: nothing is lost, nothing is there twice."""

import random
import time
from collections.abc import Callable

import psycopg
import pytest

from ledger.kafka.log import KafkaLog
from replay.compare import compare
from tests.projected import (
    append,
    check_trees,
    many,
    new_schema,
    project,
    pure_verdicts,
    records,
    schema_of,
    verdict_rows,
)
from tests.worker_process import started

pytestmark = pytest.mark.long

PARTITIONS = 2
KILLS = 20
HISTORIES_AT_ONCE = 12


@pytest.mark.timeout(400)
def test_kills_at_20_random_moments_lose_and_double_nothing(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITIONS)
    log = make_log(topic=topic)
    dsns = new_schema(fresh_database)
    name = schema_of(dsns)
    dice = random.Random(20)
    next_seed = 0

    def heads() -> int:
        return sum(log.head(p) for p in range(PARTITIONS))

    reached, kills, attempts = 0, 0, 0
    watching = psycopg.connect(dsns.owner, autocommit=True)
    while kills < KILLS:
        attempts += 1
        assert attempts < 3 * KILLS, "most starts end in a kill that counts"
        while heads() - reached < 2_000:
            for partition in range(PARTITIONS):
                append(log, partition, many(partition, next_seed, HISTORIES_AT_ONCE))
            next_seed += HISTORIES_AT_ONCE
        with started(kafka_address, topic, dsns.projector, name, batch_events=60) as process:
            _wait_for_progress(watching, reached)
            time.sleep(dice.random() * 0.3)
            process.kill()  # SIGKILL
        before, reached = reached, _reached(watching)
        # A kill counts only with a backlog, and after progress since the last.
        kills += before < reached < heads()
    watching.close()
    assert project(kafka_address, topic, dsns, log, batch_events=500) == {}
    for partition in range(PARTITIONS):
        assert verdict_rows(dsns, partition) == pure_verdicts(records(log, partition), partition)
    check_trees(dsns, {p: records(log, p) for p in range(PARTITIONS)})
    compared = compare(kafka_address, dsns.owner, dsns.projector, live=name, topic=topic)
    assert compared.equal, [view for view in compared.views if view.different]
    assert compared.complete
    assert compared.events == heads()


def _reached(watching: "psycopg.Connection[tuple[int]]") -> int:
    [(reached,)] = watching.execute(
        "SELECT coalesce(sum(notification_id), 0)::bigint FROM tracking WHERE application_name LIKE 'ledger[%'"
    ).fetchall()
    return reached


def _wait_for_progress(watching: "psycopg.Connection[tuple[int]]", reached: int) -> None:
    deadline_s = time.monotonic() + 60
    while _reached(watching) <= reached:
        assert time.monotonic() < deadline_s, "the worker gets somewhere"
        time.sleep(0.01)
