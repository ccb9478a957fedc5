"""What the worker asks PostgreSQL before it judges a batch: what is known already, and only what the batch touches.

Facts of the residents it speaks of (unless they are still in memory), and the open verdicts that its late facts can
change: of one resident from the fact's time on; for a reference fact by recipient, by demand, or all. Everything is
found by index; the log is not read again.

    prepare(connection, history, residents, batch)    # history can now `apply` the batch's events
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from ledger import codec
from ledger import events as e
from ledger.history import PartitionHistory, Row
from ledger.tree.merkle import Frontier, InvalidProof
from projections import tree as trees
from projections.batch import Batch, First, Item, Key
from projections.cells import LAST_INSTANT, moment
from projections.findings import restored
from projections.statements import statements
from projections.tlog import StoredTree

Connection = psycopg.Connection[Any]
_MAX_SUBJECTS_AT_ONCE = 5_000


NEVER = -1


class Residents:
    """The residents whose facts are in memory, the longest unused first; bounded by how many facts that is.

    `latest` is when their latest judged event happened: a fact after that changes no verdict, so most ask for none.
    """

    def __init__(self, history: PartitionHistory, limit_facts: int) -> None:
        self._history = history
        self._limit_facts = limit_facts
        self._used: OrderedDict[str, int] = OrderedDict()
        self._facts = 0
        self.latest: dict[str, int] = {}

    def missing(self, subjects: Iterable[str]) -> list[str]:
        """Those that have to be loaded; the others count as used just now."""
        missing = []
        for subject in subjects:
            if subject in self._used:
                self._used.move_to_end(subject)
            else:
                missing.append(subject)
        return missing

    def loaded(self, subjects: Iterable[str], latest: Mapping[str, int]) -> None:
        """These are in memory from now on."""
        for subject in subjects:
            self._used[subject] = 0
            self.latest[subject] = latest.get(subject, NEVER)
            self._history.resident(subject)

    def settle(self, touched: Iterable[str]) -> None:
        """After a batch: forgets the verdicts (they are in the table), and residents beyond the bound."""
        for subject in touched:
            resident = self._history.residents[subject]
            if resident.judged:
                self.latest[subject] = max(self.latest[subject], resident.judged[-1].instant)
                resident.judged.clear()
            count = 1 + resident.facts.full.count
            self._facts += count - self._used[subject]
            self._used[subject] = count
        while self._facts > self._limit_facts and len(self._used) > 1:
            subject, count = self._used.popitem(last=False)
            self._facts -= count
            del self._history.residents[subject], self.latest[subject]


def first_records(connection: Connection, partition: int, items: Sequence[Item]) -> dict[Key, First]:
    """The records known before under the keys of these."""
    wanted = {item.key for item in items}
    parameters = {"hashes": [item.hash for item in items], "partition": partition}
    rows = _query(connection, "first records", parameters)
    return {
        (source, event_id, subject): First(offset, body.encode())
        for offset, source, event_id, subject, body in rows
        if (source, event_id, subject) in wanted
    }


def reference_facts(connection: Connection, history: PartitionHistory) -> None:
    """Gives a fresh history all reference facts of its partition."""
    for offset, body in _query(connection, "reference facts", {"partition": history.partition}):
        history.restore_reference(offset, codec.read(body.encode()))


def position(connection: Connection, name: str) -> int:
    """The first offset that is not in the views; it has been seeded."""
    [(found,)] = _query(connection, "position", {"name": name})
    return int(found)


def tree(connection: Connection, partition: int, position: int) -> StoredTree:
    """The partition's tree; raises `TreeMismatch` when it is not the tree of this position."""
    [row] = _query(connection, "tree", {"partition": partition})
    size, frontier, next_offset, *run = row
    try:
        stored = StoredTree(partition, Frontier.unpack(size or 0, bytes(frontier or b"")), next_offset or 0)
    except InvalidProof:
        raise trees.mismatch(partition, position) from None
    starts = trees.edge_starts(stored.frontier.size)
    edge = [
        trees.EdgeTile(*tile) for tile in _query(connection, "tree edge", {"partition": partition, "starts": starts})
    ]
    trees.check(stored, position, None if run[0] is None else (run[0], run[1]), edge)
    return stored


def prepare(connection: Connection, history: PartitionHistory, residents: Residents, batch: Batch) -> list[str]:
    """Loads what the batch's events touch; returns the residents that are now in memory because of it."""
    late: dict[str, int] = {}
    subjects: dict[str, None] = {}
    for item in batch.items:
        subject = item.key[2]
        if subject is None:
            continue
        since = history.since(item.event)
        if since is not None:
            late[subject] = min(since, late.get(subject, since))
        if since is not None or item.event.kind in e.JUDGED:
            subjects[subject] = None
    late = {s: since for s, since in late.items() if min(since, LAST_INSTANT) <= residents.latest.get(s, LAST_INSTANT)}
    rows = {(row.offset, row.known_from): row for row in _rows_of_residents(connection, history.partition, late)}
    for row in _rows_under_rules(connection, history, batch):
        rows[row.offset, row.known_from] = row
        subjects[str(row.event.subject)] = None
    missing = residents.missing(subjects)
    latest: dict[str, int] = {}
    for at in range(0, len(missing), _MAX_SUBJECTS_AT_ONCE):
        some = missing[at : at + _MAX_SUBJECTS_AT_ONCE]
        parameters = {"subjects": some, "partition": history.partition}
        for offset, body in _query(connection, "facts", parameters):
            history.restore_fact(offset, codec.read(body.encode()))
        latest |= dict(_query(connection, "latest judged", parameters))
    residents.loaded(missing, latest)
    for key in sorted(rows):
        history.restore_judged(rows[key])
    return list(subjects)


def _rows_of_residents(connection: Connection, partition: int, late: dict[str, int]) -> list[Row]:
    """Open verdicts of each resident from the time of their earliest fact in the batch on."""
    if not late:
        return []
    parameters = {"subjects": list(late), "sinces": [moment(since) for since in late.values()], "partition": partition}
    return _rows(_query(connection, "open rows of residents", parameters))


def _rows_under_rules(connection: Connection, history: PartitionHistory, batch: Batch) -> list[Row]:
    """Open verdicts that the batch's reference facts can touch."""
    facts = [item.event for item in batch.items if item.key[2] is None]
    found: list[Row] = []
    for event in facts:
        since, touched = history.since(event), history.touches(event)
        if since is None or touched is None:
            continue
        by, ids = touched
        if isinstance(event.data, e.AgreementEnded):
            ids = (*ids, *_signed_in(facts, event.data.agreement_id))
        parameters = {"partition": history.partition, "since": moment(since), "ids": list(ids)}
        if ids or by == "all":
            found += _rows(_query(connection, f"open rows by {by}", parameters))
    return found


def _signed_in(facts: Iterable[e.Event], agreement_id: str) -> list[str]:
    """Who an agreement is signed with in the same batch: the history does not know that yet."""
    signed = (event.data for event in facts if isinstance(event.data, e.AgreementSigned))
    return [data.recipient for data in signed if data.agreement_id == agreement_id]


def _rows(found: Iterable[tuple[Any, ...]]) -> list[Row]:
    rows = []
    for offset, known_from, _, outcome, first_outcome, policy_id, policy_version, basis, findings, body in found:
        policy = None if policy_id is None else (policy_id, policy_version)
        verdict = restored(outcome, findings, basis, policy)
        rows.append(Row(offset, known_from, None, codec.read(body.encode()), first_outcome, verdict))
    return rows


def _query(connection: Connection, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statements("load")[name], parameters).fetchall()
