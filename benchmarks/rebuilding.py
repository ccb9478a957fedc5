"""Measures a rebuild with N processes against its serial floor: a bare poll, then COPY of the same rows, then indexing.

    $ python -m benchmarks.rebuilding --records 200000 --rounds 3

The floor polls the topic to its end, then COPYs the very rows of a rebuild (one table after the other, in
PostgreSQL's text format) into tables without any index and makes each index and key. Rounds are interleaved; ratios are
medians. `measure` gives the figures to whoever has servers and a topic already.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import psycopg
from msgspec import UNSET
from psycopg import sql

from benchmarks.projecting import _poll_s
from benchmarks.report import Figure, middle
from benchmarks.servers import PARTITIONS, Servers, servers
from benchmarks.workload import city, stamped
from ledger import codec
from ledger.events import Event
from ledger.kafka.log import KafkaLog
from ledger.log import Entry
from projections import rowwise, schema
from projections.schema import Dsns
from replay.rebuild import Rebuilt, rebuild

AT_LEAST = {1: 0.5, 2: 0.8}
_CHUNK = 10_000


class Round(NamedTuple):
    """One round: seconds of the floor's two parts, and of the rebuild by number of processes."""

    poll_s: float
    copy_s: float
    rebuild_s: dict[int, float]

    @property
    def floor_s(self) -> float:
        """The serial floor."""
        return self.poll_s + self.copy_s


def measure(
    here: Servers,
    topic: str,
    records: int,
    rounds: int,
    processes: tuple[int, ...] = (1, 2),
    say: Callable[[str], None] = print,
) -> list[Figure]:
    """Records a second of the floor and of rebuilds, beside each other."""
    done = []
    for number in range(rounds):
        done.append(one_round(here, topic, processes))
        say(f"round {number + 1}: {done[-1]}")
    floor = middle([records / r.floor_s for r in done])
    figures = [
        Figure.alone("floor of a rebuild: poll, COPY, index", floor, "records/s"),
    ]
    for count in processes:
        ratio = middle([r.floor_s / r.rebuild_s[count] for r in done])
        name = f"rebuild, {count} process{'es' if count > 1 else ''}"
        at_least = AT_LEAST.get(count, 0.0)
        figures.append(
            Figure.against_limit(name, ratio * floor, "records/s", "floor of a rebuild", floor, at_least=at_least)
        )
    return figures


def one_round(here: Servers, topic: str, processes: tuple[int, ...]) -> Round:
    """A rebuild with each number of processes, each in a database of its own, then the floor on the last one's rows."""
    seconds: dict[int, float] = {}
    for count in processes:
        dsns = here.new_database()
        started = time.perf_counter()
        rebuilt = rebuild(here.bootstrap, dsns.owner, dsns.projector, topic=topic, workers=count)
        seconds[count] = time.perf_counter() - started
        assert rebuilt.complete, "the workload is readable"
    poll_s = _poll_s(here, topic)
    return Round(poll_s, copy_s(dsns, rebuilt), seconds)


def copy_s(dsns: Dsns, rebuilt: Rebuilt) -> float:
    """COPY of all rows of a rebuild into unindexed tables, and every index and key of theirs."""
    target = f"{rebuilt.schema}_copy"
    source_dsn = schema.at_schema(dsns.owner, rebuilt.schema)
    with psycopg.connect(source_dsn, autocommit=True) as source, psycopg.connect(source_dsn, autocommit=True) as sink:
        keys = source.execute(
            "SELECT c.conrelid::regclass::text, pg_get_constraintdef(c.oid) FROM pg_constraint c"
            " WHERE c.connamespace = %s::regnamespace AND c.contype IN ('p', 'u')"
            " AND c.conrelid::regclass::text = ANY(%s)",
            (rebuilt.schema, list(rowwise.VIEWS)),
        ).fetchall()
        indexes = source.execute(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND NOT EXISTS"
            " (SELECT FROM pg_constraint k WHERE k.conname = indexname AND k.connamespace = %s::regnamespace)"
            " AND tablename = ANY(%s)",
            (rebuilt.schema, rebuilt.schema, list(rowwise.VIEWS)),
        ).fetchall()
        sink.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(target)))
        for view in rowwise.VIEWS:
            of, into = sql.Identifier(rebuilt.schema, view), sql.Identifier(target, view)
            sink.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING STORAGE)").format(into, of))
        seconds = 0.0
        sink.execute("SET synchronous_commit = off")
        sink.execute("SET maintenance_work_mem = '128MB'")
        for view in rowwise.VIEWS:
            of, into = sql.Identifier(rebuilt.schema, view), sql.Identifier(target, view)
            read = sql.SQL("COPY {} TO STDOUT").format(of)
            write = sql.SQL("COPY {} FROM STDIN").format(into)
            with source.cursor().copy(read) as out, sink.cursor().copy(write) as copy:
                chunks = iter(out)
                while some := list(islice(chunks, _CHUNK)):
                    started = time.perf_counter()
                    copy.write(b"".join(bytes(chunk) for chunk in some))
                    seconds += time.perf_counter() - started
                started = time.perf_counter()
            seconds += time.perf_counter() - started
        started = time.perf_counter()
        for view, key in keys:
            sink.execute(sql.SQL("ALTER TABLE {} ADD " + key).format(sql.Identifier(target, view)))
        for (definition,) in indexes:
            sink.execute(definition.replace(f"{rebuilt.schema}.", f"{target}.").encode())
        return seconds + time.perf_counter() - started


def fill(here: Servers, records: int, residents: int | None = None) -> str:
    """A topic with so many records of the city."""
    topic = here.new_topic()
    events = stamped(city(residents or records // 25, records))
    with KafkaLog(here.bootstrap, topic) as log:
        for some in _chunks(events, _CHUNK):
            entries = []
            for event in some:
                subject = None if event.subject is UNSET else str(event.subject)
                partitions = range(PARTITIONS) if subject is None else [log.partition_of(subject)]
                entries += [Entry(p, subject, codec.encode(event)) for p in partitions]
            for future in log.append(entries):
                future.result(timeout=120)
    return topic


def _chunks(events: Iterator[Event], size: int) -> Iterator[list[Event]]:
    while some := list(islice(events, size)):
        yield some


def main() -> None:
    """Starts servers, fills a topic, and prints each round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()

    def say(what: str) -> None:
        print(what, file=sys.stderr, flush=True)

    with servers(say) as here:
        topic = fill(here, given.records)
        for figure in measure(here, topic, given.records, given.rounds, tuple(given.processes), say):
            print(figure.name, round(figure.value), figure.unit, figure.ratio)


if __name__ == "__main__":
    main()
