"""Appends when the broker freezes, dies or stays away: nothing acknowledged is lost, nothing hangs."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from ledger.errors import Unavailable
from ledger.kafka import topics
from ledger.kafka.local import LocalKafka, local_kafka
from ledger.kafka.log import KafkaLog
from ledger.kafka.reader import Reader
from ledger.log import Entry, Position

pytestmark = pytest.mark.long

PARTITIONS = 3
TOPIC = {"ledger.events": (topics.Kind.RECORDS, PARTITIONS)}


@pytest.fixture
def folder(server_folder: Path) -> Iterator[Path]:
    path = server_folder / "append-survives"
    path.mkdir(mode=0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def broker(folder: Path) -> Iterator[LocalKafka]:
    """A broker of the test's own, to be frozen and killed."""
    with local_kafka(folder) as started:
        topics.create(started.bootstrap, TOPIC)
        yield started


def stored(bootstrap: str) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {p: [] for p in range(PARTITIONS)}
    with Reader(bootstrap, starts=dict.fromkeys(range(PARTITIONS), 0)) as reader:
        heads = reader.heads()
        while any(reader.position(p) < heads[p] for p in found):
            for partition, records in reader.poll(2).items():
                found[partition] += [record.value for record in records]
    return found


def send_for(log: KafkaLog, seconds: float) -> list[tuple[Entry, "Future[Position]"]]:
    handed: list[tuple[Entry, Future[Position]]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        entries = [Entry((len(handed) + i) % PARTITIONS, None, b"%07d" % (len(handed) + i)) for i in range(30)]
        handed += zip(entries, log.append(entries), strict=True)
        time.sleep(0.01)
    return handed


def assert_all_there_once_and_in_order(handed: list[tuple[Entry, "Future[Position]"]], bootstrap: str) -> None:
    there = stored(bootstrap)
    for partition in range(PARTITIONS):
        assert there[partition] == [entry.value for entry, _ in handed if entry.partition == partition]
    for entry, future in handed:
        position = future.result(timeout=0)
        assert there[position.partition][position.offset] == entry.value


@pytest.mark.timeout(180)
def test_a_broker_frozen_for_ten_seconds_during_appends_loses_and_doubles_nothing(broker: LocalKafka) -> None:
    with KafkaLog(broker.bootstrap, deadline_s=60) as log:
        freeze = threading.Timer(2, os.kill, [broker.pid, signal.SIGSTOP])
        thaw = threading.Timer(12, os.kill, [broker.pid, signal.SIGCONT])
        freeze.start()
        thaw.start()
        handed = send_for(log, 14)
        for _, future in handed:
            future.result(timeout=60)
        assert log.replaced_clients == 0
        assert_all_there_once_and_in_order(handed, broker.bootstrap)


@pytest.mark.timeout(180)
def test_past_the_deadline_the_client_is_replaced_and_what_is_sent_again_arrives(broker: LocalKafka) -> None:
    with KafkaLog(broker.bootstrap, deadline_s=2) as log:
        assert log.append([Entry(0, None, b"before")])[0].result(timeout=10) == Position(0, 0)
        os.kill(broker.pid, signal.SIGSTOP)
        began = time.monotonic()
        stuck = log.append([Entry(0, None, b"stuck-%d" % i) for i in range(3)])
        for future in stuck:
            with pytest.raises(Unavailable):
                future.result(timeout=10)
        assert 1.9 < time.monotonic() - began < 5
        os.kill(broker.pid, signal.SIGCONT)

        def again(value: bytes) -> Position:
            for _ in range(300):
                try:
                    return log.append([Entry(0, None, value)])[0].result(timeout=30)
                except Unavailable:
                    time.sleep(0.1)
            raise AssertionError("the log did not come back")

        for i in range(3):
            again(b"stuck-%d" % i)
        assert log.replaced_clients >= 1
        there = stored(broker.bootstrap)[0]
        assert there[0] == b"before"
        for i in range(3):  # once, or twice when the frozen broker took the first one after all: ids tell them apart
            assert 1 <= there.count(b"stuck-%d" % i) <= 2
        assert there[-3:] == [b"stuck-0", b"stuck-1", b"stuck-2"]


@pytest.mark.timeout(240)
def test_a_broker_that_restarts_during_appends_loses_and_doubles_nothing(folder: Path) -> None:
    with contextlib.ExitStack() as kept:
        with local_kafka(folder) as first:
            topics.create(first.bootstrap, TOPIC)
            log = kept.enter_context(KafkaLog(first.bootstrap, deadline_s=90))
            handed = send_for(log, 1)
            last = Entry(0, None, b"%07d" % len(handed))
            handed.append((last, log.append([last])[0]))
        second = kept.enter_context(local_kafka(folder))
        assert second.bootstrap == first.bootstrap
        handed += send_for(log, 1)
        for _, future in handed:
            future.result(timeout=90)
        assert_all_there_once_and_in_order(handed, second.bootstrap)
        log.close()


@pytest.mark.timeout(240)
def test_a_broker_killed_by_force_has_everything_it_acknowledged(folder: Path) -> None:
    with local_kafka(folder) as first:
        topics.create(first.bootstrap, TOPIC)
        with KafkaLog(first.bootstrap, deadline_s=3) as log:
            kill = threading.Timer(1.5, os.kill, [first.pid, signal.SIGKILL])
            kill.start()
            handed = send_for(log, 3)
            acknowledged = {}
            for entry, future in handed:
                try:
                    acknowledged[future.result(timeout=30)] = entry.value
                except Unavailable:
                    continue
            assert 0 < len(acknowledged) < len(handed)
    with local_kafka(folder) as second:
        there = stored(second.bootstrap)
    for position, value in acknowledged.items():
        assert there[position.partition][position.offset] == value


@pytest.mark.timeout(120)
def test_while_no_broker_answers_appends_fail_at_once_instead_of_piling_up(broker: LocalKafka) -> None:
    with KafkaLog(broker.bootstrap, deadline_s=1) as log:
        os.kill(broker.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable):
            log.append([Entry(0, None, b"x")])[0].result(timeout=10)
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(Unavailable):
                log.append([Entry(0, None, b"x" * 1000)])[0].result(timeout=5)
        assert time.monotonic() - began < 5
