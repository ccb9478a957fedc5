"""What happens to the broker, or to the ledger in the middle of a broadcast, loses nothing and doubles nothing."""

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from ledger import codec
from ledger.kafka.local import LocalKafka, local_kafka
from ledger.kafka.log import KafkaLog
from ledger.log import Entry
from ledger.recording.record import stamp
from tests.door import BATCH, Door, event, open_door, serve, service_registered, settings_for, wait_until

pytestmark = pytest.mark.long

PARTITIONS = 6


def append_to(log: KafkaLog, partitions: range, sent: dict[str, Any]) -> bytes:
    """What a recorder that was killed in the middle of a broadcast leaves behind."""
    recorded = stamp(codec.parse(orjson.dumps(sent)), codec.instant("2026-03-03T12:00:01Z"), "killed")
    value = codec.encode(recorded)
    for partition in partitions:
        log.append([Entry(partition, None, value)])[0].result(20)
    return value


@pytest.mark.parametrize("reached", range(1, PARTITIONS))
def test_a_broadcast_cut_short_is_completed_when_a_door_opens(
    kafka_address: str, database_url: str, tmp_path: Path, reached: int
) -> None:
    settings = settings_for(kafka_address, database_url, tmp_path)
    whole, cut = service_registered(), service_registered()
    with KafkaLog(settings.kafka, settings.topic) as log:
        values = [append_to(log, range(PARTITIONS), whole), append_to(log, range(reached), cut)]
    with serve(settings, tmp_path) as door:
        for partition in range(PARTITIONS):
            assert [r.value for r in door.runtime.log.read(partition, 0)] == values
        assert (door.post(cut).status_code, door.post(cut).json()["position"]) == (200, "0-1")
        assert door.heads() == dict.fromkeys(range(PARTITIONS), 2)


@pytest.mark.parametrize("reached", range(1, PARTITIONS))
def test_a_broadcast_cut_short_is_completed_before_the_next_one(
    kafka_address: str, database_url: str, tmp_path: Path, reached: int
) -> None:
    with open_door(kafka_address, database_url, tmp_path) as door:
        cut, after = service_registered(), service_registered()
        append_to(door.runtime.log, range(reached), cut)
        assert door.post(after).status_code == 201
        for partition in range(PARTITIONS):
            ids = [orjson.loads(r.value)["id"] for r in door.runtime.log.read(partition, 0)]
            assert ids == [cut["id"], after["id"]]


def test_the_same_reference_fact_sent_again_completes_its_own_broadcast(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    with open_door(kafka_address, database_url, tmp_path) as door:
        cut = service_registered()
        value = append_to(door.runtime.log, range(2), cut)
        assert (door.post(cut).status_code, door.post(cut).status_code) == (200, 200)
        assert [[r.value for r in door.runtime.log.read(p, 0)] for p in range(PARTITIONS)] == [[value]] * PARTITIONS


def test_a_record_that_cannot_be_read_stops_its_partition_and_no_other(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(kafka_address, database_url, tmp_path)
    with KafkaLog(settings.kafka, settings.topic) as log:
        log.append([Entry(2, "x", b"no event")])[0].result(20)
    with serve(settings, tmp_path, ready=False) as door:
        wait_until(lambda: "record 2-0 " in str(door.runtime.recorder.status().problem))
        subjects = [f"res_{i}" for i in range(60)]
        stopped = [s for s in subjects if door.runtime.log.partition_of(s) == 2]
        results = door.batch([event(subject=s) for s in subjects])
        assert {s for s, r in zip(subjects, results, strict=True) if r["status"] == 503} == set(stopped)
        assert {r["status"] for r in results} == {201, 503}
        refused = door.post(service_registered())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert door.heads()[2] == 1


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker of the test's own, to stop and go on."""
    with local_kafka(tmp_path / "kafka") as started:
        yield started
        os.kill(started.pid, signal.SIGCONT)


def emit(door: Door, batches: list[list[dict[str, Any]]], stop_after_s: float) -> dict[str, str]:
    """Emits as an emitter does: a batch that is not recorded as a whole is sent again, until it is.

    Returns the position that each id was answered with.
    """
    positions: dict[str, str] = {}
    deadline = time.monotonic() + stop_after_s
    for batch in batches:
        left = batch
        while left:
            assert time.monotonic() < deadline, "not everything was recorded in time"
            try:
                answer = door.post(left, media_type=BATCH)
            except httpx.TransportError:
                continue
            if answer.status_code in (429, 503):
                time.sleep(int(answer.headers["retry-after"]) / 4)
                continue
            results = answer.json()["results"]
            assert {r["status"] for r in results} <= {200, 201, 503}
            positions |= {r["id"]: r["position"] for r in results if r["status"] != 503}
            if any(r["status"] == 503 for r in results):
                time.sleep(0.5)
            left = [e for e, r in zip(left, results, strict=True) if r["status"] == 503]
    return positions


def frozen_while_emitting(door: Door, broker: LocalKafka, frozen_s: float) -> tuple[list[str], dict[str, str]]:
    sent = [[[event() for _ in range(50)] for _ in range(20)] for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        emitting = [pool.submit(emit, door, batches, 100) for batches in sent]
        wait_until(lambda: sum(door.heads().values()) > 300)
        os.kill(broker.pid, signal.SIGSTOP)
        threading.Event().wait(frozen_s)
        os.kill(broker.pid, signal.SIGCONT)
        positions: dict[str, str] = {}
        for done in emitting:
            positions |= done.result()
    return [e["id"] for batches in sent for batch in batches for e in batch], positions


@pytest.mark.timeout(180)
def test_a_broker_that_stops_for_10_s_during_an_emit_loses_and_doubles_nothing(
    broker: LocalKafka, database_url: str, tmp_path: Path
) -> None:
    with open_door(broker.bootstrap, database_url, tmp_path) as door:
        sent, positions = frozen_while_emitting(door, broker, 10)
        recorded = Counter(orjson.loads(r.value)["id"] for r in door.records())
        assert recorded == Counter(sent)
        assert {orjson.loads(r.value)["id"]: str(r.position) for r in door.records()} == positions


# kafka-python 3.0.12 leaves the wake-up sockets of a client that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.timeout(240)
def test_past_the_deadline_nothing_is_lost_and_every_answer_names_the_first_record(
    broker: LocalKafka, database_url: str, tmp_path: Path
) -> None:
    """The producer is replaced while the broker stands still: what it still held may land beside what is sent again.

    Such a repeat is dropped by its id wherever records are read, so the first one in log order is the one that counts.
    """
    with open_door(broker.bootstrap, database_url, tmp_path, deadline_s=3.0) as door:
        sent, positions = frozen_while_emitting(door, broker, 12)
        first: dict[str, str] = {}
        for record in door.records():
            first.setdefault(orjson.loads(record.value)["id"], str(record.position))
        assert sorted(first) == sorted(sent)
        assert positions == first
        again = door.post([event(id=i, subject="another") for i in sent[:100]], media_type=BATCH).json()["results"]
        assert [(r["status"], r["position"]) for r in again] == [(409, first[i]) for i in sent[:100]]
    gc.collect()
