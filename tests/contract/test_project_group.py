"""Several projection workers share a ledger: each partition has one, whoever comes, goes or is killed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.kafka.log import KafkaLog
from projections.schema import Dsns
from tests.projected import append, many, new_schema, pure_verdicts, records, schema_of, verdict_rows

pytestmark = pytest.mark.long

PARTITIONS = 4
ROOT = Path(__file__).parents[2]
WORKER = """
import logging, sys
from projections.members import run_in_group
from projections.worker import Settings
kafka, topic, dsn, schema = sys.argv[1:]
logging.basicConfig(level=logging.INFO, format="%(message)s")
sys.exit(len(run_in_group(kafka, dsn, schema, settings=Settings(topic=topic, batch_events=100))))
"""


class Workers:
    """Workers as processes, each with a file of what it said."""

    def __init__(self, folder: Path, kafka: str, topic: str, dsns: Dsns) -> None:
        self._folder = folder
        self._arguments = (kafka, topic, dsns.projector, schema_of(dsns))

    def start(self, name: str, exits: ExitStack) -> "subprocess.Popen[bytes]":
        with (self._folder / name).open("wb") as said:
            process = subprocess.Popen([sys.executable, "-c", WORKER, *self._arguments], stderr=said, cwd=ROOT)
        exits.callback(process.wait, 30)
        exits.callback(process.terminate)
        return process

    def follows(self, name: str) -> set[int]:
        """The partitions that a worker follows, by its own last word."""
        lines = (self._folder / name).read_text("utf-8").splitlines()
        mine = [line for line in lines if line.startswith("following partitions ")]
        return set(json.loads(mine[-1].removeprefix("following partitions "))) if mine else set()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.timeout(240)
def test_workers_share_the_partitions_and_take_over_from_one_that_is_killed(
    tmp_path: Path,
    kafka_address: str,
    fresh_database: str,
    make_log: Callable[..., KafkaLog],
    make_topic: Callable[..., str],
) -> None:
    topic = make_topic(PARTITIONS)
    log, dsns = make_log(topic=topic), new_schema(fresh_database)
    workers = Workers(tmp_path, kafka_address, topic, dsns)

    def extend(start: int) -> None:
        for partition in range(PARTITIONS):
            append(log, partition, many(partition, start, 3))

    def in_step() -> bool:
        return all(verdict_rows(dsns, p) == pure_verdicts(records(log, p), p) for p in range(PARTITIONS))

    with ExitStack() as exits:
        first = workers.start("first", exits)
        wait_for(lambda: workers.follows("first") == {0, 1, 2, 3}, "the first worker gets everything")
        extend(0)
        wait_for(in_step, "one worker projects it all")
        workers.start("second", exits)
        wait_for(lambda: len(workers.follows("first")) == len(workers.follows("second")) == 2, "each has a half")
        assert not workers.follows("first") & workers.follows("second")
        extend(3)
        wait_for(in_step, "both together project it all")
        first.kill()
        extend(6)
        wait_for(lambda: workers.follows("second") == {0, 1, 2, 3}, "the second takes over")
        wait_for(in_step, "nothing is lost, nothing is there twice")
