"""Measures the projection: all views and verdicts from a full topic, beside a bare poll loop over the same topic.

And what the trees cost: their share of the projection's time (hashing, planning and the statement that writes them),
and the incremental tree alone, in memory.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import psycopg
from prometheus_client import CollectorRegistry

from benchmarks.report import Figure, middle
from benchmarks.servers import Servers
from ledger.kafka.reader import Reader
from ledger.log import LogRecord
from ledger.tree.merkle import leaf_hash
from projections import worker
from projections.metrics import Metrics
from projections.tree import empty_tree, plan

BATCH_LEAVES = 10_000


class Projected(NamedTuple):
    """One run: how long it took, how much of that was for trees, and where the views are."""

    seconds: float
    tree_seconds: float
    reader_dsn: str


def measure(here: Servers, topic: str, records: int, rounds: int) -> tuple[list[Figure], str]:
    """Records a second: polled only, and projected by one process into an empty database.

    Returns the figures, and the reader's connection string of the last database, which holds the views.
    """
    found: dict[int, list[LogRecord]] = {}
    _poll_s(here, topic, keep=found)
    grown = [records / _grow_s(found) for _ in range(rounds)]
    found.clear()
    polled, projected = [], []
    for _ in range(rounds):
        polled.append(records / _poll_s(here, topic))
        projected.append(_project(here, topic))
    limit = middle(polled)
    us = middle([run.seconds for run in projected]) / records * 1e6
    tree_us = middle([run.tree_seconds for run in projected]) / records * 1e6
    name = "projection, all views, one process"
    rate = middle([records / run.seconds for run in projected])
    figures = [
        Figure.alone("bare poll loop", limit, "records/s"),
        Figure.against_limit(name, rate, "records/s", "bare poll loop", limit, at_least=0.22),
        Figure.against_limit("trees, as a part of the projection", tree_us, "us/record", name, us, at_most=0.1),
        Figure.alone(f"incremental tree, in memory, {BATCH_LEAVES:,} leaves at a time", middle(grown), "leaves/s"),
    ]
    return figures, projected[-1].reader_dsn


def _poll_s(here: Servers, topic: str, keep: dict[int, list[LogRecord]] | None = None) -> float:
    with Reader(here.bootstrap, topic) as reader:
        heads = reader.heads()
        reader.assign(dict.fromkeys(heads, 0))
        left = sum(heads.values())
        started = time.perf_counter()
        while left:
            polled = reader.poll()
            left -= sum(len(records) for records in polled.values())
            if keep is not None:
                for partition, records in polled.items():
                    keep[partition] = keep.get(partition, []) + records
        return time.perf_counter() - started


def _grow_s(found: dict[int, list[LogRecord]]) -> float:
    """Every record's leaf hash, every node, and the tiles to write, batch by batch."""
    started = time.perf_counter()
    for partition, records in found.items():
        tree = empty_tree(partition)
        for start in range(0, len(records), BATCH_LEAVES):
            some: Sequence[LogRecord] = records[start : start + BATCH_LEAVES]
            tree = plan(tree, [r.position.offset for r in some], [leaf_hash(r.value) for r in some]).after
    return time.perf_counter() - started


def _project(here: Servers, topic: str) -> Projected:
    dsns = here.new_database()
    with Reader(here.bootstrap, topic) as reader:
        heads = reader.heads()
    registry = CollectorRegistry()
    settings, metrics = worker.Settings(topic=topic), Metrics(registry)
    started = time.perf_counter()
    halted = worker.run(here.bootstrap, dsns.projector, until=heads, settings=settings, metrics=metrics)
    seconds = time.perf_counter() - started
    assert not halted, "the workload is readable"
    with psycopg.connect(dsns.owner, autocommit=True) as connection:
        connection.execute("ANALYZE")
    tree_seconds = registry.get_sample_value("consent_ledger_tree_seconds_total")
    assert tree_seconds is not None
    return Projected(seconds, tree_seconds, dsns.reader)
