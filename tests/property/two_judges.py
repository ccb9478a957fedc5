"""Puts both judges over one history and says where they differ: the product's, event by event, and the reference.

>>> from tests.property.dice import Dice
>>> from tests.property.strategies import random_history
>>> differences(random_history(Dice(3)))
[]
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from msgspec import UNSET

from ledger.events import Event
from ledger.facts import Facts
from ledger.history import PartitionHistory, Row
from ledger.rules import Rules
from tests.reference.judge import ReferenceVerdict, Span, judge_all, spans

Answer = tuple[str, str, tuple[Any, ...], tuple[str, ...], tuple[str, str] | None]


def rows_of(history: Iterable[tuple[int, Event]]) -> list[Row]:
    """Every row that the incremental judge wrote, closed and open, by (event, known_from); repeats are dropped."""
    judge = PartitionHistory(0)
    seen = set()
    rows: dict[tuple[int, int], Row] = {}
    for position, event in history:
        key = (event.source, event.id, event.subject)
        if key not in seen:
            seen.add(key)
            for row in judge.apply(position, event):
                rows[row.offset, row.known_from] = row
    return [rows[key] for key in sorted(rows)]


def answer(row: Row) -> Answer:
    """What a row says, without evidence lists."""
    findings = tuple((f.rule, f.result, f.code, tuple(f.categories)) for f in row.verdict.findings)
    return row.verdict.outcome, row.first_outcome, findings, tuple(row.verdict.basis), row.verdict.policy


def expected(verdict: ReferenceVerdict) -> Answer:
    """The same of the reference judge."""
    return verdict.outcome, verdict.first_outcome, verdict.findings, verdict.basis, verdict.policy


def merged_spans(rows: Iterable[Row]) -> dict[int, list[tuple[int, int | None, Answer]]]:
    """The rows of each event with neighbours joined that differ in evidence alone."""
    result: dict[int, list[tuple[int, int | None, Answer]]] = {}
    for offset, of_one in groupby(rows, key=lambda row: row.offset):
        joined: list[tuple[int, int | None, Answer]] = []
        for row in of_one:
            said = answer(row)
            if joined:
                before = joined[-1]
                assert before[1] == row.known_from, f"event {offset}: a gap or an overlap between its rows"
                if before[2][0] == said[0] and before[2][2] == said[2]:
                    joined[-1] = (before[0], row.known_until, said)
                    continue
            joined.append((row.known_from, row.known_until, said))
        result[offset] = joined
    return result


def reference_spans(found: dict[int, list[Span]]) -> dict[int, list[tuple[int, int | None, Answer]]]:
    """The reference's spans in the same form, the last policy known standing for the span's."""
    return {
        offset: [(s.known_from, s.known_until, expected(s.verdict)) for s in rows] for offset, rows in found.items()
    }


def without_policy(found: dict[int, list[tuple[int, int | None, Answer]]]) -> dict[int, list[Any]]:
    """Spans without the policy beside the findings: a republished version changes it, not a finding."""
    return {offset: [(*row[:2], row[2][:4]) for row in rows] for offset, rows in found.items()}


def differences(history: list[tuple[int, Event]]) -> list[str]:
    """One line for each thing that the two judges say differently; empty when they agree."""
    rows = rows_of(history)
    ours, theirs = without_policy(merged_spans(rows)), without_policy(reference_spans(spans(history)))
    found = [
        f"spans of {offset}: {ours.get(offset)} reference {theirs.get(offset)}"
        for offset in sorted(ours.keys() | theirs.keys())
        if ours.get(offset) != theirs.get(offset)
    ]
    head = {row.offset: answer(row) for row in rows if row.known_until is None}
    reference = {verdict.position: expected(verdict) for verdict in judge_all(history)}
    found += [f"head of {k}: {head.get(k)} reference {reference[k]}" for k in reference if head.get(k) != reference[k]]
    return found


def facts_at(history: Iterable[tuple[int, Event]], known_at: int) -> tuple[dict[str, Facts], Rules]:
    """What a caller with a store would load: everything known at this position, folded; nothing judged."""
    loaded = PartitionHistory(0)
    seen = set()
    for position, event in history:
        key = (event.source, event.id, event.subject)
        if position > known_at or key in seen:
            continue
        seen.add(key)
        if event.subject is UNSET:
            loaded.restore_reference(position, event)
        else:
            loaded.restore_fact(position, event)
    return {subject: resident.facts.full for subject, resident in loaded.residents.items()}, loaded.rules.full
