"""The histories that came with the contract give the verdicts expected of them, on every road."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger import codec
from ledger.history import PartitionHistory, Row, judge_history, line_json
from tests.reference.judge import judge_all

EXAMPLES = Path(__file__).resolve().parents[1] / "vectors" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("v*.ndjson") if not path.stem.endswith(".expected"))
FINDING = ("rule", "result", "code", "categories")


def lines(name: str) -> list[bytes]:
    return (EXAMPLES / f"{name}.ndjson").read_bytes().splitlines()


def expected(name: str) -> list[Any]:
    return [orjson.loads(line) for line in (EXAMPLES / f"{name}.expected.ndjson").read_bytes().splitlines()]


def said(row: Row) -> dict[str, Any]:
    """A row as the contract's `judge --json` prints it, less what the expected files leave out."""
    printed = line_json(row)
    printed["findings"] = [{key: finding[key] for key in FINDING} for finding in printed["findings"]]
    return printed


def test_there_are_twelve_examples() -> None:
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_the_offline_judge_gives_the_expected_verdicts(name: str) -> None:
    assert [said(row) for row in judge_history(lines(name))] == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_judge_gives_the_expected_verdicts(name: str) -> None:
    events = [(number, codec.read(line)) for number, line in enumerate(lines(name), start=1)]
    given = [
        {
            "line": verdict.position,
            "source": verdict.source,
            "id": verdict.id,
            "outcome": verdict.outcome,
            "first_outcome": verdict.first_outcome,
            "findings": [dict(zip(FINDING, (*f[:3], list(f[3])), strict=True)) for f in verdict.findings],
        }
        for verdict in judge_all(events)
    ]
    assert given == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_judge_that_follows_the_log_gives_the_expected_verdicts_at_its_head(name: str) -> None:
    history = PartitionHistory(0)
    open_rows: dict[int, Row] = {}
    for number, line in enumerate(lines(name), start=1):
        for row in history.apply(number, codec.read(line)):
            open_rows[row.offset] = row
    assert [said(open_rows[offset]) for offset in sorted(open_rows)] == expected(name)


def test_a_late_withdrawal_changes_what_is_known_now_and_not_what_was_known_before() -> None:
    history = lines("v10-late-withdrawal-changes-the-verdict")
    before = [row for row in judge_history(history, known_at=5) if row.offset == 5]
    now = [row for row in judge_history(history) if row.offset == 5]
    assert [row.verdict.outcome for row in before] == ["consistent"]
    assert [(row.first_outcome, row.verdict.outcome) for row in now] == [("consistent", "inconsistent")]


def test_only_lines_up_to_known_at_are_judged() -> None:
    history = lines("v05-consent-then-withdrawn")
    assert [row.offset for row in judge_history(history, known_at=6)] == [3, 5]
    assert judge_history(history, known_at=0) == []
