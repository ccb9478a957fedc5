"""Measures the live projection: all views, verdicts and trees from a full topic, beside a bare poll loop over it.

One process, and two with half of the partitions each. Peer (a), the eventsourcing library's own runner, takes fewer
records, and so do we beside it. Also: what a worker holds in memory, and what the trees cost, as a share of the
projection and alone.
"""

import time
from collections.abc import Iterator

from benchmarks.peer_eventsourcing import project_s
from benchmarks.report import Figure, Target, alone, beside
from benchmarks.stage import Stage
from benchmarks.topic import Filled, poll_s
from benchmarks.workers import Projected, project
from ledger.garbage import calm_collector
from ledger.kafka.reader import Reader
from ledger.log import LogRecord
from ledger.tree.merkle import leaf_hash
from projections.tree import empty_tree, plan

BATCH_LEAVES = 10_000
MEMORY_MB = 300


def measure(stage: Stage) -> Iterator[Figure]:
    """Records a second: polled only, and projected by one process and by two into empty databases."""
    filled = stage.topic(stage.plan.projected)
    polled: list[float] = []
    one: list[Projected] = []
    two: list[Projected] = []
    for _ in stage.rounds():
        polled.append(filled.records / poll_s(stage.here.bootstrap, filled))
        one.append(_projected(stage, filled, 1))
        two.append(_projected(stage, filled, 2))
    size = f"{filled.records:,} records"
    yield alone("bare poll loop", polled, "records/s", note=f"{size}; kafka-python, check_crcs, crc32c")
    for processes, done, wanted in ((1, one, 0.22), (2, two, 0.42)):
        rates = [filled.records / run.seconds for run in done]
        name = f"live projection, all views, {processes} process{'es' if processes > 1 else ''}"
        yield beside(name, rates, "records/s", "bare poll loop", polled, Target(low=wanted))
    memory = [max(a.peak_mb, b.peak_mb) for a, b in zip(one, two, strict=True)]
    yield alone("worker's memory, peak RSS", memory, "MB", Target(high=MEMORY_MB, strict=True))
    yield alone("trees' share of the projection", [run.tree_share for run in one], "share")
    grown = _grown_s(stage, filled)
    yield alone(f"incremental tree alone, {BATCH_LEAVES:,} leaves at a time", grown, "leaves/s")
    yield from _peer(stage)


def _projected(stage: Stage, filled: Filled, processes: int) -> Projected:
    dsns = stage.here.new_database()
    done = project(stage.here.bootstrap, dsns.projector, filled, processes=processes)
    stage.here.drop_database(dsns.owner)
    return done


def _peer(stage: Stage) -> Iterator[Figure]:
    """Ours and the library's over the same records; the library's once, for it takes long."""
    filled = stage.topic(stage.plan.peer_rows)
    stage.say(f"peer (a) takes {filled.records:,} records, one at a time")
    ours = [filled.records / _projected(stage, filled, 1).seconds]
    dsns = stage.here.new_database()
    theirs = [filled.records / project_s(stage.here, filled, dsns)]
    stage.here.drop_database(dsns.owner)
    note = f"{filled.records:,} records, one round"
    yield alone("peer (a): eventsourcing's ProjectionRunner, one event a transaction", theirs, "records/s", note=note)
    yield beside("live projection, 1 process, the same rows", ours, "records/s", "peer (a)", theirs, Target(low=15))


def _grown_s(stage: Stage, filled: Filled) -> list[float]:
    """Leaves a second: every record's leaf hash, every node, and the tiles to write, batch by batch."""
    found = _records(stage.here.bootstrap, filled)
    rates = []
    for _ in stage.rounds():
        with calm_collector():
            started = time.perf_counter()
            for partition, records in found.items():
                tree = empty_tree(partition)
                for start in range(0, len(records), BATCH_LEAVES):
                    some = records[start : start + BATCH_LEAVES]
                    leaves = [leaf_hash(record.value) for record in some]
                    tree = plan(tree, [record.position.offset for record in some], leaves).after
            rates.append(filled.records / (time.perf_counter() - started))
    return rates


def _records(bootstrap: str, filled: Filled) -> dict[int, list[LogRecord]]:
    found: dict[int, list[LogRecord]] = {partition: [] for partition in filled.heads}
    with Reader(bootstrap, filled.topic, dict.fromkeys(filled.heads, 0)) as reader:
        while sum(len(records) for records in found.values()) < filled.records:
            for partition, records in reader.poll().items():
                found[partition] += records
    return found
