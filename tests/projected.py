"""Projections on real servers, for tests: logs with random histories, schemas, and what is in them.

A history goes into a partition of its own, with residents of its own, so that one broker topic holds many.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from uuid import uuid4

import psycopg
from msgspec import UNSET
from msgspec.structs import replace

from ledger import codec
from ledger.errors import LogError
from ledger.events import Event
from ledger.history import PartitionHistory, Row, findings_bytes
from ledger.kafka.log import KafkaLog
from ledger.log import Entry, Log, LogRecord, Position
from ledger.tree.tiles import check_tiles
from projections import schema, worker
from projections.schema import Dsns
from projections.tlog import Snapshot, Trees
from tests.property.dice import Dice
from tests.property.strategies import random_history
from tests.reference.tree import Tree

PASSWORDS = dict.fromkeys(schema.ROLES, "only-for-tests")
VIEWS = (
    "timeline",
    "repeats",
    "verdicts",
    "consents",
    "preferences",
    "anonymity",
    "holdings",
    "cases",
    "reference_facts",
    "withheld",
    "trees",
    "leaf_runs",
    "tiles",
)


def new_schema(superuser_dsn: str, name: str | None = None) -> Dsns:
    """A schema of the test's own, made by migrations; its name is in each connection string."""
    return schema.prepare(superuser_dsn, PASSWORDS, name or f"view_{uuid4().hex[:12]}")


def schema_of(dsns: Dsns) -> str:
    """The name of the schema that the connection strings lead to."""
    with psycopg.connect(dsns.owner) as connection:
        [(name,)] = connection.execute("SELECT current_schema()").fetchall()
    return str(name)


def history(seed: int, partition: int = 0, residents: int = 3) -> list[Event]:
    """A random history whose residents are this partition's own."""
    subjects = [f"p{partition}r{i}" for i in range(residents)]
    return [event for _, event in random_history(Dice(seed), subjects)]


def append(log: KafkaLog, partition: int, events: Sequence[Event]) -> None:
    """Appends events to one partition, and waits until the broker has them."""
    entries = [
        Entry(partition, None if event.subject is UNSET else str(event.subject), codec.encode(event))
        for event in events
    ]
    for future in log.append(entries):
        future.result(timeout=30)


def records(log: Log, partition: int) -> list[LogRecord]:
    """Everything in one partition."""
    found: list[LogRecord] = []
    while more := log.read(partition, found[-1].position.offset + 1 if found else 0):
        found += more
    return found


def project(address: str, topic: str, dsns: Dsns, log: Log, **settings: object) -> dict[int, LogError]:
    """Projects until the log's present end."""
    heads = {p: log.head(p) for p in range(log.partitions)}
    chosen = worker.Settings(topic=topic, poll_s=0.05, **settings)  # type: ignore[arg-type]
    return worker.run(address, dsns.projector, schema_of(dsns), until=heads, settings=chosen)


@contextlib.contextmanager
def following(address: str, topic: str, dsns: Dsns, **settings: object) -> Iterator[worker.Progress]:
    """A worker that runs for the while, in a thread."""
    stop, progress = threading.Event(), worker.Progress()
    chosen = worker.Settings(topic=topic, poll_s=0.05, **settings)  # type: ignore[arg-type]
    options = {"settings": chosen, "progress": progress, "stop": stop}
    thread = threading.Thread(
        target=worker.run, args=(address, dsns.projector, schema_of(dsns)), kwargs=options, daemon=True
    )
    thread.start()
    try:
        yield progress
    finally:
        stop.set()
        thread.join(timeout=30)
        assert not thread.is_alive(), "the worker stops when it is told to"


def rows(dsns: Dsns) -> Mapping[str, list[str]]:
    """Every row of every view, as text, in one order."""
    with psycopg.connect(dsns.owner) as connection:
        found = {}
        for view in VIEWS:
            statement = psycopg.sql.SQL("SELECT t::text FROM {} t").format(psycopg.sql.Identifier(view))
            found[view] = sorted(row[0] for row in connection.execute(statement))
    return found


Verdict = tuple[int, int, int | None, str, str, str]
"""(offset, known_from, known_until, outcome, first_outcome, findings)"""


def verdict_rows(dsns: Dsns, partition: int) -> set[Verdict]:
    """The verdicts of one partition as PostgreSQL has them."""
    with psycopg.connect(dsns.owner) as connection:
        found = connection.execute(
            'SELECT "offset", known_from, known_until, outcome, first_outcome, findings FROM verdicts'
            ' WHERE "partition" = %s',
            (partition,),
        ).fetchall()
    assert len(set(found)) == len(found), "no verdict is there twice"
    return set(found)


def counting(found: Sequence[LogRecord]) -> list[tuple[int, Event]]:
    """The events of a partition that count: without repeats."""
    seen = set()
    events = []
    for record in found:
        event = codec.read(record.value)
        key = (event.source, event.id, event.subject)
        if key not in seen:
            seen.add(key)
            events.append((record.position.offset, event))
    return events


def pure_verdicts(found: Sequence[LogRecord], partition: int, known_at: int | None = None) -> set[Verdict]:
    """The verdicts of one partition by the pure judge, from nothing, up to position `known_at`."""
    judge = PartitionHistory(partition)
    judged: dict[tuple[int, int], Row] = {}
    for offset, event in counting(found):
        if known_at is None or offset <= known_at:
            for row in judge.apply(offset, event):
                judged[row.offset, row.known_from] = row
    return {
        (*key, r.known_until, r.verdict.outcome, r.first_outcome, findings_bytes(r.verdict, partition).decode())
        for key, r in judged.items()
    }


def check_trees(dsns: Dsns, logged: Mapping[int, Sequence[LogRecord]]) -> None:
    """Whether each partition's stored tree is the one computed anew from these records, which are all that it has."""
    with contextlib.closing(Trees(dsns.reader)) as trees, trees.snapshot() as snapshot:
        for partition, found in logged.items():
            check_tree(snapshot, partition, found)


def check_tree(snapshot: Snapshot, partition: int, found: Sequence[LogRecord], positions: int = 50) -> None:
    """Tree, every tile, and of some `positions` (evenly spread, the last too) which leaf their record is."""
    tree = snapshot.tree(partition)
    root = Tree([record.value for record in found]).root(len(found))
    assert tree.frontier.size == len(found)
    assert tree.frontier.root == root
    assert tree.next_offset == (found[-1].position.offset + 1 if found else 0)
    check_tiles(len(found), root, snapshot.tiles(partition))
    for index in {*range(0, len(found), len(found) // positions + 1), *([len(found) - 1] if found else [])}:
        assert snapshot.leaf_index(found[index].position) == index
        assert snapshot.position(partition, index) == found[index].position
    assert snapshot.leaf_index(Position(partition, tree.next_offset)) is None


def renamed(event: Event, number: int) -> Event:
    """The same event under another id."""
    return replace(event, id=f"{event.id}.{number}")


def many(partition: int, start: int, count: int) -> list[Event]:
    """`count` random histories for one partition from seed `start` on, each with residents and ids of its own.

    Only the first brings rules: each policy may touch every verdict of the partition, however many there are.
    """
    events: list[Event] = []
    for seed in range(start, start + count):
        subjects = [f"p{partition}s{seed}r{i}" for i in range(2)]
        for _, event in random_history(Dice(seed), subjects):
            if event.subject is not UNSET or seed == start == 0:
                events.append(renamed(event, seed))
    return events
