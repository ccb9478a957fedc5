"""Figures and how they are shown: a table for people, Markdown and JSON for files.

>>> figure = beside("record path", [60.0, 61.0], "events/s", "raw producer", [80.0, 80.0], Target(low=0.75))
>>> figure.ratio, figure.target, figure.met
(0.75625, '>= 0.75', True)
>>> list(figure.public)
['name', 'value', 'unit', 'ratio', 'against', 'target', 'met']

`ratio` is the median of the rounds' ratios; `value` is the median of the values. A figure whose rounds lie far apart
(`stats.WIDE`) is marked with ~ in the table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.stats import WIDE, middle, ratios, spread

PUBLIC = ("name", "value", "unit", "ratio", "against", "target", "met")
COLUMNS = ("what", "value", "unit", "ratio", "to", "wanted", "met", "rounds", "min-max", "note")
RIGHT = ("value", "ratio", "rounds")


class Target(NamedTuple):
    """What is wanted of a ratio, or of a value that has no limit beside it.

    >>> Target(high=4, strict=True).text, Target(low=0.8, high=1.2).text
    ('< 4', '0.8 to 1.2')
    """

    low: float | None = None
    high: float | None = None
    strict: bool = False

    @property
    def text(self) -> str:
        """As the table and `target` write it."""
        equal = "" if self.strict else "="
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f">{equal} {self.low:,g}" if self.low is not None else f"<{equal} {self.high:,g}"

    def met(self, measured: float) -> bool:
        """Whether it is."""
        if self.strict:
            return (self.low is None or measured > self.low) and (self.high is None or measured < self.high)
        return (self.low is None or measured >= self.low) and (self.high is None or measured <= self.high)


class Figure(NamedTuple):
    """One measured value. `ratio` is to the limit or peer `against`; `low` and `high` are the rounds' extremes.

    These are of the ratio where there is one, else of the value.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    against: str | None = None
    target: str | None = None
    met: bool | None = None
    rounds: int = 1
    low: float | None = None
    high: float | None = None
    wide: bool = False
    note: str = ""
    chapter: str = ""

    @property
    def public(self) -> dict[str, Any]:
        """The members of `--json`."""
        return {name: getattr(self, name) for name in PUBLIC}


class Point(NamedTuple):
    """One point of the growth plot: what a question, or an event, costs when so many events are in the ledger."""

    line: str
    panel: str
    events: int
    value: float
    unit: str


def alone(name: str, rounds: Sequence[float], unit: str, target: Target | None = None, note: str = "") -> Figure:
    """A figure with no limit beside it, or one that is itself a limit; a target is on the value."""
    return _figure(Figure(name, middle(rounds), unit, note=note), rounds, target)


def beside(
    name: str,
    rounds: Sequence[float],
    unit: str,
    against: str,
    limits: Sequence[float],
    target: Target | None = None,
    note: str = "",
) -> Figure:
    """A figure beside its limit or peer, measured in the same rounds; a target is on the ratio."""
    found = ratios(rounds, limits)
    figure = Figure(name, middle(rounds), unit, middle(found), against, note=note)
    return _figure(figure, found, target)


def _figure(figure: Figure, rounds: Sequence[float], target: Target | None) -> Figure:
    """With the extremes of what a target would be on, and whether that is met."""
    extremes: dict[str, Any] = {
        "rounds": len(rounds),
        "low": min(rounds),
        "high": max(rounds),
        "wide": spread(rounds) > WIDE,
    }
    if target is None:
        return figure._replace(**extremes)
    return figure._replace(**extremes, target=target.text, met=target.met(middle(rounds)))


def missing(name: str, unit: str, target: Target, note: str) -> Figure:
    """A figure that could not be taken: it is in the table, and its target is not met."""
    return Figure(name, 0.0, unit, None, None, target.text, False, 0, note=note)


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """Writes `[{name, value, unit, ratio, against, target, met}]`."""
    _write(path, orjson.dumps([figure.public for figure in figures], option=orjson.OPT_INDENT_2) + b"\n")


def write_all(folder: Path, machine: dict[str, Any], figures: Sequence[Figure], points: Sequence[Point]) -> None:
    """Writes `figures.json` (all that is known) and `table.md`."""
    everything = {
        "machine": machine,
        "figures": [figure._asdict() for figure in figures],
        "growth": [point._asdict() for point in points],
    }
    _write(folder / "figures.json", orjson.dumps(everything, option=orjson.OPT_INDENT_2) + b"\n")
    _write(folder / "table.md", markdown(machine, figures).encode())


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: an interrupted run leaves what was there."""
    fresh = path.with_name(f".{path.name}.part")
    fresh.write_bytes(data)
    fresh.replace(path)


# --- tables -----------------------------------------------------------------------------------------------------


def cells(f: Figure) -> tuple[str, ...]:
    """A figure as the table's columns show it."""
    met = "" if f.met is None else "yes" if f.met else "no"
    ratio = "" if f.ratio is None else _number(f.ratio)
    extremes = "" if f.low is None or f.high is None or f.rounds < 2 else f"{_number(f.low)}-{_number(f.high)}"
    marked = f"~ {extremes}" if f.wide else extremes
    value = "" if not f.rounds else _number(f.value)
    return (f.name, value, f.unit, ratio, f.against or "", f.target or "", met, str(f.rounds), marked, f.note)


def _number(value: float) -> str:
    """
    >>> _number(1234.5), _number(12.34), _number(0.0123)
    ('1,234', '12.3', '0.0123')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def show(figures: Sequence[Figure], console: Console) -> None:
    """Prints the table of figures."""
    table = Table(title="Consent Ledger, measured in this run", caption="~ the rounds lie far apart")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in RIGHT else "left")
    chapter = None
    for figure in figures:
        if figure.chapter != chapter:
            chapter = figure.chapter
            table.add_section()
        table.add_row(*cells(figure))
    console.print(table)


def markdown(machine: dict[str, Any], figures: Sequence[Figure]) -> str:
    """The table of docs and reports, a section for each chapter, with the machine it was measured on."""
    lines = ["# Consent Ledger, measured", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    chapter = None
    for figure in figures:
        if figure.chapter != chapter:
            chapter = figure.chapter
            lines += ["", f"## {chapter}", "", _line(COLUMNS)]
            lines.append(_line(["---:" if column in RIGHT else "---" for column in COLUMNS]))
        lines.append(_line(cells(figure)))
    lines += ["", "`ratio`: median of the rounds' ratios. `min-max`: of the ratio, else of the value; ~ far apart.", ""]
    return "\n".join(lines)


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
