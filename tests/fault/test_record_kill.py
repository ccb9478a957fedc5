"""SIGKILL of `record` at random moments under load: every input is accounted for, and every event counts once."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.kafka.intake import topic_of
from ledger.kafka.reader import Reader
from tests.door import Door, event, open_door
from tests.intaking import Intaking, prepared

pytestmark = pytest.mark.long
KILLS = 4
A_ROUND = 400


@pytest.fixture
def door(kafka_address: str, database_url: str, tmp_path: Path) -> Iterator[Door]:
    with open_door(kafka_address, database_url, tmp_path) as running:
        yield running


def batch(client: str, number: int) -> list[Any]:
    """Events, every eleventh of which is one that is refused."""
    events = [event(id=f"{client}-{number}-{i}", subject=f"res_{i % 7}") for i in range(A_ROUND)]
    return [b"\x00" if i % 11 == 5 else each for i, each in enumerate(events)]


def log_size(door: Door) -> int:
    return sum(door.heads().values())


@pytest.mark.timeout(300)
def test_kills_at_random_moments_lose_nothing_and_record_nothing_twice(door: Door, tmp_path: Path) -> None:
    intake = prepared(door.runtime.settings, {"permits": ["/services/permits"]})
    client, dice = intake.client(), random.Random(5)
    workers: list[subprocess.Popen[bytes]] = [intake.process(tmp_path / "record.log") for _ in range(2)]
    sent: list[Any] = []
    try:
        for number in range(KILLS):
            more = batch(client, number)
            sent += more
            before = log_size(door)
            intake.produce(client, more, keys=[f"res_{i % 7}" for i in range(len(more))])
            deadline = time.monotonic() + 60
            while log_size(door) == before:  # it is at work on this round
                assert time.monotonic() < deadline, (tmp_path / "record.log").read_text("utf-8")
            time.sleep(dice.random() * 0.2)
            victim = workers.pop(0)
            victim.kill()
            victim.wait()
            if number < KILLS - 1:  # the last one left is at work, so it has come to where it hears SIGTERM
                workers.append(intake.process(tmp_path / "record.log"))
        intake.wait_for_all(150)  # one that is killed just when it joins is waited for by the group for a minute
    finally:
        for process in workers:
            process.terminate()
        codes = [process.wait(60) for process in workers]
    assert codes == [0], (tmp_path / "record.log").read_text("utf-8")
    account_for(door, intake, client, sent)


def account_for(door: Door, intake: Intaking, client: str, sent: list[Any]) -> None:
    """Each record of the intake topic is in the log, as it was sent, or among the refusals; order is kept."""
    wanted = Counter(each["id"] for each in sent if isinstance(each, dict))
    assert set(wanted.values()) == {1}
    first: dict[str, dict[str, Any]] = {}
    for record in door.records():
        said = orjson.loads(record.value)
        first.setdefault(said["id"], {**said, "place": record.position})
    assert first.keys() == wanted.keys()
    for each in sent:
        if isinstance(each, dict):
            assert {name: first[each["id"]][name] for name in each} == each
            assert first[each["id"]]["recordedby"] == client
    for subject in {each["subject"] for each in sent if isinstance(each, dict)}:
        ids = [each["id"] for each in sent if isinstance(each, dict) and each["subject"] == subject]
        assert sorted(ids, key=lambda i: first[i]["place"]) == ids, "a resident's order is kept"
    refused = {(r["partition"], r["offset"]) for r in intake.rejected()}
    poison = set()
    with Reader(intake.settings.kafka, topic_of(client)) as reader:
        heads = reader.heads()
        reader.assign(dict.fromkeys(heads, 0))
        while any(reader.position(p) < head for p, head in heads.items()):
            for found in reader.poll().values():
                poison |= {tuple(r.position) for r in found if r.value == b"\x00"}
    assert refused == poison
    assert len(poison) + len(wanted) == sum(heads.values())
