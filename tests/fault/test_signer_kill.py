"""SIGKILL of the signer at each of its steps: never two roots for one size, never a smaller one, and the next goes on.

A signer is a process of its own, on real servers; the step that it reaches kills it as `kill -9` does, or freezes it.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from ledger.kafka import topics
from ledger.kafka.checkpoints import latest
from ledger.kafka.local import local_kafka
from ledger.tree import note as notes
from projections import signer
from projections.schema import Dsns
from projections.tlog import Signed
from tests.projected import new_schema
from tests.signer_process import KEY, LEDGER, started
from tests.signing import frontier, published, put_row, put_tree, rows, signing, sizes

pytestmark = pytest.mark.long

ROUNDS = 2
PATIENCE_S = 60


def wait_for(done: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(1)


@pytest.fixture
def dsns(fresh_database: str) -> Dsns:
    return new_schema(fresh_database)


def undisturbed(address: str, topic: str, dsns: Dsns, expected: dict[int, int]) -> None:
    """A signer that nobody kills: it signs all there is, and then topic and rows say the same."""
    with signing(address, topic, dsns.signer) as running:
        running.wait_for(lambda: sizes(dsns) == expected, "a restarted signer signs all there is")
        running.turns()
    assert topic_is_the_rows(address, topic, dsns)


def topic_is_the_rows(address: str, topic: str, dsns: Dsns) -> bool:
    kept = rows(dsns)
    found = latest(address, [KEY.verifier], kept, topic)
    return {p: said.note for p, said in found.items()} == {p: row.note for p, row in kept.items()}


class Watch:
    """Everything that was ever kept or published: one root for each size, and sizes that never shrink."""

    def __init__(self, address: str, topic: str, dsns: Dsns) -> None:
        self._address, self._topic, self._dsns = address, topic, dsns
        self.roots: dict[tuple[int, int], bytes] = {}
        self._kept: dict[int, int] = {}

    def look(self, *, forgot: bool = False) -> dict[int, Signed]:
        kept = rows(self._dsns)
        for partition, row in kept.items():
            assert forgot or row.size >= self._kept.get(partition, 0), "a size has shrunk"
            said = notes.open_note(row.note, [KEY.verifier]).text
            assert said.startswith(f"{LEDGER}/{partition}\n{row.size}\n"), "the row is what its note says"
            self._once(partition, row.size, row.root)
        for partition, found in published(self._address, self._topic).items():
            for checkpoint in found:
                self._once(partition, checkpoint.size, checkpoint.root)
        self._kept = {partition: row.size for partition, row in kept.items()}
        return kept

    def _once(self, partition: int, size: int, root: bytes) -> None:
        assert self.roots.setdefault((partition, size), root) == root, "two roots for one size"
        assert root == frontier(partition, size).root


@pytest.mark.timeout(300)
def test_killed_at_every_step_it_never_signs_two_roots_or_a_smaller_size_and_the_next_one_goes_on(
    kafka_address: str, topic: str, dsns: Dsns
) -> None:
    watch = Watch(kafka_address, topic, dsns)
    size, kills = 0, 0
    for passes in range(ROUNDS):
        for step in signer.STEPS:
            size += 1 + 97 * passes
            for partition in (0, 1):
                put_tree(dsns, partition, size)
            with started(kafka_address, topic, dsns.signer, at=step, passes=passes % 2) as process:
                assert process.wait(PATIENCE_S) == -signal.SIGKILL
            kills += 1
            watch.look()
    assert kills == ROUNDS * len(signer.STEPS)
    undisturbed(kafka_address, topic, dsns, {0: size, 1: size})
    watch.look()
    assert len(watch.roots) > len(signer.STEPS)


@pytest.mark.timeout(300)
def test_killed_while_it_takes_over_what_a_restored_database_forgot_it_loses_nothing(
    kafka_address: str, topic: str, dsns: Dsns
) -> None:
    watch = Watch(kafka_address, topic, dsns)
    put_tree(dsns, 0, 5)
    undisturbed(kafka_address, topic, dsns, {0: 5})
    backup = watch.look()[0]
    put_tree(dsns, 0, 9)
    undisturbed(kafka_address, topic, dsns, {0: 9})
    for older in (backup, None):
        for step in ("read", "swapped"):
            put_row(dsns, 0, older)
            put_tree(dsns, 0, 6)
            with started(kafka_address, topic, dsns.signer, at=step) as process:
                assert process.wait(PATIENCE_S) == -signal.SIGKILL
            assert watch.look(forgot=True).get(0) == older
    put_tree(dsns, 0, 12)
    undisturbed(kafka_address, topic, dsns, {0: 12})
    watch.look(forgot=True)
    assert sorted({size for _, size in watch.roots}) == [5, 9, 12]


@pytest.mark.timeout(300)
def test_frozen_with_the_row_locked_it_keeps_no_other_signer_back_and_signs_nothing_when_it_wakes(
    kafka_address: str, topic: str, dsns: Dsns, fresh_database: str
) -> None:
    watch = Watch(kafka_address, topic, dsns)
    put_tree(dsns, 0, 3)
    with started(kafka_address, topic, dsns.signer, at="swapped", number=signal.SIGSTOP) as frozen:
        wait_for(lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED, "it is frozen")
        put_tree(dsns, 0, 4)
        undisturbed(kafka_address, topic, dsns, {0: 4})  # the server has rolled the frozen one back
        watch.look()
        frozen.send_signal(signal.SIGCONT)
        wait_for(lambda: _sessions(fresh_database) > 0, "it has connected again")
        put_tree(dsns, 0, 7)
        wait_for(lambda: sizes(dsns) == {0: 7}, "it goes on from what the other one kept")
        wait_for(lambda: topic_is_the_rows(kafka_address, topic, dsns), "published")
    watch.look()
    assert sorted({size for _, size in watch.roots}) == [4, 7]


@pytest.mark.timeout(300)
def test_while_kafka_stands_still_what_was_kept_waits_and_is_published_when_it_is_back(
    server_folder: Path, fresh_database: str
) -> None:
    dsns = new_schema(fresh_database)
    topic = "ledger.checkpoints"
    with local_kafka(server_folder / "kafka-of-the-signer") as broker:
        topics.create(broker.bootstrap, {topic: (topics.Kind.RECORDS, 1)})
        put_tree(dsns, 0, 3)
        with signing(broker.bootstrap, topic, dsns.signer, publish_deadline_s=1) as running:
            running.wait_for(lambda: sizes(dsns) == {0: 3}, "signed")
            running.turns()
            kafka = psutil.Process(broker.pid)
            kafka.suspend()
            try:
                put_tree(dsns, 0, 4)
                running.wait_for(lambda: sizes(dsns) == {0: 4} and running.progress.faults > 0, "kept, not published")
                put_tree(dsns, 0, 5)
            finally:
                kafka.resume()
            running.wait_for(lambda: sizes(dsns) == {0: 5}, "it goes on")
            running.turns()
        found = [said.size for said in published(broker.bootstrap, topic)[0]]
    # Nothing more is signed before 4 is published. What was frozen on its way may be there twice.
    assert sorted(set(found)) == [3, 4, 5]


def _sessions(administrator: str) -> int:
    with psycopg.connect(administrator) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'consent-ledger sign'"
            " AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])
