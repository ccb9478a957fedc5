"""Measures a rebuild from position 0 beside its serial floor, and how its time grows with the log.

The floor does one thing after the other, and no judging: a bare poll of the topic, then COPY of the very rows that the
rebuild made (dumped once, outside the clock) into tables without any index, then every index that the rebuilt schema
has. Both write with `synchronous_commit` off, for a rebuild that was cut short is begun again.
"""

import inspect
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.report import Figure, Point, Target, alone, beside, missing
from benchmarks.stage import Stage
from benchmarks.stats import middle
from benchmarks.topic import Filled, poll_s
from projections.schema import Dsns
from replay import rebuild as rebuilding

_BLOCK = 256 * 1024
_TARGETS = {1: Target(low=0.5), 2: Target(low=0.8)}
_GROWTH = Target(high=1.2)
Superuser = psycopg.Connection[tuple[Any, ...]]


def measure(stage: Stage) -> Iterator[Figure | Point]:
    """Records a second by the floor and by rebuilds of one and two processes; time a record as the log grows."""
    yield from _beside_the_floor(stage)
    yield from _growth(stage)


def _beside_the_floor(stage: Stage) -> Iterator[Figure]:
    filled = stage.topic(stage.plan.rebuilt)
    possible = {1: True, 2: may_have_workers()}
    parts: list[tuple[float, float, float]] = []
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder, _database(stage) as dsns:
        for number in stage.rounds():
            if number == 0:  # once outside the clock: for the rows, and so that every round finds warm servers
                _dump(stage, dsns, rebuild(stage, filled, dsns, 1)[1], Path(folder))
            parts.append((poll_s(stage.here.bootstrap, filled), *_floor_s(stage, dsns, Path(folder))))
            for workers in (n for n in rates if possible[n]):
                seconds, schema = rebuild(stage, filled, dsns, workers)
                rates[workers].append(filled.records / seconds)
                _drop(stage, dsns, schema)
    floor = [filled.records / sum(round_parts) for round_parts in parts]
    shares = ", ".join(
        f"{name} {middle([part[i] for part in parts]):.1f} s" for i, name in enumerate(("poll", "COPY", "indexes"))
    )
    yield alone("rebuild's serial floor", floor, "records/s", note=f"{filled.records:,} records: {shares}")
    for workers, found in rates.items():
        name = f"rebuild, {workers} process{'es' if workers > 1 else ''}"
        if found:
            yield beside(name, found, "records/s", "serial floor", floor, _TARGETS[workers])
        else:
            yield missing(name, "records/s", _TARGETS[workers], "this version rebuilds in one process only")


def _growth(stage: Stage) -> Iterator[Figure | Point]:
    """One process each, round by round through all sizes."""
    sizes = stage.plan.growth
    us: dict[int, list[float]] = {size: [] for size in sizes}
    filled = {size: stage.topic(size) for size in sizes}
    with _database(stage) as dsns:
        for _ in stage.rounds(at_most=3):
            for size in sizes:
                seconds, schema = rebuild(stage, filled[size], dsns, 1)
                us[size].append(seconds / filled[size].records * 1e6)
                _drop(stage, dsns, schema)
    base, largest = sizes[-2] if len(sizes) < 4 else sizes[1], sizes[-1]
    for size in sizes:
        yield Point("rebuild", "a record", size, middle(us[size]), "us")
        if size != largest:
            yield alone(f"rebuild, time a record at {size:,} events", us[size], "us")
    name, against = f"rebuild, time a record at {largest:,} events", f"{base:,} events"
    note = "" if largest == 1_000_000 else "the full run takes 1,000,000 against 50,000"
    yield beside(name, us[largest], "us", against, us[base], _GROWTH, note)


def may_have_workers() -> bool:
    """Whether a rebuild may take several processes."""
    return "workers" in inspect.signature(rebuilding.rebuild).parameters


def rebuild(stage: Stage, filled: Filled, dsns: Dsns, workers: int) -> tuple[float, str]:
    """How long a rebuild takes, from the call to a schema that answers, and the schema's name."""
    options: dict[str, Any] = {"workers": workers} if may_have_workers() else {}
    started = time.perf_counter()
    done = rebuilding.rebuild(
        stage.here.bootstrap, dsns.owner, dsns.projector, topic=filled.topic, until=filled.heads, **options
    )
    seconds = time.perf_counter() - started
    assert not done.halted and done.events == filled.records, "everything was rebuilt"
    return seconds, done.schema


@contextmanager
def _database(stage: Stage) -> Iterator[Dsns]:
    dsns = stage.here.new_database()
    yield dsns
    stage.here.drop_database(dsns.owner)


def _superuser(stage: Stage, dsns: Dsns) -> Superuser:
    return psycopg.connect(stage.here.superuser_of(dsns.owner), autocommit=True)


def _drop(stage: Stage, dsns: Dsns, schema: str) -> None:
    with _superuser(stage, dsns) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


# --- the floor --------------------------------------------------------------------------------------------------


def _dump(stage: Stage, dsns: Dsns, schema: str, folder: Path) -> None:
    """The rows of every table in a file each, and how to make the tables and indexes anew in the schema `floor`."""
    with _superuser(stage, dsns) as connection:
        connection.execute("CREATE SCHEMA floor_template")
        for (table,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)
        ).fetchall():
            names = {"table": sql.Identifier(table), "schema": sql.Identifier(schema)}
            copy_out = sql.SQL("COPY {schema}.{table} TO STDOUT").format(**names)
            with (folder / f"{table}.rows").open("wb") as file, connection.cursor().copy(copy_out) as copy:
                for block in copy:
                    file.write(block)
            like = sql.SQL("CREATE TABLE floor_template.{table} (LIKE {schema}.{table} INCLUDING STORAGE)")
            connection.execute(like.format(**names))
        found = connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = %s", (schema,)).fetchall()
        indexes = [str(made).replace(f" ON {schema}.", " ON floor.", 1) for (made,) in found]
        assert indexes and all(" ON floor." in made for made in indexes), "every index of the rebuilt schema"
        (folder / "indexes.sql").write_text(";\n".join(indexes), "utf-8")
    _drop(stage, dsns, schema)


def _floor_s(stage: Stage, dsns: Dsns, folder: Path) -> tuple[float, float]:
    """Seconds for COPY into tables without indexes, and for the indexes."""
    files = sorted(folder.glob("*.rows"))
    with _superuser(stage, dsns) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("CREATE SCHEMA floor")
        for file in files:
            like = sql.SQL("CREATE TABLE floor.{table} (LIKE floor_template.{table} INCLUDING STORAGE)")
            connection.execute(like.format(table=sql.Identifier(file.stem)))
        started = time.perf_counter()
        for file in files:
            copy_in = sql.SQL("COPY floor.{} FROM STDIN").format(sql.Identifier(file.stem))
            with file.open("rb") as rows, connection.cursor().copy(copy_in) as copy:
                while block := rows.read(_BLOCK):
                    copy.write(block)
        copied = time.perf_counter()
        connection.execute((folder / "indexes.sql").read_bytes())
        indexed = time.perf_counter()
        connection.execute("DROP SCHEMA floor CASCADE")
    return copied - started, indexed - copied
