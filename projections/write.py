"""Writes one judged batch: rows, tree and position in one transaction, exactly once.

The position is eventsourcing's tracking (`ledger[3]`, offset + 1). Its strictly rising ids do not stop two workers
whose batches overlap, so the tracking row is locked first, with the partition's epoch, and both are compared with what
this worker goes by: `StaleWriter` when another one has moved the position, or has the partition now
(projections.assignments). COPY then needs no key to keep doubles out.

    write(recorder, judged, tree, position, epoch)   # raises StaleWriter, TreeMismatch; commits or leaves nothing
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import psycopg
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from psycopg.rows import tuple_row

from ledger.errors import StaleWriter
from ledger.tree.merkle import HASH_BYTES
from projections.changes import Competition
from projections.datastore import application_name
from projections.judged import BatchRows
from projections.statements import statements
from projections.tree import TreePlan, mismatch

Cursor = psycopg.Cursor[Any]
LINES_AT_ONCE = 500


def write(
    recorder: PostgresTrackingRecorder,
    judged: BatchRows,
    tree: TreePlan,
    position: int,
    epoch: int,
    *,
    durable: bool = True,
) -> float:
    """Writes what a batch changes and moves the partition from `position` to the batch's end.

    Returns how many seconds of that the tree took.
    `durable=False` lets PostgreSQL answer before the disk has it: rows and position would be lost together, never one
    without the other.
    """
    name = application_name(judged.batch.partition)
    with recorder.datastore.transaction(commit=True) as tracking_cursor:
        with tracking_cursor.connection.cursor(row_factory=tuple_row) as cursor:
            if not durable:
                cursor.execute("SET LOCAL synchronous_commit = off")
            _lock(cursor, judged.batch.partition, position, epoch)
            _append(cursor, judged)
            _update(cursor, judged)
            _merge(cursor, judged)
            started_s = time.perf_counter()
            _advance(cursor, tree, position)
            tree_s = time.perf_counter() - started_s
        recorder._insert_tracking(tracking_cursor, Tracking(name, judged.batch.end))
    return tree_s


def _lock(cursor: Cursor, partition: int, position: int, epoch: int) -> None:
    parameters = {"name": application_name(partition), "partition": partition}
    found = cursor.execute(statements("write")["lock position"], parameters).fetchone()
    if found is None or found[1] != epoch:
        raise StaleWriter(f"another worker has taken partition {partition} over: this batch is not written")
    if found[0] != position:
        raise StaleWriter(f"partition {partition} is not where this batch begins: it is not written, work starts over")


def _append(cursor: Cursor, judged: BatchRows) -> None:
    changes, partition = judged.changes, judged.batch.partition
    _copy_lines(cursor, "timeline", changes.timeline)
    repeats = [(partition, r.offset, r.first_offset, r.conflict, r.body.decode()) for r in judged.batch.repeats]
    _copy(cursor, "repeats", repeats)
    _copy_lines(cursor, "verdicts", judged.verdicts)
    _copy_lines(cursor, "holdings", judged.holdings)
    _copy(cursor, "withheld", changes.withheld)


def _copy_lines(cursor: Cursor, table: str, lines: Sequence[str]) -> None:
    """Lines of COPY's text format, in blocks of a few hundred kilobytes: the other thread judges while they go out."""
    if lines:
        with cursor.copy(statements("write")[f"copy {table}"]) as copy:
            for at in range(0, len(lines), LINES_AT_ONCE):
                copy.write("".join(lines[at : at + LINES_AT_ONCE]).encode())


def _copy(cursor: Cursor, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        with cursor.copy(statements("write")[f"copy {table}"]) as copy:
            for row in rows:
                copy.write_row(row)


def _update(cursor: Cursor, judged: BatchRows) -> None:
    if judged.closed:
        offsets, froms, untils = (list(column) for column in zip(*judged.closed, strict=True))
        parameters = {"partition": judged.batch.partition, "offsets": offsets, "froms": froms, "untils": untils}
        cursor.execute(statements("write")["close verdicts"], parameters)
        assert cursor.rowcount == len(judged.closed), "every verdict that closes was open"
    _execute(cursor, "update holdings", judged.held_anew)


def _merge(cursor: Cursor, judged: BatchRows) -> None:
    changes = judged.changes
    merges: tuple[tuple[str, Competition], ...] = (
        ("merge consent states", changes.consent_states),
        ("merge consent givings", changes.consent_givings),
        ("merge preferences", changes.preferences),
        ("merge anonymity", changes.anonymity),
        ("merge cases", changes.cases),
        ("merge openings", changes.openings),
        ("merge answers", changes.answers),
        ("merge reference facts", changes.reference_facts),
    )
    for name, competition in merges:
        _execute(cursor, name, competition.rows.values())


def _advance(cursor: Cursor, tree: TreePlan, position: int) -> None:
    parameters = {
        "partition": tree.after.partition,
        "size": tree.after.frontier.size,
        "frontier": tree.after.frontier.pack(),
        "next_offset": tree.after.next_offset,
        "old_size": tree.before.frontier.size,
        "old_frontier": tree.before.frontier.pack(),
        "old_next_offset": tree.before.next_offset,
        "run_offsets": [offset for offset, _ in tree.runs],
        "run_indexes": [index for _, index in tree.runs],
        "levels": [write.tile.level for write in tree.tiles],
        "indexes": [write.tile.index for write in tree.tiles],
        "starts": [write.start * HASH_BYTES for write in tree.tiles],
        "hashes": [write.data for write in tree.tiles],
    }
    done = cursor.execute(statements("write")["advance tree"], parameters).fetchone()
    if done != (1, len(tree.runs), len(tree.tiles)):
        raise mismatch(tree.after.partition, position)


def _execute(cursor: Cursor, name: str, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    if listed:
        cursor.execute(statements("write")[name], {"rows": orjson.dumps(listed).decode()})
