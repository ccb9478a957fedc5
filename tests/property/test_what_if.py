"""What-if over random histories: nothing changes under the rule that was there; a draft answers as if it had been."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ledger import events as e
from ledger.history import PartitionHistory, Row
from replay.analysis.judging import ALWAYS, Draft, PartitionJudge
from replay.analysis.what_if import Comparison, codes_of, compare, together
from tests.property.dice import Dice
from tests.property.reference_facts import policy
from tests.property.strategies import random_history

SEEDS = range(40)
Events = list[tuple[int, e.Event]]


def history(seed: int) -> Events:
    return random_history(Dice(seed), ("r1", "r2"))


def counting(events: Iterable[tuple[int, e.Event]]) -> Events:
    """Without repeats."""
    seen, found = set(), []
    for offset, event in events:
        key = (event.source, event.id, event.subject)
        if key not in seen:
            seen.add(key)
            found.append((offset, event))
    return found


def open_rows(events: Events) -> dict[int, Row]:
    """The answers at the end, by the judge that re-judges as it goes."""
    judge, found = PartitionHistory(0), {}
    for offset, event in events:
        for row in judge.apply(offset, event):
            found[row.offset] = row
    return found


def without_policies(events: Events) -> Events:
    return [(offset, event) for offset, event in events if not isinstance(event.data, e.PolicyPublished)]


def published(data: e.PolicyPublished, **changes: Any) -> e.Event:
    """As a real ledger would have it, at the head of the log."""
    return e.KINDS["policy.published"](
        id="as-a-real-one", source="/policy-office", time=ALWAYS, data=msgspec.structs.replace(data, **changes)
    )


def a_draft(seed: int) -> e.PolicyPublished:
    return replace(policy(Dice(seed + 10_000), 3), version="draft")


@pytest.mark.parametrize("seed", SEEDS)
def test_both_answers_are_those_of_the_judge_that_rejudges(seed: int) -> None:
    events = history(seed)
    judge = PartitionJudge(0)
    for offset, event in events:
        judge.take(offset, event)
    rows = open_rows(counting(events))
    found = {judged.offset: judged.recorded for judged in judge.verdicts()}
    assert {offset: (row.first_outcome, row.verdict) for offset, row in rows.items()} == {
        offset: (answer.first_outcome, answer.verdict) for offset, answer in found.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_under_the_only_recorded_policy_nothing_changes(seed: int) -> None:
    """Published at the head of the log and in force since before everything: the draft is the same rule again."""
    data = a_draft(seed)
    events = [(0, published(data, effective_from=ALWAYS)), *without_policies(history(seed))]
    for draft in (Draft(data), Draft(msgspec.structs.replace(data, effective_from=ALWAYS), from_its_date=True)):
        found = compare(0, events, draft)
        assert (found.changed, found.other_reasons, found.codes, found.samples) == (0, 0, {}, {})
        assert found.judged == len(open_rows(counting(events)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_policy_that_the_log_begins_with_joined_again_changes_nothing(seed: int) -> None:
    """From its date, beside all the policies that came after it."""
    first = replace(a_draft(seed), effective_from=ALWAYS)
    events = [(0, published(first)), *history(seed)]
    found = compare(0, events, Draft(first, from_its_date=True))
    assert (found.changed, found.other_reasons, found.codes) == (0, 0, {})


@pytest.mark.parametrize("seed", SEEDS)
def test_the_draft_answers_as_a_ledger_that_had_this_policy_alone(seed: int) -> None:
    data, events = a_draft(seed), history(seed)
    imagined = [(0, published(data, effective_from=ALWAYS)), *without_policies(events)]
    check(events, open_rows(counting(imagined)), Draft(data))


@pytest.mark.parametrize("seed", SEEDS)
def test_from_its_date_it_answers_as_a_ledger_that_had_it_beside_the_others(seed: int) -> None:
    """Effective at an instant that no recorded policy shares, for then the log's order would count."""
    data, events = replace(a_draft(seed), effective_from="2026-03-04T05:06:07.891Z"), history(seed)
    check(events, open_rows(counting([(0, published(data)), *events])), Draft(data, from_its_date=True))


def check(events: Events, real: dict[int, Row], draft: Draft) -> None:
    """What-if against a ledger with the draft's rule and one as recorded, counted here."""
    recorded = open_rows(counting(events))
    assert recorded.keys() == real.keys()
    found = compare(0, events, draft, samples=100)
    expected: dict[tuple[str, str], int] = {}
    for offset, row in recorded.items():
        pair = (row.verdict.outcome, real[offset].verdict.outcome)
        expected[pair] = expected.get(pair, 0) + 1
    assert {pair: count for pair, count in found.matrix.items() if count} == expected
    for samples in found.samples.values():
        for sample in samples:
            offset = sample.position.offset
            before, after = (codes_of(rows[offset].verdict) for rows in (recorded, real))
            assert set(sample.appearing) == set(after) - set(before)
            assert set(sample.disappearing) == set(before) - set(after)
            assert sample.transition == (recorded[offset].verdict.outcome, real[offset].verdict.outcome)
    counted = {code: [c.appearing, c.disappearing] for code, c in found.codes.items()}
    moved: dict[Any, list[int]] = {}
    for offset in recorded:
        before, after = (codes_of(rows[offset].verdict) for rows in (recorded, real))
        for i, codes in enumerate((set(after) - set(before), set(before) - set(after))):
            for code in codes:
                moved.setdefault(code, [0, 0])[i] += 1
    assert counted == moved


def test_histories_change_something_or_these_tests_show_nothing() -> None:
    whole = together(compare(0, history(seed), Draft(a_draft(seed))) for seed in SEEDS)
    assert whole.changed > 100
    assert whole.other_reasons > 20
    assert sum(1 for count in whole.matrix.values() if count) >= 7
    assert len(whole.codes) >= 20


def test_partitions_added_up_are_the_whole() -> None:
    drafts = Draft(a_draft(1))
    parts = [compare(p, history(p), drafts) for p in range(6)]
    whole = together(parts)
    assert whole.judged == sum(part.judged for part in parts) == sum(whole.matrix.values())
    assert whole.changed == sum(part.changed for part in parts)
    by_service = sum(sum(line.values()) for line in whole.by_service.values())
    assert by_service == whole.judged
    assert all(len(samples) <= 5 for samples in whole.samples.values())
    assert together(parts).json(drafts) == whole.json(drafts)


def test_a_comparison_of_nothing_counts_nothing() -> None:
    assert together([]).judged == Comparison().changed == 0


def test_a_repeat_counts_once_and_the_first_counts() -> None:
    events = [(i, event) for i, (_, event) in enumerate(history(3) * 2)]
    assert compare(0, events, Draft(a_draft(3))).judged == compare(0, history(3), Draft(a_draft(3))).judged
    assert all(event.subject is UNSET or event.subject for _, event in events)
