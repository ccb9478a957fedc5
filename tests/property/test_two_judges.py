"""The product's judge and the reference judge give the same answers over random histories.

A history is a resident with the partition's reference facts. `CONSENT_LEDGER_HISTORIES` says how many (300 unless
told; 10,000 for the long run). The run prints how often each (rule, result, code) of the contract came up and fails
when one did so in fewer than 100 verdicts: an equality over cases that never happened would show nothing.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from msgspec import json

from ledger.events import JUDGED
from ledger.history import judge_history
from ledger.verdict import judge
from tests.property.codes import Tally
from tests.property.strategies import Case, cases
from tests.property.two_judges import answer, differences, expected, facts_at, rows_of
from tests.reference.judge import judge_all

HISTORIES = int(os.environ.get("CONSENT_LEDGER_HISTORIES", "450"))
LEAST = 100


def over_histories(count: int) -> settings:
    """Deterministic Hypothesis settings: the same histories in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


@pytest.mark.timeout(7200)
def test_both_judges_agree_over_random_histories(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    residents = 0

    @over_histories(HISTORIES)
    @given(cases())
    def agree(case: Case) -> None:
        nonlocal residents
        residents += case.residents
        assert differences(case.history) == []
        for verdict in judge_all(case.history):
            tally.add(verdict.findings)

    agree()
    with capsys.disabled():
        print(f"\nverdicts with each (rule, result, code), over {residents} histories:\n{tally.table()}")
    assert residents >= HISTORIES
    assert tally.below(LEAST) == []


@pytest.mark.timeout(7200)
def test_both_judges_agree_on_what_was_known_at_a_line() -> None:
    @over_histories(max(HISTORIES // 3, 1))
    @given(cases())
    def agree(case: Case) -> None:
        lines = [json.encode(event) for _, event in case.history]
        numbered = [(number, event) for number, (_, event) in enumerate(case.history, start=1)]
        for known_at in (*(look + 1 for look in case.looks), 0, None):
            ours = [(row.offset, answer(row)) for row in judge_history(lines, known_at)]
            theirs = [(verdict.position, expected(verdict)) for verdict in judge_all(numbered, known_at)]
            assert ours == theirs

    agree()


@pytest.mark.timeout(7200)
def test_every_row_is_the_pure_judge_s_answer_at_every_position_of_its_span_evidence_included() -> None:
    """Late facts re-judge by index only what they can touch: nothing that they touch may be missed."""

    @over_histories(max(HISTORIES // 2, 1))
    @given(cases())
    def same(case: Case) -> None:
        rows = rows_of(case.history)
        for look in case.looks:
            k = case.history[look][0]
            facts, rules = facts_at(case.history, k)
            for row in rows:
                if row.known_from <= k and (row.known_until is None or k < row.known_until):
                    pure = judge(row.event, facts[str(row.event.subject)], rules)
                    assert pure.findings == tuple(f for f in row.verdict.findings if f.rule != "evidence")
                    assert (pure.outcome, pure.basis, pure.policy) == (
                        row.verdict.outcome,
                        row.verdict.basis,
                        row.verdict.policy,
                    )

    same()


@pytest.mark.timeout(7200)
def test_a_finding_that_holds_is_found_again_from_the_cited_records_alone() -> None:
    @over_histories(max(HISTORIES // 2, 1))
    @given(cases())
    def again(case: Case) -> None:
        by_position = dict(case.history)
        for row in rows_of(case.history):
            for finding in row.verdict.findings:
                assert list(finding.evidence) == sorted(set(finding.evidence))
                assert all(offset <= row.known_from for offset in finding.evidence)
                if finding.result != "holds":
                    continue
                assert finding.evidence_total is None
                cited = sorted({*finding.evidence, row.offset})
                verdicts = judge_all([(offset, by_position[offset]) for offset in cited])
                alone = next(verdict for verdict in verdicts if verdict.position == row.offset)
                found = [f for f in alone.findings if f[:3] == finding[:3]]
                assert found and set(finding.categories) <= set(found[0][3]), (finding, alone.findings)

    again()


def test_failed_candidates_are_the_latest_eight_with_their_number_beside() -> None:
    @over_histories(max(HISTORIES // 4, 1))
    @given(cases())
    def bounded(case: Case) -> None:
        for row in rows_of(case.history):
            for finding in row.verdict.findings:
                if finding.evidence_total is not None:
                    # the policy's record stands beside the candidates
                    assert len(finding.evidence) <= 8 + 1
                    assert len(finding.evidence) - 1 <= finding.evidence_total

    bounded()


def test_rows_have_the_same_bytes_whatever_the_hash_seed() -> None:
    digests = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-m", "tests.property.digest", "25"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(result.stdout)
    assert len(digests) == 1


def test_judged_kinds_are_the_three_of_the_contract() -> None:
    assert set(JUDGED) == {"data.collected", "data.used", "data.shared"}


def test_the_reference_judge_imports_nothing_of_the_product_but_its_event_types() -> None:
    imported = set()
    for path in (Path(__file__).parents[1] / "reference").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    assert {name for name in imported if name and name.partition(".")[0] == "ledger"} == {"ledger.events"}
