"""One batch, judged: what comes out of the history and goes into the tables, before any transaction is open.

outcome = judge_batch(connection, history, residents, batch)
outcome.verdicts, outcome.closed, outcome.changes, outcome.holdings      # for projections.write
"""

from typing import Any, NamedTuple

import psycopg
from msgspec import UNSET

from ledger import events as e
from ledger.codec import instant
from ledger.history import PartitionHistory, Row
from projections import load
from projections.batch import Batch
from projections.cells import NULL, escaped, moment, text_array, timestamp
from projections.changes import Changes
from projections.findings import findings_text
from projections.holdings import Holding, State, state_of
from projections.lookup import Lookup
from projections.named import named_cells

Connection = psycopg.Connection[Any]


class BatchRows(NamedTuple):
    """All that a batch writes. `verdicts` and `holdings` are lines of COPY; `closed` are (offset, from, until)."""

    batch: Batch
    changes: Changes
    verdicts: list[str]
    closed: list[tuple[int, int, int]]
    holdings: list[str]
    held_anew: list[dict[str, Any]]
    touched: list[str]


def judge_batch(
    connection: Connection, history: PartitionHistory, residents: load.Residents, batch: Batch
) -> BatchRows:
    """Loads what the batch touches, folds and judges it, and works out every row it writes."""
    touched = load.prepare(connection, history, residents, batch)
    changes = Changes(batch.partition)
    rows: dict[tuple[int, int], Row] = {}
    take, apply = changes.take, history.apply
    for item in batch.items:
        take(item)
        for row in apply(item[0], item[1]):
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


def _verdict_row(row: Row, partition: int) -> str:
    event, verdict = row.event, row.verdict
    policy_id, policy_version = verdict.policy or (NULL, NULL)
    return (
        f"{row.offset}\t{row.known_from}\t{NULL if row.known_until is None else row.known_until}\t"
        f"{timestamp(event.time)}\t{partition}\t{event.subject}\t{event.source}\t{event.id}\t{event.kind}\t"
        f"{named_cells(event.data)}\t{verdict.outcome}\t{row.first_outcome}\t{policy_id}\t{policy_version}\t"
        f"{text_array(verdict.basis)}\t{escaped(findings_text(verdict, partition))}\n"
    )


# --- holdings ---------------------------------------------------------------------------------------------------


def _new_holdings(history: PartitionHistory, changes: Changes) -> list[str]:
    """A line for each category of each collection of the batch."""
    lines = []
    for item in changes.collections:
        data: e.DataCollected = item.event.data
        source, _, subject = item.key
        assert subject is not None
        time, purposes = instant(item.event.time), data.purposes
        before = f"{item.offset}\t{timestamp(item.event.time)}\t{changes.partition}\t{subject}\t"
        after = f"{data.origin}\t{NULL if data.notice_id is UNSET else data.notice_id}\t"
        stated = text_array(purposes)
        for category in data.categories:
            told, erased = _state(history, Holding(item.offset, time, subject, category, purposes))
            when = f"{NULL}\t{NULL}" if erased is None else f"{moment(erased[0])}\t{erased[1]}"
            all_told = stated if told == purposes else text_array(told)
            lines.append(f"{before}{category}\t{source}\t{stated}\t{all_told}\t{after}{when}\n")
    return lines


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
