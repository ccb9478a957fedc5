"""Workers of a group that are started, stopped, paused and killed at any time: the views are what the log says.

`test_…_short` is the normal run's; the long one does the same for longer, at random.
"""

import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from ledger.kafka.log import KafkaLog
from ledger.kafka.process import free_port
from projections import rowwise
from projections.assignments import holders
from projections.schema import Dsns
from replay.compare import compare
from tests.projected import append, many, new_schema, schema_of

PARTITIONS = 4
ROOT = Path(__file__).parents[2]
WORKER = """
import logging, sys
from prometheus_client import start_http_server
from projections.members import run_in_group
from projections.metrics import Metrics
from projections.worker import Settings
kafka, topic, dsn, schema, port = sys.argv[1:]
logging.basicConfig(level=logging.INFO, format="%(message)s")
start_http_server(int(port), "127.0.0.1")
sys.exit(len(run_in_group(kafka, dsn, schema, settings=Settings(topic=topic, batch_events=40), metrics=Metrics())))
"""


class Worker:
    """One worker as a process, with its metrics."""

    def __init__(self, folder: Path, kafka: str, topic: str, dsns: Dsns, exits: ExitStack) -> None:
        self.port = free_port()
        arguments = [kafka, topic, dsns.projector, schema_of(dsns), str(self.port)]
        with (folder / f"worker-{self.port}.log").open("wb") as said:
            self.process = subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stderr=said, cwd=ROOT)
        exits.callback(self._end)

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(30)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))

    def writes(self, dsns: Dsns) -> set[int]:
        """The partitions that it holds."""
        with psycopg.connect(dsns.reader) as connection:
            found = holders(connection)
        mark = f"/{self.process.pid}/"
        return {p for p, holder in found.items() if mark in holder.worker and not holder.gone}


class Ledger:
    """A log with a schema, and how far the one has come into the other."""

    def __init__(self, kafka: str, topic: str, log: KafkaLog, dsns: Dsns) -> None:
        self.kafka, self.topic, self.log, self.dsns = kafka, topic, log, dsns
        self._seed = 0

    def extend(self, histories: int = 2) -> None:
        """Appends some hundred records to each partition."""
        for partition in range(PARTITIONS):
            append(self.log, partition, many(partition, self._seed, histories))
        self._seed += histories

    def lag(self) -> int:
        """Records that are not in the views."""
        reached = rowwise.positions(self.dsns.owner)
        return sum(self.log.head(p) - reached.get(p, 0) for p in range(PARTITIONS))

    def is_what_the_log_says(self) -> None:
        """Rebuilds all, and compares row by row."""
        found = compare(self.kafka, self.dsns.owner, self.dsns.projector, live=schema_of(self.dsns), topic=self.topic)
        assert found.equal, [view for view in found.views if view.different]
        assert found.complete
        assert found.events == sum(self.log.head(p) for p in range(PARTITIONS))


@pytest.fixture
def ledger(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> Ledger:
    topic = make_topic(PARTITIONS)
    return Ledger(kafka_address, topic, make_log(topic=topic), new_schema(fresh_database))


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 60) -> float:
    """Waits; returns how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, what
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.timeout(300)
def test_a_worker_that_was_paused_past_its_session_writes_nothing_more(tmp_path: Path, ledger: Ledger) -> None:
    with ExitStack() as exits:
        paused, other = (Worker(tmp_path, ledger.kafka, ledger.topic, ledger.dsns, exits) for _ in range(2))
        wait_for(lambda: len(paused.writes(ledger.dsns)) == len(other.writes(ledger.dsns)) == 2, "each has a half")
        mine = paused.writes(ledger.dsns)
        ledger.extend(6)
        wait_for(lambda: paused.metric("consent_ledger_projected_events_total") > 0, "it is at work")
        paused.process.send_signal(signal.SIGSTOP)
        assert ledger.lag() > 0, "it was stopped at work"
        took_s = wait_for(lambda: other.writes(ledger.dsns) == {0, 1, 2, 3}, "the other takes over")
        wait_for(lambda: ledger.lag() == 0, "the other goes on")
        ledger.is_what_the_log_says()
        with psycopg.connect(ledger.dsns.reader) as connection:
            before = {p: holders(connection)[p].epoch for p in mine}
        paused.process.send_signal(signal.SIGCONT)
        # Its batch was judged before; it is refused, or the transaction it stood in was ended.
        wait_for(
            lambda: (
                paused.metric("consent_ledger_stale_writes_total")
                + paused.metric("consent_ledger_projection_retries_total")
                > 0
                or paused.metric("consent_ledger_partition_epoch") > sum(before.values())
            ),
            "it is told so",
        )
        ledger.extend(1)
        wait_for(lambda: ledger.lag() == 0, "and both go on")
        wait_for(lambda: len(paused.writes(ledger.dsns)) == 2, "each has a half again")
        ledger.extend(1)
        wait_for(lambda: ledger.lag() == 0, "both go on")
        assert took_s < 45, "a session of 6 s, a rebalance, a claim"
    ledger.is_what_the_log_says()


@pytest.mark.timeout(200)
def test_workers_that_come_and_go_lose_and_double_nothing_short(tmp_path: Path, ledger: Ledger) -> None:
    _at_random(tmp_path, ledger, random.Random(1), rounds=3)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_workers_that_come_and_go_lose_and_double_nothing(tmp_path: Path, ledger: Ledger) -> None:
    _at_random(tmp_path, ledger, random.Random(2), rounds=12)


def _at_random(folder: Path, ledger: Ledger, dice: random.Random, rounds: int) -> None:
    with ExitStack() as exits:

        def start() -> Worker:
            return Worker(folder, ledger.kafka, ledger.topic, ledger.dsns, exits)

        running: list[Worker] = [start(), start()]
        stopped: list[Worker] = []
        for number in range(rounds):
            ledger.extend(1)
            what = ("pause", "kill", "stop", "go on")[number % 4 if number < 4 else dice.randrange(4)]
            if what == "go on" and stopped:
                stopped.pop(0).process.send_signal(signal.SIGCONT)
            else:
                worker = running.pop(dice.randrange(len(running)))
                if what == "pause":
                    worker.process.send_signal(signal.SIGSTOP)
                    stopped.append(worker)
                else:
                    worker.process.send_signal(signal.SIGKILL if what == "kill" else signal.SIGTERM)
                running.append(start())
            time.sleep(dice.random() * 2)
        for worker in stopped:
            worker.process.send_signal(signal.SIGCONT)
        wait_for(lambda: ledger.lag() == 0, "nothing is left", 90)
    ledger.is_what_the_log_says()
