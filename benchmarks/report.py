"""Figures and how they are shown: a table for people, JSON for machines.

>>> figure = Figure.against_limit("record path", 60_000, "events/s", "raw producer", 80_000, at_least=0.75)
>>> figure.ratio, figure.met
(0.75, True)
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.table import Table


class Figure(NamedTuple):
    """One measured value. `ratio` is to the raw limit `against`; `target` is the ratio wanted, `met` whether it is."""

    name: str
    value: float
    unit: str
    ratio: float | None
    against: str | None
    target: str | None
    met: bool | None

    @classmethod
    def against_limit(
        cls,
        name: str,
        value: float,
        unit: str,
        limit: str,
        limit_value: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> "Figure":
        """A figure beside its limit, both measured in the same run."""
        ratio = value / limit_value
        if at_least is not None:
            return cls(name, value, unit, ratio, limit, f">= {at_least:g}", ratio >= at_least)
        if at_most is not None:
            return cls(name, value, unit, ratio, limit, f"<= {at_most:g}", ratio <= at_most)
        return cls(name, value, unit, ratio, limit, None, None)

    @classmethod
    def alone(cls, name: str, value: float, unit: str) -> "Figure":
        """A figure that is itself a limit."""
        return cls(name, value, unit, None, None, None, None)


def middle(rounds: Sequence[float]) -> float:
    """The median of several rounds."""
    return float(median(rounds))


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """Writes `[{name, value, unit, ratio, against, target, met}]`."""
    path.write_bytes(orjson.dumps([figure._asdict() for figure in figures], option=orjson.OPT_INDENT_2) + b"\n")


def show(figures: Sequence[Figure], console: Console) -> None:
    """Prints the table of figures."""
    table = Table(title="Consent Ledger, measured in this run", caption="ratios are to the raw limit of the same run")
    for column in ("what", "value", "unit", "ratio", "to", "wanted", "met"):
        table.add_column(column, justify="right" if column in ("value", "ratio") else "left")
    for f in figures:
        met = "" if f.met is None else "yes" if f.met else "no"
        ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
        value = f"{f.value:,.0f}" if f.value >= 100 else f"{f.value:.2f}"
        table.add_row(f.name, value, f.unit, ratio, f.against or "", f.target or "", met)
    console.print(table)
