"""Writes one judged batch: rows and position in one transaction, exactly once.

The position is eventsourcing's tracking (`ledger[3]`, offset + 1). Its strictly rising ids do not stop two workers
whose batches overlap, so the tracking row is locked first and compared with the position this worker stands at:
`StaleWriter` when another one has moved it. COPY then needs no key to keep doubles out.

    write(recorder, judged, position)         # raises StaleWriter; commits or leaves nothing
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import psycopg
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from psycopg.rows import tuple_row

from ledger.errors import StaleWriter
from projections.changes import Competition
from projections.datastore import application_name
from projections.judged import BatchRows
from projections.statements import statements

Cursor = psycopg.Cursor[Any]


def write(recorder: PostgresTrackingRecorder, judged: BatchRows, position: int, *, durable: bool = True) -> None:
    """Writes what a batch changes and moves the partition from `position` to the batch's end.

    `durable=False` lets PostgreSQL answer before the disk has it: rows and position would be lost together, never one
    without the other.
    """
    name = application_name(judged.batch.partition)
    with recorder.datastore.transaction(commit=True) as tracking_cursor:
        with tracking_cursor.connection.cursor(row_factory=tuple_row) as cursor:
            if not durable:
                cursor.execute("SET LOCAL synchronous_commit = off")
            _lock(cursor, name, position)
            _append(cursor, judged)
            _update(cursor, judged)
            _merge(cursor, judged)
        recorder._insert_tracking(tracking_cursor, Tracking(name, judged.batch.end))


def _lock(cursor: Cursor, name: str, position: int) -> None:
    found = cursor.execute(statements("write")["lock position"], {"name": name}).fetchone()
    if found is None or found[0] != position:
        raise StaleWriter(f"another worker has moved {name} on: this batch is not written, and its work starts over")


def _append(cursor: Cursor, judged: BatchRows) -> None:
    changes, partition = judged.changes, judged.batch.partition
    _copy(cursor, "timeline", changes.timeline)
    repeats = [(partition, r.offset, r.first_offset, r.conflict, r.body.decode()) for r in judged.batch.repeats]
    _copy(cursor, "repeats", repeats)
    _copy(cursor, "verdicts", judged.verdicts)
    _copy(cursor, "holdings", judged.holdings)
    _copy(cursor, "withheld", changes.withheld)


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


def _execute(cursor: Cursor, name: str, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    if listed:
        cursor.execute(statements("write")[name], {"rows": orjson.dumps(listed).decode()})
