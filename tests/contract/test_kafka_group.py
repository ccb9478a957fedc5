"""What a worker's place in the group promises: every partition has exactly one worker, whoever comes and goes."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import LogError
from ledger.kafka.group import Membership
from ledger.kafka.log import KafkaLog
from ledger.log import Entry

pytestmark = pytest.mark.long

JOINS = """
import sys, time
from ledger.kafka.group import Membership
with Membership(sys.argv[1], sys.argv[2], sys.argv[3], session_s=6) as membership:
    while True:
        print(*sorted(membership.partitions(0.1)), flush=True)
        time.sleep(0.1)
"""


def settle(members: list[Membership], wanted: Callable[[list[frozenset[int]]], bool]) -> list[frozenset[int]]:
    until = time.monotonic() + 40
    while time.monotonic() < until:
        held = [member.partitions(0.1) for member in members]
        if wanted(held):
            return held
    raise AssertionError(f"the group did not settle: {held}")


def test_partitions_are_shared_out_and_taken_over_when_a_worker_leaves(
    kafka_address: str, make_topic: Callable[..., str]
) -> None:
    topic, group = make_topic(6), f"test.{uuid.uuid4().hex}"
    with Membership(kafka_address, topic, group) as first:
        assert settle([first], lambda held: len(held[0]) == 6) == [frozenset(range(6))]
        with Membership(kafka_address, topic, group) as second:
            held = settle([first, second], lambda held: [len(h) for h in held] == [3, 3])
            assert held[0] | held[1] == frozenset(range(6))
        settle([first], lambda held: len(held[0]) == 6)


@pytest.mark.timeout(120)
def test_the_partitions_of_a_killed_worker_pass_to_the_others(
    kafka_address: str, make_topic: Callable[..., str]
) -> None:
    topic, group = make_topic(4), f"test.{uuid.uuid4().hex}"
    other = subprocess.Popen(
        [sys.executable, "-c", JOINS, kafka_address, topic, group],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    with other.stdout, Membership(kafka_address, topic, group, session_s=6) as survivor:
        settle([survivor], lambda held: len(held[0]) == 2)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        settle([survivor], lambda held: len(held[0]) == 4)


def test_a_member_reads_no_records(kafka_address: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(1)
    with KafkaLog(kafka_address, topic) as log:
        for future in log.append([Entry(0, None, b"x")] * 10):
            future.result(timeout=10)
    with Membership(kafka_address, topic, f"test.{uuid.uuid4().hex}") as member:
        settle([member], lambda held: len(held[0]) == 1)
        assert member._consumer.poll(timeout_ms=500) == {}


def test_a_topic_that_does_not_exist_is_one_clear_error(kafka_address: str) -> None:
    with pytest.raises(LogError, match="does not exist"):
        Membership(kafka_address, "test.nobody-made-this", "test.group")
