"""Runs chapters, keeps what they have measured whatever happens to the rest, and writes it out after each.

    run(["judging", "projecting"], QUICK, Path("bench-results/20260303T120000Z"), say)

A chapter hands over its figures one by one, so that one which fails, or is interrupted, leaves those it had.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import (
    asking,
    emitting,
    evidence,
    gdpr,
    inserting,
    judging,
    machine,
    plot,
    projecting,
    rebuilding,
    report,
)
from benchmarks.plan import Plan
from benchmarks.report import Figure, Point
from benchmarks.servers import Servers
from benchmarks.stage import Say, Stage

Chapter = Callable[[Stage], Iterator[Figure | Point]]
CHAPTERS: Mapping[str, Chapter] = {
    "judging": judging.measure,
    "evidence": evidence.measure,
    "emitting": emitting.measure,
    "inserting": inserting.measure,
    "projecting": projecting.measure,
    "rebuilding": rebuilding.measure,
    "asking": asking.measure,
    "gdpr": gdpr.measure,
}
"""Every chapter by its name, in the order in which the data flows."""


@dataclass
class Results:
    """What was measured, and which chapters did not end."""

    machine: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    interrupted: bool = False

    def take(self, chapter: str, found: Figure | Point) -> None:
        """Keeps one result."""
        if isinstance(found, Figure):
            self.figures.append(found._replace(chapter=chapter))
        else:
            self.points.append(found)

    def write(self, folder: Path) -> None:
        """Writes table.md, figures.json and growth.svg."""
        report.write_all(folder, self.machine, self.figures, self.points)
        plot.draw(self.points, folder / "growth.svg")


def run(
    names: Sequence[str],
    plan: Plan,
    folder: Path,
    say: Say,
    here: Servers | None = None,
    chapters: Mapping[str, Chapter] = CHAPTERS,
) -> Results:
    """Runs the chapters named; interrupted or failed ones are in `unfinished`."""
    results = Results({"run": plan.name, **machine.describe()})
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with Stage(plan, say, here) as stage:
        for number, name in enumerate(names):
            say(f"{name} ({number + 1} of {len(names)}, after {time.monotonic() - began:.0f} s)")
            try:
                for found in chapters[name](stage):
                    results.take(name, found)
            except KeyboardInterrupt:
                say("interrupted: what was measured is kept")
                results.unfinished += names[number:]
                results.interrupted = True
                break
            except Exception:
                say(f"{name} failed; its figures until then are kept\n{traceback.format_exc()}")
                results.unfinished.append(name)
            finally:
                results.machine["took"] = f"{time.monotonic() - began:.0f} s"
                if results.unfinished:
                    results.machine["NOT FINISHED"] = ", ".join(results.unfinished)
                results.write(folder)
    return results
