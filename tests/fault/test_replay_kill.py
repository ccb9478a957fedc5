"""SIGKILL of `replay` at random moments, under live writes: the same command goes on; nothing differs in the end."""

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from contextlib import closing

import psutil
import pytest
from psycopg.errors import UndefinedTable

from ledger.kafka.log import KafkaLog
from projections import schema
from projections.reach import Reach
from projections.rebuilds import rebuilds
from projections.schema import Dsns
from replay.compare import compare
from tests.projected import append, following, many, new_schema
from tests.replaying import replayed, replaying

PARTITIONS = 2


HISTORIES_AT_ONCE = 8


@pytest.mark.timeout(300)
def test_kills_at_3_random_moments_lose_and_double_nothing(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITIONS)
    _killed(kafka_address, new_schema(fresh_database, "live"), topic, make_log(topic=topic), kills=3)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_kills_at_20_random_moments_lose_and_double_nothing(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITIONS)
    _killed(kafka_address, new_schema(fresh_database, "live"), topic, make_log(topic=topic), kills=20)


def _killed(address: str, dsns: Dsns, topic: str, log: KafkaLog, kills: int) -> None:
    """Kills `replay --swap` so often, each time after it has got further; then lets it come to its end."""
    dice, seed, done, attempts, went_on = random.Random(kills), 0, 0, 0, 0
    seed = _write(log, seed, 4)
    with following(address, topic, dsns, batch_events=100) as progress:
        assert progress.caught_up.wait(120)
        while done < kills:
            attempts += 1
            assert attempts <= 3 * kills, "most runs are killed before they have come to their end"
            seed = _write(log, seed, 1)
            before = _records(dsns)
            options = ("--swap", "--workers", 1 + attempts % 2)
            with replaying(address, topic, dsns.owner, *options, batch_events=10) as command:
                _wait_for_progress(dsns, command, before)
                time.sleep(dice.random() * 0.3)
                _kill(command, whole=attempts % 3 > 0)
            assert len(rebuilds(dsns.owner)) <= 1, "each run goes on with what an earlier one began"
            done += before < _records(dsns)
            went_on += 0 < before < _records(dsns)
        assert went_on, "some went on"
        ended = replayed(address, topic, dsns.owner, "--swap", "--workers", 2)
        assert ended.returncode == 0, ended.stderr
        assert b"going on with" in ended.stderr
        assert rebuilds(dsns.owner) == {}, "it is live now"
        found = compare(address, dsns.owner, dsns.projector, topic=topic, workers=2)
    assert found.equal, [view for view in found.views if view.different]
    assert found.complete


def _write(log: KafkaLog, seed: int, times: int) -> int:
    for _ in range(times):
        for partition in range(PARTITIONS):
            append(log, partition, many(partition, seed, HISTORIES_AT_ONCE))
        seed += HISTORIES_AT_ONCE
    return seed


def _kill(command: "subprocess.Popen[bytes]", *, whole: bool) -> None:
    """SIGKILL of the command, and of its processes too; or these are left to notice that it is gone."""
    processes = psutil.Process(command.pid).children(recursive=True) if whole and command.poll() is None else []
    command.kill()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _records(dsns: Dsns) -> int:
    """How many records are in the schema that is being rebuilt; 0: there is none."""
    for name in rebuilds(dsns.owner):
        with closing(Reach(schema.at_schema(dsns.owner, name))) as reach, contextlib.suppress(UndefinedTable):
            return reach.records()  # or it has become live just now
    return 0


def _wait_for_progress(dsns: Dsns, command: "subprocess.Popen[bytes]", before: int) -> None:
    deadline_s = time.monotonic() + 60
    while command.poll() is None and _records(dsns) <= before:
        assert time.monotonic() < deadline_s, "the rebuild gets somewhere"
        time.sleep(0.02)
