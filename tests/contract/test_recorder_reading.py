"""What the recorder reads of the log while it records: others' appends in time, its own not again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger import codec
from ledger.log import Entry, LogRecord
from ledger.recording.record import stamp
from tests.door import Door, event, open_door, wait_until

BATCHES, EACH = 24, 500


def read_by(door: Door, monkeypatch: pytest.MonkeyPatch) -> list[LogRecord]:
    """Every record that the log gives to whoever reads it from now on; the reading itself is the real one."""
    found: list[LogRecord] = []
    read = door.runtime.log.read

    def seen(*where: Any) -> list[LogRecord]:
        records = read(*where)
        found.extend(records)
        return records

    monkeypatch.setattr(door.runtime.log, "read", seen)
    return found


def append(door: Door, sent: dict[str, Any]) -> str:
    """What another writer on the same log does; the position that it gets."""
    recorded = stamp(codec.parse(orjson.dumps(sent)), codec.instant("2026-03-03T12:00:01Z"), "other")
    entry = Entry(door.runtime.log.partition_of(sent["subject"]), sent["subject"], codec.encode(recorded))
    return str(door.runtime.log.append([entry])[0].result(30))


def send_for_ever(door: Door, stop: threading.Event) -> None:
    while not stop.is_set():
        assert {r["status"] for r in door.batch([event() for _ in range(EACH)])} == {201}


def test_what_the_recorder_appended_it_never_reads_again(
    kafka_address: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_door(kafka_address, database_url, tmp_path) as door:
        found = read_by(door, monkeypatch)
        batches = [[event() for _ in range(EACH)] for _ in range(BATCHES)]
        with ThreadPoolExecutor(4) as pool:  # so that some are always under way
            for results in pool.map(door.batch, batches):
                assert {r["status"] for r in results} == {201}
        assert sum(door.heads().values()) == BATCHES * EACH
        assert found == []


def test_another_writer_s_event_is_known_in_time_although_the_recorder_never_pauses(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    with open_door(kafka_address, database_url, tmp_path) as door:
        stop = threading.Event()
        senders = [threading.Thread(target=send_for_ever, args=(door, stop)) for _ in range(2)]
        for sender in senders:
            sender.start()
        try:
            for _ in range(3):
                sent = event()
                position = append(door, sent)
                key = (sent["source"], sent["id"])
                wait_until(partial(door.runtime.recorder._tail.find, key))
                assert (door.post(sent).status_code, door.post(sent).json()["position"]) == (200, position)
                assert door.post({**sent, "time": "2026-03-03T12:00:02Z"}).json()["position"] == position
        finally:
            stop.set()
            for sender in senders:
                sender.join(60)
