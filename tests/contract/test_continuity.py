"""A log that is not what was signed, on real servers: found at the start, by recorder and workers, and by verify-log.

What was signed is one topic's records; the log that is looked at is another topic with some of them changed.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from api.http import answers
from ledger import codec
from ledger.errors import LogError, Unavailable
from ledger.kafka import segments
from ledger.kafka.checkpoints import CheckpointPublisher
from ledger.kafka.log import KafkaLog
from ledger.kafka.reader import Reader
from ledger.kafka.source import Sources
from ledger.log import Entry
from ledger.tree import checkpoint
from ledger.tree.checkpoint import Checkpoint
from ledger.tree.continuity import CHECKSUM, DIFFERS, MISSING
from ledger.tree.merkle import Frontier, leaf_hash
from ledger.tree.note import Signer
from projections import members, rowwise, worker
from projections.schema import Dsns
from projections.start_check import TWO_ROOTS, StartCheck
from projections.tlog import Signed, Trees
from replay.verify_log import Report, verify_log
from tests import door
from tests.projected import append, history, many, new_schema, project, records, schema_of
from tests.signing import put_row

PARTITIONS = 2
Change = Callable[[list[bytes]], None]


@dataclass
class Ledger:
    """A log with its views, and the topic of its checkpoints, under a key of its own."""

    kafka: str
    topic: str
    checkpoints: str
    dsns: Dsns
    log: KafkaLog
    key: Signer = field(default_factory=lambda: Signer.generate("ledger.example"))

    def sign(self, partition: int, *sizes: int, publish: bool = True) -> bytes:
        """Signs the partition at these sizes (none: at its whole); returns the last note."""
        leaves = [leaf_hash(record.value) for record in records(self.log, partition)]
        notes = []
        for size in sizes or (len(leaves),):
            root = Frontier().extend(leaves[:size]).after.root
            notes.append(checkpoint.sign(Checkpoint(self.key.name, partition, size, root), [self.key]))
        if publish:
            self.publish(partition, *notes)
        return notes[-1]

    def publish(self, partition: int, *notes: bytes) -> None:
        with CheckpointPublisher(self.kafka, self.checkpoints) as publisher:
            for note in notes:
                publisher.publish(partition, note)

    def project(self) -> None:
        assert project(self.kafka, self.topic, self.dsns, self.log) == {}

    def check(self, topic: str = "", dsn: str = "", *, tail: bool = False) -> StartCheck:
        """The start check of the log, or of another one that is said to be it."""
        return StartCheck(
            self.kafka,
            [self.key.verifier],
            dsn or self.dsns.projector,
            topic=topic or self.topic,
            checkpoints=self.checkpoints,
            tail=tail,
        )

    def verify(self, topic: str = "", *, trees: bool = True, partitions: Sequence[int] | None = None) -> Report:
        with closing(Trees(self.dsns.reader)) as stored:
            return verify_log(
                self.kafka,
                [self.key.verifier],
                trees=stored if trees else None,
                topic=topic or self.topic,
                checkpoints=self.checkpoints,
                partitions=partitions,
                published_within_s=0,
            )


@pytest.fixture
def ledger(
    kafka_address: str, make_topic: Callable[..., str], make_log: Callable[..., KafkaLog], fresh_database: str
) -> Ledger:
    topic = make_topic(PARTITIONS)
    return Ledger(kafka_address, topic, make_topic(1), new_schema(fresh_database), make_log(topic=topic))


@pytest.fixture
def changed(ledger: Ledger, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]) -> Callable[..., str]:
    """Makes a topic with the ledger's records, those of some partitions changed: `changed({0: change})`."""

    def make(changes: dict[int, Change]) -> str:
        topic = make_topic(PARTITIONS)
        copy = make_log(topic=topic)
        for partition in range(PARTITIONS):
            values = [record.value for record in records(ledger.log, partition)]
            changes.get(partition, unchanged)(values)
            for future in copy.append([Entry(partition, None, value) for value in values]):
                future.result(30)
        return topic

    return make


def altered(index: int) -> Change:
    def change(values: list[bytes]) -> None:
        values[index] = values[index].replace(b'"time":"2', b'"time":"3')

    return change


def swapped(index: int) -> Change:
    def change(values: list[bytes]) -> None:
        values[index], values[index + 1] = values[index + 1], values[index]

    return change


def dropped(index: int) -> Change:
    def change(values: list[bytes]) -> None:
        del values[index]

    return change


def cut(index: int) -> Change:
    def change(values: list[bytes]) -> None:
        del values[index:]

    return change


def unchanged(values: list[bytes]) -> None:
    pass


def places(check: StartCheck) -> dict[int, tuple[str, str]]:
    return {partition: (error.position, error.code) for partition, error in check(range(PARTITIONS)).items()}


# --- the start check --------------------------------------------------------------------------------------------


def test_a_log_that_is_what_was_signed_or_has_grown_passes(ledger: Ledger) -> None:
    append(ledger.log, 0, many(0, 0, 4))
    assert ledger.check()(range(PARTITIONS)) == {}, "nothing was signed yet"
    ledger.sign(0)
    ledger.project()
    append(ledger.log, 0, history(50, 0))
    append(ledger.log, 1, history(51, 1))
    for tail in (False, True):
        assert ledger.check(tail=tail)(range(PARTITIONS)) == {}


def test_the_first_place_that_differs_is_named_and_another_partition_passes(
    ledger: Ledger, changed: Callable[..., str]
) -> None:
    for partition in range(PARTITIONS):
        append(ledger.log, partition, many(partition, 0, 5))
        assert ledger.log.head(partition) > 280, "more than a tile"
        ledger.sign(partition, 7)
        ledger.sign(partition)
    ledger.project()
    last = ledger.log.head(1) - 3
    first = changed({0: altered(12), 1: swapped(270)})
    second = changed({0: dropped(256), 1: cut(last)})
    third = changed({0: cut(0)})
    for tail in (False, True):
        assert places(ledger.check(first, tail=tail)) == {0: ("0-12", DIFFERS), 1: ("1-270", DIFFERS)}
    assert places(ledger.check(second)) == {0: ("0-256", DIFFERS), 1: (f"1-{last}", MISSING)}
    check = ledger.check(third)
    assert places(check) == {0: ("0-0", MISSING)}
    assert check([1]) == {}
    assert "0-0" in str(check([0])[0])


def test_without_tiles_the_records_between_two_checkpoints_are_named(
    ledger: Ledger, changed: Callable[..., str], fresh_database: str
) -> None:
    append(ledger.log, 0, history(2, 0)[:40])
    ledger.sign(0, 10, 20, 40)
    empty = new_schema(fresh_database)
    [error] = ledger.check(changed({0: altered(12)}), empty.projector)([0]).values()
    assert (error.position, error.what) == (
        "0-10",
        "one of the records 0-10 to 0-19 is not the one that was signed, or is missing",
    )


def test_what_the_signer_keeps_counts_where_the_topic_has_lost_it(ledger: Ledger, changed: Callable[..., str]) -> None:
    append(ledger.log, 0, history(3, 0)[:30])
    ledger.project()
    note = ledger.sign(0, publish=False)
    put_row(ledger.dsns, 0, _row(ledger, note))
    assert places(ledger.check(changed({0: altered(12)}))) == {0: ("0-12", DIFFERS)}
    put_row(ledger.dsns, 0, _row(ledger, note)._replace(note=b"forged"))
    assert places(ledger.check(changed({0: altered(12)}))) == {}, "nobody has signed that"


def _row(ledger: Ledger, note: bytes) -> Signed:
    said = checkpoint.open_checkpoint(note, [ledger.key.verifier], 0)
    return Signed(said.size, said.root, note)


def test_two_signed_roots_of_one_size_stop_their_partition(ledger: Ledger) -> None:
    for partition in range(PARTITIONS):
        append(ledger.log, partition, history(4 + partition, partition)[:20])
        ledger.sign(partition)
    other = Checkpoint(ledger.key.name, 1, 20, bytes(32))
    ledger.publish(1, checkpoint.sign(other, [ledger.key]))
    assert places(ledger.check()) == {1: ("1-19", TWO_ROOTS)}


def test_a_check_that_is_told_to_stop_stops(ledger: Ledger) -> None:
    append(ledger.log, 0, history(5, 0))
    ledger.sign(0)
    check = ledger.check()
    with pytest.raises(Unavailable):
        check([0], lambda: True)
    assert check([0]) == {}


def test_a_check_without_its_topic_of_checkpoints_says_so(ledger: Ledger) -> None:
    ledger.checkpoints = "no.such.topic"
    with pytest.raises(LogError, match=r"no\.such\.topic does not exist"):
        ledger.check()([0])


# --- who asks it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_group", [False, True])
def test_a_worker_writes_nothing_of_any_partition_when_one_differs(
    ledger: Ledger, changed: Callable[..., str], in_group: bool
) -> None:
    append(ledger.log, 0, history(6, 0))
    append(ledger.log, 1, history(7, 1))
    ledger.project()
    for partition in range(PARTITIONS):
        ledger.sign(partition)
    before = rowwise.positions(ledger.dsns.owner)

    def grow(values: list[bytes]) -> None:
        values += [codec.encode(event) for event in many(1, 60, 1)]

    def alter_and_grow(values: list[bytes]) -> None:
        altered(12)(values)
        values += [codec.encode(event) for event in many(0, 61, 1)]

    topic = changed({0: alter_and_grow, 1: grow})
    settings = worker.Settings(topic=topic, poll_s=0.05, check=ledger.check(topic))
    stop = threading.Event()
    name = schema_of(ledger.dsns)
    halted: list[dict[int, LogError]] = []

    def halted_rows() -> list[tuple[int, int, str]]:
        with psycopg.connect(ledger.dsns.reader) as connection:
            return connection.execute('SELECT "partition", "offset", code FROM halted').fetchall()

    def work() -> None:
        run = members.run_in_group if in_group else worker.run
        halted.append(run(ledger.kafka, ledger.dsns.projector, name, settings=settings, stop=stop))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        _wait(lambda: halted_rows() != [])
        time.sleep(1)  # time enough for a worker that goes on
    finally:
        stop.set()
        thread.join(60)
    assert halted_rows() == [(0, 12, DIFFERS)]
    assert [str(error.position) for error in halted[0].values()] == ["0-12"]  # type: ignore[attr-defined]
    assert rowwise.positions(ledger.dsns.owner) == before


def test_a_recorder_records_nothing_in_any_partition(
    kafka_address: str, database_url: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    key, topic = Signer.generate(door.NAME), make_topic(1)
    settings = door.settings_for(
        kafka_address, database_url, tmp_path, checkpoint_vkeys=(key.verifier.vkey,), checkpoints_topic=topic
    )
    with door.serve(settings, tmp_path) as running:
        assert running.post(door.event()).status_code == 201
        before = running.heads()
        [record] = running.records()
    partition = record.position.partition
    root = Frontier().extend([leaf_hash(record.value + b"!")]).after.root
    with CheckpointPublisher(kafka_address, topic) as publisher:
        publisher.publish(partition, checkpoint.sign(Checkpoint(key.name, partition, 1, root), [key]))
    with door.serve(settings, tmp_path, routers=tuple(answers.routers()), ready=False) as running:
        _wait(lambda: bool(running.runtime.recorder.status().differs))
        place = str(record.position)
        assert running.runtime.recorder.status().differs == (place,)
        ready = running.client.get("/readyz")
        assert (ready.status_code, ready.json()["parts"]["log"]["differs_at"]) == (503, [place])
        for number in range(12):
            assert running.post(door.event(subject=f"r{number}")).status_code == 503
        assert running.post(door.service_registered()).status_code == 503
        assert running.heads() == before


# --- what the broker's files may hold ---------------------------------------------------------------------------

OURS = pytest.mark.skipif("CONSENT_LEDGER_KAFKA" in os.environ, reason="the broker's files are not at hand")


@pytest.fixture
def files(server_folder: Path, ledger: Ledger) -> Callable[[int], Path]:
    """Where the running broker keeps a partition."""
    return lambda partition: server_folder / "kafka" / "data" / f"{ledger.topic}-{partition}"


@OURS
def test_a_byte_changed_under_a_running_broker_is_named(ledger: Ledger, files: Callable[[int], Path]) -> None:
    """With its checksum made right, and with a wrong one in the middle of a batch."""
    for partition in range(PARTITIONS):
        append(ledger.log, partition, history(8 + partition, partition)[:40])
        ledger.sign(partition, 10, 40)
    ledger.project()
    segments.alter(files(0), 23, lambda value: value.replace(b'"time":"2', b'"time":"3'))
    segments.alter(files(1), 24, lambda value: value.replace(b'"time":"2', b'"time":"3'), fix_crc=False)
    assert places(ledger.check()) == {0: ("0-23", DIFFERS), 1: ("1-24", CHECKSUM)}
    report = ledger.verify()
    assert [(f.position, f.until, f.code) for f in report.findings] == [
        ("0-23", None, DIFFERS),
        ("1-24", None, CHECKSUM),
    ]


@OURS
def test_a_batch_that_makes_no_sense_is_named_by_whoever_reads_several_partitions(
    ledger: Ledger, files: Callable[[int], Path]
) -> None:
    """The client says of a batch whose sum is right, and whose records are not, no partition."""
    for partition in range(PARTITIONS):
        append(ledger.log, partition, history(10 + partition, partition)[:20])
    with Reader(ledger.kafka, ledger.topic, dict.fromkeys(range(PARTITIONS), 0)) as reader:
        [*_, batch] = segments.batches(files(1))
        raw = bytearray(batch.raw)
        raw[batch.records[0].value_at - 2] ^= 0x10  # how long its value is
        fixed = segments.with_checksum(bytes(raw))
        with batch.file.open("r+b") as file:
            file.seek(batch.at)
            file.write(fixed)
        deadline_s = time.monotonic() + 60
        with pytest.raises(LogError) as raised:
            while time.monotonic() < deadline_s:
                reader.poll()
    assert getattr(raised.value, "position", None) == f"1-{batch.base_offset}"
    with Sources(ledger.kafka, ledger.topic) as sources, pytest.raises(LogError):
        list(sources.of(1).batches(0))


# --- verify-log -------------------------------------------------------------------------------------------------


def test_verify_log_compares_every_checkpoint_and_counts_what_is_not_covered(ledger: Ledger) -> None:
    append(ledger.log, 0, many(0, 0, 6))
    append(ledger.log, 1, history(1, 1)[:9])
    count = ledger.log.head(0)
    assert not ledger.verify().clean, "nothing was signed"
    ledger.sign(0, 1, 255, 256, 257, 300)
    ledger.sign(1)
    ledger.project()
    for trees in (True, False):
        report = ledger.verify(trees=trees)
        assert report.clean, report.findings
        assert [(p.records, p.checkpoints, p.covered, p.not_covered) for p in report.partitions] == [
            (count, 5, 300, count - 300),
            (9, 1, 9, 0),
        ]
        assert [p.tree for p in report.partitions] == ([count, 9] if trees else [None, None])
    assert [p.partition for p in ledger.verify(partitions=[1]).partitions] == [1]
    stranger = Ledger(**{**vars(ledger), "key": Signer.generate("ledger.example")})
    assert (stranger.verify().clean, stranger.verify().checkpoints) == (False, 0)


def test_verify_log_names_what_differs_in_the_log(ledger: Ledger, changed: Callable[..., str]) -> None:
    append(ledger.log, 0, history(2, 0)[:40])
    append(ledger.log, 1, history(3, 1)[:40])
    ledger.project()
    for partition in range(PARTITIONS):
        ledger.sign(partition, 10, 20, 40)
    topic = changed({0: altered(12), 1: cut(33)})
    report = ledger.verify(topic)
    assert [(f.position, f.until, f.code) for f in report.findings] == [
        ("0-12", None, DIFFERS),
        ("1-33", None, MISSING),
    ]
    blind = ledger.verify(topic, trees=False)
    assert [(f.position, f.until, f.code) for f in blind.findings] == [
        ("0-10", "0-19", DIFFERS),
        ("1-20", "1-33", DIFFERS),
    ]
    assert not report.clean
    assert not blind.clean


def test_verify_log_names_a_record_that_cannot_be_read_beyond_the_last_checkpoint(ledger: Ledger) -> None:
    append(ledger.log, 0, history(4, 0)[:5])
    ledger.sign(0)
    ledger.log.append([Entry(0, None, b'{"type":"org.consent-ledger.from.the.future.v9"}')])[0].result(30)
    [finding] = ledger.verify(trees=False).findings
    assert (finding.position, finding.code) == ("0-5", "unreadable")


def test_verify_log_finds_what_is_wrong_with_the_checkpoints(ledger: Ledger) -> None:
    append(ledger.log, 0, history(5, 0)[:30])
    ledger.project()
    ledger.sign(0, 10)
    note = ledger.sign(0, publish=False)
    put_row(ledger.dsns, 0, _row(ledger, note))
    assert [f.code for f in ledger.verify().findings] == ["unpublished"]
    ledger.publish(0, note)
    assert ledger.verify().clean
    put_row(ledger.dsns, 0, _row(ledger, note)._replace(size=29))
    assert [f.code for f in ledger.verify().findings] == ["signer-state"]
    put_row(ledger.dsns, 0, None)
    ledger.publish(7, checkpoint.sign(Checkpoint(ledger.key.name, 7, 3, bytes(32)), [ledger.key]))
    assert [(f.position, f.code) for f in ledger.verify().findings] == [(None, MISSING)]
    ledger.publish(0, checkpoint.sign(Checkpoint(ledger.key.name, 0, 10, bytes(32)), [ledger.key]))
    assert "two-roots" in [f.code for f in ledger.verify().findings]


def test_verify_log_names_the_record_whose_stored_hash_differs(ledger: Ledger) -> None:
    append(ledger.log, 0, many(0, 0, 6))
    ledger.project()
    ledger.sign(0)
    count = ledger.log.head(0)
    with psycopg.connect(ledger.dsns.owner) as connection:
        kept = {table: connection.execute(f"TABLE {table}".encode()).fetchall() for table in STORED}
    for statement, code, offset in (
        ("UPDATE tiles SET hashes = set_byte(hashes, 32 * 17 + 5, 0) WHERE level = 0 AND index = 1", "tile", 273),
        ("UPDATE tiles SET hashes = set_byte(hashes, 5, 0) WHERE level = 1", "tile", 0),
        ("UPDATE tiles SET hashes = substring(hashes FOR 640) WHERE level = 0 AND index = 1", "tile", 276),
        ("DELETE FROM tiles WHERE level = 0 AND index = 0", "tile", 0),
        ("UPDATE trees SET frontier = set_byte(frontier, 5, 0)", "tree", count - 1),
        ("UPDATE trees SET frontier = substring(frontier FOR 5)", "tree", 0),
        ("UPDATE trees SET next_offset = next_offset + 1", "tree", count - 1),
        ("UPDATE leaf_runs SET first_index = first_index + 1", "leaf-run", 0),
        ("INSERT INTO leaf_runs VALUES (0, 100, 99)", "leaf-run", 99),
        ("DELETE FROM leaf_runs", "leaf-run", 0),
    ):
        with psycopg.connect(ledger.dsns.owner) as connection:
            assert connection.execute(statement.encode()).rowcount == 1
        [finding] = ledger.verify(partitions=[0]).findings
        assert (finding.position, finding.code) == (f"0-{offset}", code), statement
        _put_back(ledger.dsns, kept)
    assert ledger.verify(partitions=[0]).clean


STORED = ("tiles", "trees", "leaf_runs")


def _put_back(dsns: Dsns, kept: dict[str, list[tuple[object, ...]]]) -> None:
    with psycopg.connect(dsns.owner) as connection:
        for table, rows in kept.items():
            connection.execute(f"DELETE FROM {table}".encode())
            marks = ", ".join(["%s"] * len(rows[0]))
            connection.cursor().executemany(f"INSERT INTO {table} VALUES ({marks})".encode(), rows)


def _wait(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
