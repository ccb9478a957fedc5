"""Peer (b) answers as we do: its SQL finds, for random histories, the outcome of `purpose-limitation` that ours finds.

Otherwise its figures would be those of another, easier question.
"""

import asyncio
from collections.abc import Sequence

import psycopg
from msgspec import UNSET

from benchmarks import audit_table, workload
from benchmarks.audit_table import AuditTable
from ledger import events as e
from ledger.history import PartitionHistory, Row
from tests.property.dice import Dice
from tests.property.strategies import random_history

HISTORIES = 25
Found = dict[tuple[str, str, str], set[tuple[str, str, str]]]
"""(category, result, code) of each use and share, by (source, id, subject)."""


def ours(events: Sequence[e.Event]) -> Found:
    """The findings of the rule, by the ledger's own judge, known at the end."""
    history, rows = PartitionHistory(), dict[int, Row]()
    seen = set()
    for offset, event in enumerate(events):
        key = (event.source, event.id, event.subject)
        if key in seen:
            continue
        seen.add(key)
        for row in history.apply(offset, event):
            if row.known_until is None:
                rows[row.offset] = row
    found: Found = {}
    for row in rows.values():
        if row.event.kind in ("data.used", "data.shared"):
            findings = [f for f in row.verdict.findings if f.rule == "purpose-limitation"]
            key = (row.event.source, row.event.id, str(row.event.subject))
            found[key] = {(c, f.result, f.code) for f in findings for c in f.categories}
    return found


async def theirs(dsn: str, events: Sequence[e.Event]) -> Found:
    """The same by single INSERTs and SQL."""
    found: Found = {}
    async with AuditTable(dsn) as table:
        for event in events:
            seq = await table.insert(event)
            if seq is None:
                continue
            if event.kind in ("data.used", "data.shared"):
                found[event.source, event.id, str(event.subject)] = {("seq", str(seq), "")}
            if isinstance(event.data, e.PolicyPublished):
                with psycopg.connect(dsn, autocommit=True) as connection:
                    audit_table.publish(connection, event.data)
        for key, [(_, seq_text, _)] in found.items():
            rows = await table.verdict(int(seq_text))
            found[key] = {(category, result, code) for *_, category, result, code in rows}
    return found


def test_the_sql_of_peer_b_finds_what_our_judge_finds(fresh_database: str) -> None:
    audit_table.create(fresh_database)
    codes = set()
    for seed in range(HISTORIES):
        events = [event for _, event in random_history(Dice(seed))]
        with psycopg.connect(fresh_database, autocommit=True) as connection:
            connection.execute("TRUNCATE audit, policies, policy_words, policy_consistent")
        wanted = ours(events)
        found = asyncio.run(theirs(fresh_database, events))
        assert found == wanted, f"history {seed}"
        codes |= {code for findings in wanted.values() for _, _, code in findings}
    assert codes >= {"stated-purpose", "consent", "purpose-not-stated", "no-collection-on-record", "law"}


def test_the_page_of_peer_b_holds_the_newest_entries_with_their_outcomes(fresh_database: str) -> None:
    events = list(workload.city(20, 400))
    audit_table.create(fresh_database)
    audit_table.load(fresh_database, events)
    outcomes, whose = {}, ""
    for (source, event_id, subject), findings in ours(events).items():
        results = {result for _, result, _ in findings}
        outcome = "inconsistent" if "violated" in results else "undetermined" if "unknown" in results else "consistent"
        outcomes[source, event_id] = outcome
        whose = subject if outcome == "inconsistent" else whose

    async def page() -> list[audit_table.Row]:
        async with AuditTable(fresh_database) as table:
            return await table.log(whose)

    rows = asyncio.run(page())
    mine = [event for event in events if event.subject is not UNSET and event.subject == whose]
    assert [row[3] for row in rows] == [event.id for event in reversed(mine[-50:])]
    assert [row[6] for row in rows] == [outcomes.get((row[2], row[3])) for row in rows]
    assert {"consistent", "inconsistent"} <= {row[6] for row in rows}
