"""What the worker loads before it judges a batch: what is known already, and only what the batch touches.

Facts of the residents it speaks of (unless they are still in memory), and the open verdicts that its late facts can
change: of one resident from the fact's time on; for a reference fact by recipient, by demand, or all. The log is not
read again: a `projections.lookup.Lookup` finds everything, by index or by places kept in memory.

    prepare(connection, history, residents, batch)    # history can now `apply` the batch's events
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from ledger import codec
from ledger import events as e
from ledger.history import PartitionHistory, Row
from ledger.tree.merkle import Frontier, InvalidProof
from projections import tree as trees
from projections.batch import Batch
from projections.cells import LAST_INSTANT
from projections.findings import restored
from projections.lookup import ByIndex, Connection, Lookup, ask
from projections.tlog import StoredTree

NEVER = -1


class Residents:
    """The residents whose facts are in memory, the longest unused first; bounded by how many facts that is.

    `latest` is when their latest judged event happened: a fact after that changes no verdict, so most ask for none.
    `lookup` finds what is not in memory.
    """

    def __init__(self, history: PartitionHistory, limit_facts: int, lookup: Lookup | None = None) -> None:
        self.lookup: Lookup = lookup or ByIndex(history.partition)
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


def reference_facts(connection: Connection, history: PartitionHistory) -> None:
    """Gives a fresh history all reference facts of its partition."""
    for offset, body in ask(connection, "reference facts", partition=history.partition):
        history.restore_reference(offset, codec.read(body.encode()))


def position(connection: Connection, name: str) -> int:
    """The first offset that is not in the views; it has been seeded."""
    [(found,)] = ask(connection, "position", name=name)
    return int(found)


def tree(connection: Connection, partition: int, position: int) -> StoredTree:
    """The partition's tree; raises `TreeMismatch` when it is not the tree of this position."""
    [row] = ask(connection, "tree", partition=partition)
    size, frontier, next_offset, *run = row
    try:
        stored = StoredTree(partition, Frontier.unpack(size or 0, bytes(frontier or b"")), next_offset or 0)
    except InvalidProof:
        raise trees.mismatch(partition, position) from None
    starts = trees.edge_starts(stored.frontier.size)
    edge = [trees.EdgeTile(*tile) for tile in ask(connection, "tree edge", partition=partition, starts=starts)]
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
    lookup = residents.lookup
    rows = {(row.offset, row.known_from): row for row in _rows(lookup.open_rows(connection, late))}
    for row in _rows_under_rules(connection, history, lookup, batch):
        rows[row.offset, row.known_from] = row
        subjects[str(row.event.subject)] = None
    missing = residents.missing(subjects)
    found = lookup.facts(connection, missing)
    for offset, body in found.bodies:
        history.restore_fact(offset, codec.read(body.encode()))
    residents.loaded(missing, found.latest)
    for key in sorted(rows):
        history.restore_judged(rows[key])
    return list(subjects)


def _rows_under_rules(connection: Connection, history: PartitionHistory, lookup: Lookup, batch: Batch) -> list[Row]:
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
        if ids or by == "all":
            found += _rows(lookup.open_rows_under(connection, by, ids, since))
    return found


def _signed_in(facts: Iterable[e.Event], agreement_id: str) -> list[str]:
    """Who an agreement is signed with in the same batch: the history does not know that yet."""
    signed = (event.data for event in facts if isinstance(event.data, e.AgreementSigned))
    return [data.recipient for data in signed if data.agreement_id == agreement_id]


def _rows(found: Iterable[tuple[Any, ...]]) -> list[Row]:
    rows: list[Row] = []
    for offset, known_from, _, outcome, first_outcome, policy_id, policy_version, basis, findings, body in found:
        policy = None if policy_id is None else (policy_id, policy_version)
        verdict = restored(outcome, findings, basis, policy)
        rows.append(Row(offset, known_from, None, codec.read(body.encode()), first_outcome, verdict))
    return rows
