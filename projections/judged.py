"""One batch, judged: what comes out of the history and goes into the tables, before any transaction is open.

outcome = judge_batch(connection, history, residents, batch)
outcome.verdicts, outcome.closed, outcome.changes, outcome.holdings      # for projections.write
"""

from typing import Any, NamedTuple

import psycopg

from ledger import events as e
from ledger.codec import instant
from ledger.history import PartitionHistory, Row
from projections import load
from projections.batch import Batch
from projections.cells import moment, optional, text_array, timestamp
from projections.changes import Changes
from projections.findings import findings_text
from projections.holdings import Holding, State, state_of
from projections.lookup import Lookup
from projections.named import named_by

Connection = psycopg.Connection[Any]


class BatchRows(NamedTuple):
    """All that a batch writes. `verdicts`, `holdings`, `repeats` are table rows; `closed` are (offset, from, until)."""

    batch: Batch
    changes: Changes
    verdicts: list[tuple[Any, ...]]
    closed: list[tuple[int, int, int]]
    holdings: list[tuple[Any, ...]]
    held_anew: list[dict[str, Any]]
    touched: list[str]


def judge_batch(
    connection: Connection, history: PartitionHistory, residents: load.Residents, batch: Batch
) -> BatchRows:
    """Loads what the batch touches, folds and judges it, and works out every row it writes."""
    touched = load.prepare(connection, history, residents, batch)
    changes = Changes(batch.partition)
    rows: dict[tuple[int, int], Row] = {}
    for item in batch.items:
        changes.take(item)
        for row in history.apply(item.offset, item.event):
            rows[row.offset, row.known_from] = row
    verdicts, closed = [], []
    for key in sorted(rows):
        row = rows[key]
        if row.known_from >= batch.start:
            verdicts.append(_verdict_row(row, batch.partition))
        elif row.known_until is not None:
            closed.append((row.offset, row.known_from, row.known_until))
    return BatchRows(
        batch,
        changes,
        verdicts,
        closed,
        _new_holdings(history, changes),
        _older_holdings(connection, history, changes, residents.lookup),
        touched,
    )


def _verdict_row(row: Row, partition: int) -> tuple[Any, ...]:
    event, verdict = row.event, row.verdict
    policy_id, policy_version = verdict.policy or (None, None)
    return (
        row.offset,
        row.known_from,
        row.known_until,
        timestamp(event.time),
        partition,
        event.subject,
        event.source,
        event.id,
        event.kind,
        *named_by(event.data),
        verdict.outcome,
        row.first_outcome,
        policy_id,
        policy_version,
        text_array(verdict.basis),
        findings_text(verdict, partition),
    )


# --- holdings ---------------------------------------------------------------------------------------------------


def _new_holdings(history: PartitionHistory, changes: Changes) -> list[tuple[Any, ...]]:
    """A row for each category of each collection of the batch."""
    rows = []
    for item in changes.collections:
        data: e.DataCollected = item.event.data
        subject = str(item.key[2])
        time = instant(item.event.time)
        origin = (data.origin, optional(data.notice_id))
        for category in data.categories:
            holding = Holding(item.offset, time, subject, category, data.purposes)
            told, erased = _state(history, holding)
            when = (None, None) if erased is None else (moment(erased[0]), erased[1])
            what = (subject, category, item.key[0], text_array(data.purposes), text_array(told))
            rows.append((item.offset, timestamp(item.event.time), changes.partition, *what, *origin, *when))
    return rows


def _older_holdings(
    connection: Connection, history: PartitionHistory, changes: Changes, lookup: Lookup
) -> list[dict[str, Any]]:
    """Rows of earlier batches that late notices, erasures or policies of this one change."""
    told_since: dict[str, int] = {}
    for item in changes.notices:
        subject, time = str(item.key[2]), instant(item.event.time)
        told_since[subject] = min(time, told_since.get(subject, time))
    erased_until: dict[str, int] = {}
    for item in changes.erasures:
        subject, time = str(item.key[2]), instant(item.event.time)
        erased_until[subject] = max(time, erased_until.get(subject, time))
    policies_since = min((instant(item.event.data.effective_from) for item in changes.policies), default=None)
    found = lookup.holdings(connection, told_since, erased_until, policies_since)
    updates: dict[tuple[int, str], dict[str, Any]] = {}
    for offset, time, subject, category, purposes, told, erased_offset in found:
        state = _state(history, Holding(offset, time, subject, category, tuple(purposes)))
        now_erased = None if state.erased is None else state.erased[1]
        if state.told == tuple(told) and now_erased == erased_offset:
            continue
        updates[offset, category] = {
            "partition": changes.partition,
            "offset": offset,
            "category": category,
            "told": state.told,
            "erased": None if state.erased is None else moment(state.erased[0]),
            "erased_offset": now_erased,
        }
    return list(updates.values())


def _state(history: PartitionHistory, holding: Holding) -> State:
    resident = history.residents[holding.subject]
    return state_of(holding, resident.facts.full, history.rules.full)
