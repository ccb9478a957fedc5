"""A swap under live writes: readers see no error, no gap, no position going back; live workers go on by themselves."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
import psycopg
import pytest

from ledger.errors import ConfigurationError, NotYet, ProjectionError
from ledger.kafka.log import KafkaLog
from ledger.log import Entry
from projections import schema
from projections.answers import Answers
from projections.building import Building
from projections.rebuilds import REPLAY, Purpose
from projections.schema import Dsns
from projections.swap import replaced
from replay.compare import compare
from replay.rebuild import rebuild
from replay.swap import swap
from tests.projected import append, following, history, many, new_schema, project, rows
from tests.replaying import beside, replayed

PARTITIONS = 2
FIRST = "p0s0r0"
"""A resident of the first history of partition 0, whose log is read all the time."""


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(PARTITIONS)


@pytest.fixture
def log(make_log: Callable[..., KafkaLog], topic: str) -> KafkaLog:
    opened = make_log(topic=topic)
    for partition in range(PARTITIONS):
        append(opened, partition, many(partition, 0, 4))
    return opened


@pytest.fixture
def dsns(fresh_database: str) -> Dsns:
    return new_schema(fresh_database, "live")


class Reading:
    """What readers saw: how often, and what was wrong."""

    def __init__(self) -> None:
        self.reads = 0
        self.wrong: list[str] = []

    async def read(self, reader_dsn: str, stop: threading.Event, subject: str) -> None:
        """Reads on and on: how far the views reach, and a log that only grows; in one snapshot they fit."""
        reach: dict[int, int] = {}
        entries = 0
        async with Answers(reader_dsn, pool_size=2) as answers:
            while not stop.is_set():
                try:
                    async with answers.auditor() as view:
                        now = await view.projected()
                        page = (await view.log(subject, 0, limit=500)).entries
                        again = await view.projected()
                except NotYet as error:
                    self.wrong.append(f"error: {error}")
                    continue
                if any(now.get(p, 0) < offset for p, offset in reach.items()):
                    self.wrong.append(f"went back: {reach} {now}")
                if now != again:
                    self.wrong.append(f"one snapshot, two states: {now} {again}")
                if len(page) < entries:
                    self.wrong.append(f"a gap: {len(page)} of {entries}")
                reach, entries = now, len(page)
                self.reads += 1
                await asyncio.sleep(0.01)


@contextmanager
def read_all_the_time(reader_dsn: str, readers: int = 2) -> Iterator[Reading]:
    stop, reading = threading.Event(), Reading()

    async def run() -> None:
        await asyncio.gather(*(reading.read(reader_dsn, stop, FIRST) for _ in range(readers)))

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield reading
    finally:
        stop.set()
        thread.join(30)


@contextmanager
def written_all_the_time(log: KafkaLog) -> Iterator[None]:
    stop = threading.Event()

    def write() -> None:
        seed = 1_000
        while not stop.is_set():
            for partition in range(PARTITIONS):
                append(log, partition, many(partition, seed, 1))
            seed += 1
            stop.wait(0.2)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.timeout(400)
def test_a_swap_under_live_writes_is_noticed_by_nobody(
    kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str
) -> None:
    with following(kafka_address, topic, dsns, batch_events=30) as progress, read_all_the_time(dsns.reader) as reading:
        assert progress.caught_up.wait(60)
        with written_all_the_time(log):
            for number in range(2):
                rebuilt = rebuild(kafka_address, dsns.owner, dsns.projector, topic=topic, workers=1 + number)
                before = reading.reads
                swapped = swap(kafka_address, dsns.owner, dsns.projector, rebuilt.schema, topic=topic)
                assert reading.reads > before, "readers were there"
                assert schema.exists(dsns.owner, swapped.old)
                assert not schema.exists(dsns.owner, rebuilt.schema)
        heads = {p: log.head(p) for p in range(PARTITIONS)}
        asyncio.run(_until_reached(dsns.reader, heads))
        found = compare(kafka_address, dsns.owner, dsns.projector, topic=topic)
    assert reading.wrong == []
    assert reading.reads > 20
    assert found.equal, [view for view in found.views if view.different]
    assert found.complete
    assert found.events == sum(heads.values())
    assert len(replaced(dsns.owner, "live")) == 2


async def _until_reached(reader_dsn: str, heads: dict[int, int]) -> None:
    async with Answers(reader_dsn) as answers:
        for _ in range(600):
            async with answers.anyone() as view:
                reach = await view.projected()
            if all(reach.get(p, 0) >= offset for p, offset in heads.items()):
                return
            await asyncio.sleep(0.1)
    pytest.fail(f"the live worker goes on by itself: {reach}")


def test_a_swap_mends_views_that_were_altered_and_drop_old_removes_them(
    kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str
) -> None:
    project(kafka_address, topic, dsns, log)
    right = rows(dsns)
    with psycopg.connect(dsns.owner) as connection:
        connection.execute("UPDATE verdicts SET outcome = 'consistent'")
        connection.execute('DELETE FROM timeline WHERE "offset" = 1')
    done = replayed(kafka_address, topic, dsns.owner, "--swap", "--json")
    assert done.returncode == 0, done.stderr
    said = orjson.loads(done.stdout)
    assert said["through"] == {str(p): log.head(p) for p in range(PARTITIONS)}
    assert rows(dsns) == right
    assert rows(beside(dsns, said["old"])) != right
    dropped = replayed(kafka_address, topic, dsns.owner, "--drop-old", "--json")
    assert orjson.loads(dropped.stdout) == {"dropped": [said["old"]]}
    assert not schema.exists(dsns.owner, said["old"])
    assert project(kafka_address, topic, dsns, log) == {}, "a live worker goes on in it"


def test_what_is_no_view_is_carried_over(kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str) -> None:
    project(kafka_address, topic, dsns, log)
    with psycopg.connect(dsns.owner) as connection:
        connection.execute('INSERT INTO halted ("partition", "offset", code) VALUES (1, 5, \'json\')')
        connection.execute("CREATE TABLE someones (x int)")
        connection.execute("INSERT INTO someones VALUES (7)")
    rebuilt = rebuild(kafka_address, dsns.owner, dsns.projector, topic=topic)
    swap(kafka_address, dsns.owner, dsns.projector, rebuilt.schema, topic=topic)
    with psycopg.connect(dsns.owner) as connection:
        assert connection.execute('SELECT "partition", "offset", code FROM halted').fetchall() == [(1, 5, "json")]
        assert connection.execute("SELECT x FROM someones").fetchall() == [(7,)]


def test_a_rebuild_that_is_not_complete_replaces_nothing(
    kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str
) -> None:
    project(kafka_address, topic, dsns, log)
    before = rows(dsns)
    Building(dsns.owner, "begun").create(Purpose(topic, None, REPLAY))
    with pytest.raises(ProjectionError, match="not a complete rebuild"):
        swap(kafka_address, dsns.owner, dsns.projector, "begun", topic=topic)
    with pytest.raises(ConfigurationError, match="no rebuild"):
        swap(kafka_address, dsns.owner, dsns.projector, "live", topic=topic)
    with pytest.raises(ConfigurationError, match="no live views"):
        swap(kafka_address, dsns.owner, dsns.projector, "begun", topic=topic, live="nowhere")
    refused = replayed(kafka_address, topic, dsns.projector, "--swap")
    assert refused.returncode == 2
    assert b"needs the role ledger_owner" in refused.stderr
    assert rows(dsns) == before
    assert replaced(dsns.owner, "live") == []


def test_views_that_stand_still_at_a_record_are_swapped_and_not_those_behind_the_live_ones(
    kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str
) -> None:
    bad = log.append([Entry(0, None, b"{")])[0].result(timeout=30)
    assert list(project(kafka_address, topic, dsns, log)) == [0]
    before = rows(dsns)
    done = replayed(kafka_address, topic, dsns.owner, "--swap", "--json")
    assert done.returncode == 0
    assert str(bad).encode() in done.stderr
    assert rows(dsns) == before
    with psycopg.connect(dsns.owner) as connection:
        assert connection.execute('SELECT "partition", "offset" FROM halted').fetchall() == [tuple(bad)]
        connection.execute(
            "UPDATE tracking SET notification_id = notification_id + 1 WHERE application_name = 'ledger[0]'"
        )
    refused = replayed(kafka_address, topic, dsns.owner, "--swap")
    assert refused.returncode == 3
    assert b"stand still" in refused.stderr
    assert rows(dsns) == before


def test_a_reader_that_never_ends_stops_the_swap_and_nothing_else(
    kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.swap.HOLD_S", 0.5)
    monkeypatch.setattr("replay.swap.ATTEMPTS", 2)
    project(kafka_address, topic, dsns, log)
    rebuilt = rebuild(kafka_address, dsns.owner, dsns.projector, topic=topic)
    with psycopg.connect(dsns.reader) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM tracking")
        with pytest.raises(NotYet, match="open for too long"):
            swap(kafka_address, dsns.owner, dsns.projector, rebuilt.schema, topic=topic)
        append(log, 0, history(5))
        assert project(kafka_address, topic, dsns, log) == {}, "live workers go on meanwhile"
    monkeypatch.undo()
    swapped = swap(kafka_address, dsns.owner, dsns.projector, rebuilt.schema, topic=topic)
    assert replaced(dsns.owner, "live") == [swapped.old]


def test_an_empty_log_is_neither_rebuilt_nor_swapped(kafka_address: str, dsns: Dsns, topic: str) -> None:
    for arguments in ((), ("--swap",), ("--compare",)):
        assert replayed(kafka_address, topic, dsns.owner, *arguments).returncode == 3
    assert replaced(dsns.owner, "live") == []


NONSENSE = (
    (("--until", "9-1"), 2, "no partition 9"),
    (("--until", "0-99999"), 3, "ends before"),
    (("--until", "0-1,0-2"), 2, "partition 0 twice"),
    (("--until", "x"), 2, "positions like"),
    (("--compare", "--swap"), 2, "different things"),
    (("--swap", "--until", "0-1"), 2, "different things"),
    (("--schema", "nowhere"), 2, "no rebuild"),
    (("--workers", "0"), 2, "--workers"),
)


@pytest.mark.timeout(300)
def test_nonsense_is_refused(kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str) -> None:
    for arguments, code, said in NONSENSE:
        done = replayed(kafka_address, topic, dsns.owner, *arguments)
        assert (done.returncode, arguments) == (code, arguments)
        assert said in " ".join(done.stderr.decode().split())
        assert b"Traceback" not in done.stderr


def test_progress_off_a_terminal_is_plain_lines(kafka_address: str, dsns: Dsns, log: KafkaLog, topic: str) -> None:
    done = replayed(kafka_address, topic, dsns.owner)
    lines = done.stderr.decode().splitlines()
    assert [line for line in lines if line.startswith("replaying: ")]
    assert any("records" in line and "a second" in line for line in lines)
    assert "\r" not in done.stderr.decode()
    assert "\x1b" not in done.stderr.decode()
    assert replayed(kafka_address, topic, dsns.owner, "--quiet").stderr == b""
