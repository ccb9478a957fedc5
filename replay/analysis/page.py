"""A what-if as one HTML file that needs nothing else: charts drawn as SVG, a table beside each, no script.

    Path("what-if.html").write_text(page(comparison, draft))

Everything shown is a position, a count, an identifier or a text of the policy, escaped by the template. Colour is never
alone: each outcome has a pattern and each bar its number. Charts show the largest few, tables more, and both say what
they leave off; the whole is what `--json` prints.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, Template

from ledger.reasons import reason
from projections.summary import OUTCOMES
from replay.analysis.judging import Draft
from replay.analysis.what_if import (
    CHANGES,
    Code,
    CodeCounts,
    Comparison,
    Matrix,
    changed_in,
    most_changed,
    most_moved,
)

BARS, ROWS = 12, 100
"""So many bars has a chart and so many rows a table, at most."""
_BAR_UNITS, _ROW_UNITS = 300, 46
"""The drawing is in units of a CSS pixel at 360 pixels' width: the longest bar, and the height of a row."""
_APPEARING, _DISAPPEARING = "appearing", "disappearing"


class Segment(NamedTuple):
    """A piece of a bar: where it begins, how long it is, its look, and what it says to a pointer."""

    x: float
    width: float
    look: str
    says: str


class Bar(NamedTuple):
    """One row of a chart."""

    y: int
    label: str
    segments: list[Segment]
    end: float
    number: int


class Chart(NamedTuple):
    """A drawing; `looks` are its legend, `says` what it shows, in words."""

    id: str
    says: str
    looks: Sequence[str]
    bars: list[Bar]
    height: int


def page(found: Comparison, draft: Draft) -> str:
    """The whole file."""
    purposes, services = most_changed(found.by_purpose), most_changed(found.by_service)
    codes = most_moved(found.codes)
    return _template().render(
        draft=draft.policy,
        from_its_date=draft.from_its_date,
        found=found,
        outcomes=OUTCOMES,
        changes=CHANGES,
        whole=_whole(found.matrix),
        groups=[
            _group("purpose", "purpose", purposes, {p.id: p.text for p in draft.policy.purposes}),
            _group("service", "service", services, {}),
        ],
        code_chart=_codes_chart(codes),
        codes=[(code, counts, _words(code)) for code, counts in codes[:ROWS]],
        codes_left_off=max(0, len(codes) - ROWS),
        samples=[sample for pair in CHANGES for sample in found.samples.get(pair, [])],
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = lambda n: f"{n:,}"
    environment.filters["units"] = lambda n: f"{n:.1f}"
    return environment.from_string(resources.files("replay.analysis").joinpath("what_if.html").read_text("utf-8"))


def _whole(matrix: Matrix) -> Chart:
    """All verdicts by the recorded policies, and below by the draft."""
    sides = ("By the recorded policies", "By the draft")
    counts = [[sum(n for pair, n in matrix.items() if pair[i] == outcome) for outcome in OUTCOMES] for i in (0, 1)]
    says = "; ".join(
        f"{side.lower()}: " + ", ".join(f"{n:,} {outcome}" for outcome, n in zip(OUTCOMES, line, strict=True))
        for side, line in zip(sides, counts, strict=True)
    )
    return _chart("whole", says, OUTCOMES, [(side, line) for side, line in zip(sides, counts, strict=True)])


def _group(called: str, anchor: str, counts: list[tuple[str, Matrix]], words: dict[str, str]) -> dict[str, Any]:
    lines = [(name, [_becoming(matrix, to) for to in OUTCOMES]) for name, matrix in counts if changed_in(matrix)]
    says = f"Changed verdicts by {called}, by the outcome that they would have."
    rows = [(name, words.get(name, ""), matrix, changed_in(matrix), sum(matrix.values())) for name, matrix in counts]
    return {
        "called": called,
        "chart": _chart(anchor, says, OUTCOMES, lines[:BARS]),
        "bars_left_off": max(0, len(lines) - BARS),
        "rows": rows[:ROWS],
        "left_off": max(0, len(rows) - ROWS),
        "worded": any(words.get(name) for name, *_ in rows[:ROWS]),
    }


def _becoming(matrix: Matrix, outcome: str) -> int:
    return sum(n for (one, other), n in matrix.items() if other == outcome != one)


def _codes_chart(codes: list[tuple[Code, CodeCounts]]) -> Chart:
    lines = [(str(code), [counts.appearing, counts.disappearing]) for code, counts in codes[:BARS]]
    says = "In how many verdicts a reason would appear and disappear."
    return _chart("code", says, (_APPEARING, _DISAPPEARING), lines)


def _chart(anchor: str, says: str, looks: Sequence[str], lines: Iterable[tuple[str, list[int]]]) -> Chart:
    drawn = list(lines)
    most = max((sum(numbers) for _, numbers in drawn), default=0) or 1
    bars = []
    for row, (label, numbers) in enumerate(drawn):
        x, segments = 0.0, []
        for look, number in zip(looks, numbers, strict=True):
            width = number / most * _BAR_UNITS
            if number:
                segments.append(Segment(x, max(width, 1.5), look, f"{number:,} {look}"))
            x += width
        bars.append(Bar(row * _ROW_UNITS, label, segments, x, sum(numbers)))
    return Chart(anchor, says, looks, bars, len(bars) * _ROW_UNITS + 4)


def _words(code: Code) -> str:
    return reason(*code).text
